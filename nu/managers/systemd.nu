# Services that systemd runs as units. For root these are units of the system, otherwise of the user. A service may choose:
# with = { scope = "user", unit = "shop.service" }
#
# The unit has the service's name unless `with.unit` names it; `.service` is appended to a name without a unit type. See
# docs/managers.md.

use quote.nu

export const CONTRACT = 1

# The keys of a service's `with`.
export const WITH = [unit scope]

const PROPERTIES = [
    LoadState ActiveState SubState Result StatusText MainPID MemoryCurrent NRestarts ExecMainCode ExecMainStatus
    ActiveEnterTimestamp
]
const TYPES = '\.(service|socket|timer|target|path|mount|slice|scope)$'
const ABSENT = '(?i)not been booted with systemd|connect to bus'
const WITHOUT_SYSTEMD = "let the orchestrator run the program: manager = \"process\" and a start_command that does not exit"

# Starts the unit and waits until systemd reports it as up.
@category service
export def start []: record -> record {
    let service = $in
    let start_error = try { systemctl start $service start (unit-of $service) | ignore; null } catch {|error| $error }
    let status = $service | status
    if $start_error != null {
        # The unit has run, and its exit status is more informative than the failed start.
        if $status.state == "failed" and ($status.exit_code? != null or $status.exit_signal? != null) {
            return ($status | update message $"(unit-of $service) ($status.message)")
        }
        error make --unspanned {msg: $start_error.msg help: ($start_error.details?.help? | default "")}
    }
    # A started unit that does not run has completed.
    if $status.state == "stopped" { $status | update state completed } else { $status }
}

# Stops the unit and waits until systemd reports it as down.
@category service
export def stop []: record -> record {
    let service = $in
    systemctl stop $service stop (unit-of $service) | ignore
    $service | status
}

# Lets systemd restart the unit in one step.
@category service
export def restart []: record -> record {
    let service = $in
    systemctl restart $service restart (unit-of $service) | ignore
    $service | status
}

# The state of the unit.
@category service
export def status []: record -> record {
    let service = $in
    systemctl check $service show ...(property-options) (unit-of $service) | report (unit-of $service)
}

# The states of many units, with one request for each scope.
@category service
export def "status all" []: table -> table {
    let targets = each {|service|
        try {
            {service: $service scope: (scope-of $service) unit: (unit-of $service)}
        } catch {|error| {service: $service wrong: $error.msg} }
    }
    # A failure of one unit, or of one systemd, does not affect the others.
    let wrong = $targets | where wrong? != null | each {|one| unknown $one.service $one.wrong }
    $targets
    | where wrong? == null
    | group-by scope
    | items {|scope, group|
        try {
            query-units $group
        } catch {|error|
            # One invalid name makes the request for all units fail.
            let each_alone = ($group | length) > 1 and $error.msg !~ $ABSENT
            $group | each {|one|
                let why = if $each_alone { try { query-units [$one] | first } catch {|error| $error.msg } } else { $error.msg }
                if ($why | describe) == string { unknown $one.service $why } else { $why }
            }
        }
    }
    | flatten
    | append $wrong
}

# A row for a unit that cannot be queried.
def unknown [service: record why: string]: nothing -> record {
    {name: $service.name state: unknown message: ($why | str replace --regex '^cannot (check|ask systemd for) `[^`]*`: ' '')}
}

# The states of these units of one scope.
def query-units [group: table]: nothing -> table {
    let blocks = systemctl check ($group | first | get service) show ...(property-options) ...$group.unit | split row "\n\n"
    $group | zip $blocks | each {|pair| $pair.1 | report $pair.0.unit | insert name $pair.0.service.name }
}

# The unit's last lines in systemd's journal.
@category service
export def logs []: record -> table {
    let service = $in
    if (which journalctl | is-empty) {
        error make --unspanned {msg: $"cannot read the log of `($service.name)`: there is no `journalctl` on this machine"}
    }
    let unit_option = if (scope-of $service) == "user" { "--user-unit" } else { "--unit" }
    let since = if $service.since != null { [--since $"@(($service.since | into int) // 1_000_000_000)"] } else { [] }
    let journal = [$"($unit_option)=(unit-of $service)" --quiet --no-pager --output=json $"--lines=($service.tail)" ...$since]
    let answer = ^journalctl ...$journal | complete
    if $answer.exit_code != 0 and ($answer.stderr | str trim | is-not-empty) {
        error make --unspanned {msg: $"cannot read the log of `($service.name)`: ($answer.stderr | str trim)"}
    }
    $answer.stdout
    | lines
    | each {|line|
        let entry = $line | from json
        let message = $entry.MESSAGE? | default ""
        {
            time: ($entry.__REALTIME_TIMESTAMP | into int | $in * 1000 | into datetime)
            stream: stdout
            # Text that is not UTF-8 is a list of bytes.
            line: (if ($message | describe) == string { $message } else { $message | each { into binary --compact } | bytes collect | decode utf-8 })
        }
    }
    # journalctl takes whole seconds.
    | where $service.since == null or $it.time >= $service.since
}

# Whether systemd runs.
@category service
export def check []: nothing -> record {
    let program = which systemctl | get 0?.path
    if $program == null {
        return {present: false program: "systemctl" version: null message: "there is no `systemctl` on this machine"}
    }
    let version = ^systemctl --version | complete | get stdout | lines | get 0? | default "" | split row " " | get 1?
    let booted = "/run/systemd/system" | path exists
    let message = if not $booted { "this machine was not booted with systemd; units of a user's own manager may run" }
    {present: true program: $program version: $version message: $message}
}

def property-options []: nothing -> list<string> {
    [$"--property=($PROPERTIES | str join ',')"]
}

# One row of typed values from the output of `systemctl show`.
def report [unit: string]: string -> record {
    let known = $in | lines | split column --number 2 "=" name value | transpose --header-row --as-record
    if $known.LoadState? == "not-found" {
        return {state: unknown message: $"systemd has no unit ($unit)"}
    }
    # `ExecMainCode` is 1 for an exit with a code; 2 and 3 are an end by a signal.
    let code = if $known.ExecMainCode? == "1" { number $known.ExecMainStatus? }
    let signal = if $known.ExecMainCode? in ["2" "3"] { number $known.ExecMainStatus? }
    let failed = $known.ActiveState == "failed"
    let state = match $known.ActiveState {
        "active" if $known.SubState == "exited" => "completed"
        "active" | "reloading" | "deactivating" => "running"
        "activating" => "starting"
        # The end of a unit that has not failed is a success: the unit defines the accepted signals and codes.
        "inactive" => (if $signal != null or $code not-in [0 null] { "completed" } else { "stopped" })
        "failed" => "failed"
        _ => "unknown"
    }
    let ended = $state in [stopped completed failed]
    let well = $ended and not $failed
    let cause = if $failed {
        $": ($known.Result?)"
    } else if $well and $code not-in [0 null] {
        $": exit code ($code), which the unit accepts"
    } else if ($known.StatusText? | is-not-empty) {
        $": ($known.StatusText | quote)"
    }
    {
        state: $state
        pid: (if $known.MainPID? not-in ["0" null] { number $known.MainPID })
        message: $"($known.ActiveState) \(($known.SubState))($cause)"
        # systemd often forgets the code of an accepted exit, and any other code than 0 would count as a failure.
        exit_code: (if $failed { $code } else if $well and $signal == null { 0 })
        exit_signal: (if $ended { $signal })
        since: (if $state == "running" { time $known.ActiveEnterTimestamp? })
        memory: (number $known.MemoryCurrent? | if $in != null { into filesize })
        restarts: (number $known.NRestarts? | default 0)
    }
}

# A number, or nothing for `[not set]` and an unsigned -1.
def number [text?: string]: nothing -> any {
    try { $text | into int }
}

# `Wed 2026-01-07 10:11:12 UTC`, or nothing.
def time [text?: string]: nothing -> any {
    let words = $text | default "" | split row " "
    if ($words | length) == 4 { $"($words.1)T($words.2)Z" | into datetime }
}

def unit-of [service: record]: nothing -> string {
    let name = $service.with?.unit? | default $service.name
    # The rules of systemd.unit(5); a pattern would select several units, and a dash would be an option.
    if ($name | describe) != string or $name !~ '^[a-zA-Z0-9_:.\\@][a-zA-Z0-9_:.\\@-]*$' {
        error make --unspanned {
            msg: $"cannot ask systemd for `($service.name)`: `with.unit` is `($name)`, which is not the name of a unit"
            help: "it should be one like \"shop.service\""
        }
    }
    if $name =~ $TYPES { $name } else { $"($name).service" }
}

def scope-of [service: record]: nothing -> string {
    let scope = $service.with?.scope?
    if $scope not-in [system user null] {
        error make --unspanned {
            msg: $"cannot ask systemd for `($service.name)`: `with.scope` is `($scope)`"
            help: "it should be \"system\" or \"user\""
        }
    }
    $scope | default (if (is-admin) { "system" } else { "user" })
}

# The output of systemctl for the right scope; fails with its error.
def systemctl [verb: string service: record ...args: string]: nothing -> string {
    let cannot = $"cannot ($verb) `($service.name)`"
    if (which systemctl | is-empty) {
        error make --unspanned {msg: $"($cannot): there is no `systemctl` on this machine" help: $WITHOUT_SYSTEMD}
    }
    let unit_option = $"--(scope-of $service)"
    let answer = with-env {TZ: UTC} { ^systemctl $unit_option --no-pager --no-ask-password ...$args | complete }
    if $answer.exit_code != 0 {
        # The lines that begin with `See` are advice, which the help contains too.
        let message = $answer.stderr | lines | each { str trim } | where $it != "" and $it !~ '^See "?(systemctl|user logs|system logs)' | str join " "
        let absent = $message =~ $ABSENT
        let status_help = $"see `systemctl ($unit_option) status (unit-of $service)`"
        error make --unspanned {msg: $"($cannot): ($message | quote)" help: (if $absent { $WITHOUT_SYSTEMD } else { $status_help })}
    }
    $answer.stdout
}
