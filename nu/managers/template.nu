# A manager to copy. Its services are files, so that you can try the manager before you insert your own commands.
#
# Copy it beside your services.toml, set `manager = "lamps.nu"` in a service, and change the code between the lines marked with
# ---. Only `start`, `stop` and `status` are required; remove the commands that you do not need. The contract is in
# docs/managers.md.

# The version of the contract.
export const CONTRACT = 1

# The allowed keys of a service's `with`; any other key is an error. Without this constant every key is allowed.
export const WITH = [text]

# Starts the service, and returns when the service runs.
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

# Stops the service, and returns when none of its processes is left. The stop of a stopped service is not an error.
export def stop []: record -> record {
    let service = $in
    # --- stop it
    rm --force (file $service)
    # ---
    {state: stopped}
}

# The state of the service. The daemon calls `status` often, so it should be quick and without side effects. A stopped service may
# have exit_code, or exit_signal, such as 9 or SIGKILL.
export def status []: record -> record {
    let service = $in
    # --- query it
    if not (file $service | path exists) { return {state: stopped} }
    {
        state: running
        id: (file $service)
        message: $"it says `(open --raw (file $service))`"
        since: (ls (file $service) | first | get modified)
    }
    # ---
}

# The states of many services at once: a row for each, with its name. Useful if one request returns all states.
export def "status all" []: table -> table {
    each {|service| $service | status | insert name $service.name }
}

# The last lines of the service: at most `tail` lines. If `since` is not null, no line is from before that time.
export def logs []: record -> table {
    let service = $in
    # --- read them
    if not (file $service | path exists) { return [] }
    open --raw (file $service) | lines | last $service.tail | each {|line| {stream: stdout line: $line} }
    # ---
}

# Whether the program that this manager needs is installed.
export def check []: nothing -> record {
    # --- check for it
    {present: true program: "files" version: null message: null}
    # ---
}

def file [service: record]: nothing -> string {
    $service.working_dir | path join $"($service.name).lamp"
}
