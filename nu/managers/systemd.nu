# Services that systemd runs as units: the system's manager for root, the user's own manager for everybody else.
#
# The unit has the service's name; `.service` is added where no other type of unit is named.
# See docs/managers.md.

const PROPERTIES = [LoadState ActiveState SubState Result StatusText MainPID MemoryCurrent NRestarts ExecMainStatus]
const WITHOUT_SYSTEMD = "let the orchestrator keep the program itself: manager = \"process\" and a start_command that stays"

# Starts the unit and waits until systemd says that it is up.
@category service
export def start []: record -> record {
    let service = $in
    systemctl start $service start (unit-of $service) | ignore
    $service | status
}

# Stops the unit and waits until systemd says that it is down.
@category service
export def stop []: record -> record {
    let service = $in
    systemctl stop $service stop (unit-of $service) | ignore
    $service | status
}

# What systemd knows of the unit.
@category service
export def status []: record -> record {
    let service = $in
    let unit = unit-of $service
    let known = systemctl check $service show $"--property=($PROPERTIES | str join ',')" $unit
        | lines
        | split column --number 2 "=" name value
        | transpose --header-row --as-record
    if $known.LoadState == "not-found" {
        return (report unknown $known $"systemd has no unit ($unit)")
    }
    let state = match $known.ActiveState {
        "active" if $known.SubState == "exited" => "completed"
        "active" | "reloading" | "deactivating" => "running"
        "inactive" => "stopped"
        "failed" => "failed"
        _ => "unknown"
    }
    report $state $known $"($known.ActiveState) \(($known.SubState))"
}

# One row of typed values from what `systemctl show` printed.
def report [state: string known: record phase: string]: nothing -> record {
    let cause = if $state == "failed" { $": ($known.Result)" } else if $known.StatusText != "" { $": ($known.StatusText)" }
    {
        state: $state
        pid: (if $known.MainPID != "0" { number $known.MainPID })
        message: $"($phase)($cause)"
        exit_code: (if $state in [failed completed] { number $known.ExecMainStatus })
        memory: (number $known.MemoryCurrent | if $in != null { into filesize })
        restarts: (number $known.NRestarts | default 0)
    }
}

# A number, or nothing where systemd says `[not set]` or an unsigned -1.
def number [text: string]: nothing -> any {
    try { $text | into int }
}

def unit-of [service: record]: nothing -> string {
    let name = $service.name
    if $name =~ '\.(service|socket|timer|target|path|mount|slice|scope)$' { $name } else { $"($name).service" }
}

# What systemctl printed, asked of the right manager; fails with what it said.
def systemctl [verb: string service: record ...args: string]: nothing -> string {
    let cannot = $"cannot ($verb) `($service.name)`"
    if (which systemctl | is-empty) {
        error make --unspanned {msg: $"($cannot): there is no `systemctl` on this machine" help: $WITHOUT_SYSTEMD}
    }
    let whose = if (is-admin) { "--system" } else { "--user" }
    let answer = ^systemctl $whose --no-pager --no-ask-password ...$args | complete
    if $answer.exit_code != 0 {
        let said = $answer.stderr | str trim
        let absent = $said =~ '(?i)not been booted with systemd|connect to bus'
        let look = $"see `systemctl ($whose) status (unit-of $service)`"
        error make --unspanned {msg: $"($cannot): ($said)" help: (if $absent { $WITHOUT_SYSTEMD } else { $look })}
    }
    $answer.stdout
}
