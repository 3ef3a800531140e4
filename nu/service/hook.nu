# `service hook`: starts services when the shell enters a directory, and stops them when it leaves.
#
# The hook records the started services in a directory of the project: `shells/` has a file for each shell inside, `started/` has a
# file for each service. The last shell that leaves stops the recorded services, and no others.

use ../service-http/ownership.nu
use ../service-http/printable.nu
use ../service-http/trusted.nu
use paths.nu

# Return the hook that starts services with `auto = true` when a shell enters the project's directory, and stops them when it leaves.
#
# The hook ignores a services.toml whose present content is not trusted: see `service trust`. The hook works in the background,
# so the prompt does not wait. The hook stops only services that it has started, with their dependencies, and only when no other
# shell is inside. If a shell exits inside the directory, its services keep running.
@category service
@search-terms direnv cd enter leave auto
@example "in config.nu" "use service\n$env.config.hooks.env_change.PWD = ($env.config.hooks.env_change.PWD? | default [] | append (service hook))"
export def --env "service hook" []: nothing -> closure {
    {|before, after|
        let former = if $before == null { null } else { paths project $before }
        let current = paths project $after
        $env.SERVICE_HOOK_INSIDE = $current
        if $former != $current {
            if $former != null { leave $former }
            if $current != null { enter $current }
        }
    }
}

# Starts services with `auto = true`, if the file is trusted. `service trust` also calls this command.
export def --env enter [file: string]: nothing -> nothing {
    let parsed = try { ownership read-toml $file } catch { return }
    let by_default = $parsed.orchestrator?.service_defaults?.auto? | default false
    let has_auto = $parsed.services? | default {} | values | any {|service| $service.auto? | default $by_default }
    if not $has_auto { return }
    # The daemon compares the hash, so that only trusted content starts.
    let hash = trusted hash-if-trusted $file
    if $hash == null {
        print-once $file
        return
    }
    let records = records-directory $file
    mkdir ($records | path join shells) ($records | path join started)
    touch (own-record $records)
    job spawn {
        $env.SERVICE_CALLER = "hook"
        try { start $file $records $hash } catch {|error| $error.msg | save --force ($records | path join error) }
        # This shell has left again while the services started.
        if not (own-record $records | path exists) { try { stop $file $records } }
    } | ignore
}

def leave [file: string]: nothing -> nothing {
    let records = records-directory $file
    if not (own-record $records | path exists) { return }
    rm --force (own-record $records)
    job spawn {
        $env.SERVICE_CALLER = "hook"
        try { stop $file $records }
    } | ignore
}

def start [file: string, records: string, hash: string]: nothing -> nothing {
    service list --config $file
    | where auto
    | service start --no-wait --config $file --if-hash $hash
    | where action in [started starting]
    | each {|row| touch ($records | path join started $row.name) }
    | ignore
}

def stop [file: string, records: string]: nothing -> nothing {
    if (ls ($records | path join shells) | any {|shell| is-alive $shell.name }) { return }
    let started = ls ($records | path join started) | get name | path basename
    if ($started | is-empty) { return }
    # Does not start a daemon only to stop services.
    service status --no-start --quiet --config $file
    | where name in $started and status == running
    | service stop --no-wait --config $file
    | ignore
    $started | each {|name| rm --force ($records | path join started $name) } | ignore
}

# The directory of the records. A reboot makes the records invalid, so the boot id is part of the key.
def records-directory [file: string]: nothing -> string {
    paths cache hook $"($file) (open --raw /proc/sys/kernel/random/boot_id)"
}

def own-record [records: string]: nothing -> string { $records | path join shells $"($nu.pid)" }

# Whether the shell of this file still runs; removes the file of a shell that has exited.
def is-alive [shell: string]: nothing -> bool {
    let is_running = $"/proc/($shell | path basename)" | path exists
    if not $is_running { rm --force $shell }
    $is_running
}

# Prints a line once per shell and content of a file.
def --env print-once [file: string]: nothing -> nothing {
    let hash = try { (trusted digest $file).hash } catch { "" }
    if $hash in ($env.SERVICE_HOOK_PRINTED? | default []) { return }
    $env.SERVICE_HOOK_PRINTED = ($env.SERVICE_HOOK_PRINTED? | default [] | append $hash)
    print --stderr $"($file | printable plain) has services to start here, and is not trusted: read it, then `service trust`"
}
