# `service hook`: services that come and go with the directory one is in.
#
# What was started is noted in a directory of the project: `shells/` has a file for each shell that is inside, `started/` one
# for each service. The last shell to leave stops what is noted, and nothing else.

use ../service-http/ownership.nu
use ../service-http/printable.nu
use ../service-http/trusted.nu
use paths.nu

# Return the hook that starts services with `auto = true` when a shell enters the project's directory, and stops them on leaving.
#
# The hook ignores a services.toml whose present content is not trusted: see `service trust`. It works in the background, so
# the prompt does not wait. It stops only services that it has started, with their dependencies, and only when no other shell
# is inside. A shell that exits inside leaves its services running.
@category service
@search-terms direnv cd enter leave auto
@example "in config.nu" "use service\n$env.config.hooks.env_change.PWD = ($env.config.hooks.env_change.PWD? | default [] | append (service hook))"
export def --env "service hook" []: nothing -> closure {
    {|before, after|
        let left = if $before == null { null } else { paths project $before }
        let entered = paths project $after
        $env.SERVICE_HOOK_INSIDE = $entered
        if $left != $entered {
            if $left != null { leave $left }
            if $entered != null { enter $entered }
        }
    }
}

# Starts what is marked, if the file is trusted; `service trust` asks for it as well.
export def --env enter [file: string]: nothing -> nothing {
    let parsed = try { ownership read-toml $file } catch { return }
    let by_default = $parsed.orchestrator?.service_defaults?.auto? | default false
    let marked = $parsed.services? | default {} | values | any {|service| $service.auto? | default $by_default }
    if not $marked { return }
    # What is trusted now is what is started: the daemon compares.
    let hash = trusted hash-if-trusted $file
    if $hash == null {
        tell-once $file
        return
    }
    let notes = notes $file
    mkdir ($notes | path join shells) ($notes | path join started)
    touch (mine $notes)
    job spawn {
        $env.SERVICE_CALLER = "hook"
        try { start $file $notes $hash } catch {|error| $error.msg | save --force ($notes | path join error) }
        # Somebody was quicker on the way out than we on the way in.
        if not (mine $notes | path exists) { try { stop $file $notes } }
    } | ignore
}

def leave [file: string]: nothing -> nothing {
    let notes = notes $file
    if not (mine $notes | path exists) { return }
    rm --force (mine $notes)
    job spawn {
        $env.SERVICE_CALLER = "hook"
        try { stop $file $notes }
    } | ignore
}

def start [file: string, notes: string, hash: string]: nothing -> nothing {
    service list --config $file
    | where auto
    | service start --no-wait --config $file --if-hash $hash
    | where action in [started starting]
    | each {|row| touch ($notes | path join started $row.name) }
    | ignore
}

def stop [file: string, notes: string]: nothing -> nothing {
    if (ls ($notes | path join shells) | any {|shell| is-alive $shell.name }) { return }
    let started = ls ($notes | path join started) | get name | path basename
    if ($started | is-empty) { return }
    # No daemon is started to stop what it would first have to take over.
    service status --no-start --quiet --config $file
    | where name in $started and status == running
    | service stop --no-wait --config $file
    | ignore
    $started | each {|name| rm --force ($notes | path join started $name) } | ignore
}

# The notes of one boot: after another nothing of it is true.
def notes [file: string]: nothing -> string {
    paths cache hook $"($file) (open --raw /proc/sys/kernel/random/boot_id)"
}

def mine [notes: string]: nothing -> string { $notes | path join shells $"($nu.pid)" }

# Whether a shell with a file still lives; the file of one that does not is removed.
def is-alive [shell: string]: nothing -> bool {
    let lives = $"/proc/($shell | path basename)" | path exists
    if not $lives { rm --force $shell }
    $lives
}

# One line, once in a shell for one content of a file.
def --env tell-once [file: string]: nothing -> nothing {
    let hash = try { (trusted digest $file).hash } catch { "" }
    if $hash in ($env.SERVICE_HOOK_TOLD? | default []) { return }
    $env.SERVICE_HOOK_TOLD = ($env.SERVICE_HOOK_TOLD? | default [] | append $hash)
    print --stderr $"($file | printable plain) has services to start here, and is not trusted: read it, then `service trust`"
}
