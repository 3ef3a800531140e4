# A manager to copy: services that are files, so that you can try it before you put your own words in.
#
# Copy it beside your services.toml, say `manager = "lamps.nu"` in a service, and change what stands between the lines
# marked with ---. Only `start`, `stop` and `status` are required; leave out what you have no use for.
# The contract is in docs/managers.md.

# Which version of the contract this follows.
export const CONTRACT = 1

# The keys that a service's `with` may have; another one is an error. Leave it out to take any.
export const WITH = [text]

# Lets the service run, and answers when it does.
export def start []: record -> record {
    let service = $in
    # --- start it; here: the file is written
    if ($service.working_dir | path type) != dir {
        error make {msg: $"cannot start `($service.name)`: there is no directory `($service.working_dir)`" help: "make it"}
    }
    $service.with.text? | default "on" | save --force (file $service)
    # ---
    $service | status
}

# Lets it end, and answers when nothing of it runs any more. One that does not run is no error.
export def stop []: record -> record {
    let service = $in
    # --- stop it
    rm --force (file $service)
    # ---
    {state: stopped}
}

# How it is now. Asked again and again: quick, and without a trace. Of what has ended it may say the exit_code, or the
# exit_signal that ended it, such as 9 or SIGKILL.
export def status []: record -> record {
    let service = $in
    # --- look at it
    if not (file $service | path exists) { return {state: stopped} }
    {
        state: running
        id: (file $service)
        message: $"it says `(open --raw (file $service))`"
        since: (ls (file $service) | first | get modified)
    }
    # ---
}

# The same for many at once: a row for each, with its name. Worth having where one question answers for all.
export def "status all" []: table -> table {
    each {|service| $service | status | insert name $service.name }
}

# The last lines it wrote: `tail` lines at most, none from before `since`, where that is not null.
export def logs []: record -> table {
    let service = $in
    # --- read them
    if not (file $service | path exists) { return [] }
    open --raw (file $service) | lines | last $service.tail | each {|line| {stream: stdout line: $line} }
    # ---
}

# Whether the program that this needs is here.
export def check []: nothing -> record {
    # --- look for it
    {present: true program: "files" version: null message: null}
    # ---
}

def file [service: record]: nothing -> string {
    $service.working_dir | path join $"($service.name).lamp"
}
