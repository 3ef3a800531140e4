# Converts problems to Nushell errors with the plugin's codes, such as `service::not_found`.

use printable.nu

# A part of help texts: Nushell pipes the item of a closure into the first command of the closure.
export const IN_A_CLOSURE = "in a closure, whose item comes through the pipe: `null | service ...`"

# Raises a problem of the API, or of this module in the same form. The span is that of the command's names; its field `piped` is true
# if the names were piped in.
export def raise [problem: record, span: record]: nothing -> error {
    let place = { start: $span.start end: $span.end }
    let error = { msg: (text $problem | printable plain) code: $"service::($problem.code)" label: { text: (label $problem.code) span: $place } }
    let is_unknown_input = $problem.code == not_found and ($span.piped? | default false)
    let help = [$problem.help? (if $is_unknown_input { $IN_A_CLOSURE })] | compact
    let help = if ($help | is-not-empty) { $help | str join "; " | printable plain }
    error make (if $help == null { $error } else { $error | insert help $help })
}

# The message, the line of the file, and further problems.
def text [problem: record]: nothing -> string {
    let place = $problem.place?
    let place = if $place == null { "" } else {
        let pad = repeat " " ($"($place.line)" | str length)
        let mark = $"(repeat ' ' ($place.column - 1))(repeat '^' $place.width)"
        $"\n --> ($place.file):($place.line):($place.column)\n($place.line) | ($place.snippet)\n($pad) | ($mark)"
    }
    let lines = $problem.log? | default [] | each {|line| $"\n  | ($line)" } | str join
    let others = $problem.others? | default [] | each {|other|
        let help = if $other.help? == null { "" } else { $"\nhelp: ($other.help)" }
        $"\n\n(text $other)($help)"
    } | str join
    $"($problem.message)($place)($lines)($others)"
}

def repeat [character: string, count: int]: nothing -> string {
    "" | fill --character $character --width $count
}

def label [code: string]: nothing -> string {
    match $code {
        not_found => "no service of this name"
        bad_definition => "needs a valid services.toml"
        no_project => "needs a services.toml"
        untrusted_file => "needs a services.toml of your own"
        ambiguous_input => "named twice"
        no_names => "which services?"
        bad_row => "no name in this row"
        timeout => "not done in time"
        unauthorized => "needs a token"
        forbidden => "not allowed"
        remote => "works only on its own machine"
        exists => "the file exists"
        unknown_subcommand => "unknown subcommand"
        name_taken => "this name is in use"
        no_command => "run what?"
        start_failed => "did not start"
        stop_failed => "did not stop"
        dependency_failed => "needs a service that failed"
        dependency_not_running => "needs a service that is not running"
        cancelled => "another request asked for the opposite"
        manager_disabled => "not while `manager_enabled` is false"
        gap => "not in the journal"
        manager_failed => "its manager does not answer"
        too_much => "request fewer lines"
        storage => "the state directory is not writable"
        state_unknown => "unknown whether it runs"
        moved => "running under the former path"
        no_systemd => "needs a systemd for this user"
        daemon_unreachable => "needs the daemon"
        version_mismatch => "needs a daemon of the same version"
        never => "this state can no longer be reached"
        bad_request => "refused"
        _ => "failed here"
    }
}

# The problem as one cell of a table.
export def cell [problem: any]: nothing -> any {
    if $problem == null { return null }
    let lines = $problem.log? | default [] | each {|line| $"\n| ($line)" } | str join
    if $problem.help? == null { return $"($problem.message)($lines)" }
    let between = if $lines == "" { " " } else { "\n" }
    $"($problem.message)($lines)($between)\(($problem.help)\)"
}
