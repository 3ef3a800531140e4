# `service hook`: starts services when the shell enters a directory, and stops them when it leaves.
#
# The started services are recorded in a directory of the project: `shells/` has a file per shell that is inside, `started/` one
# per service. The last shell that leaves stops the recorded services, and no others.

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

# Starts services with `auto = true`, if the file is trusted. `service trust` calls it as well.
export def --env enter [file: string]: nothing -> nothing {
    let parsed = try { ownership read-toml $file } catch { return }
    let by_default = $parsed.orchestrator?.service_defaults?.auto? | default false
    let marked = $parsed.services? | default {} | values | any {|service| $service.auto? | default $by_default }
    if not $marked { return }
    # The daemon compares the hash, so that the trusted content is what starts.
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
        # Another shell left before this one entered.
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
    # No daemon is started only to stop services that it would first have to adopt.
    service status --no-start --quiet --config $file
    | where name in $started and status == running
    | service stop --no-wait --config $file
    | ignore
    $started | each {|name| rm --force ($notes | path join started $name) } | ignore
}

# The records of one boot: they are invalid after the next.
def notes [file: string]: nothing -> string {
    paths cache hook $"($file) (open --raw /proc/sys/kernel/random/boot_id)"
}

def mine [notes: string]: nothing -> string { $notes | path join shells $"($nu.pid)" }

# Whether a shell of these files still runs; removes the files of those that do not.
def is-alive [shell: string]: nothing -> bool {
    let lives = $"/proc/($shell | path basename)" | path exists
    if not $lives { rm --force $shell }
    $lives
}

# Prints a line once per shell and content of a file.
def --env tell-once [file: string]: nothing -> nothing {
    let hash = try { (trusted digest $file).hash } catch { "" }
    if $hash in ($env.SERVICE_HOOK_TOLD? | default []) { return }
    $env.SERVICE_HOOK_TOLD = ($env.SERVICE_HOOK_TOLD? | default [] | append $hash)
    print --stderr $"($file | printable plain) has services to start here, and is not trusted: read it, then `service trust`"
}
