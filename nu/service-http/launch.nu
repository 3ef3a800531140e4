# Starts a daemon that outlives this shell, because it is not a child of the shell.

use ownership.nu
use problem.nu

# The limit for a daemon's first line.
const GREETS_WITHIN = 10sec
const PAUSE = 5ms
# The number of log lines that explain a failed start.
const LAST_WORDS = 5

# Starts a daemon and waits for the result. A daemon that another shell started first is a success too.
export def main [project: record, span: record]: nothing -> any {
    cd /
    let why = ownership foreign-directory $project.state
    if $why != null or ($project.log | path type) not-in [null file] {
        let writable = $why | default "" | parse "others can write to `{directory}`" | get --optional 0.directory
        problem raise {
            code: storage
            message: $"cannot store state in `($project.state)`: ($why | default $'`($project.log)` is not a regular file')"
            help: (if $why == null { "remove the log" } else if $writable != null { $"run `chmod go-w '($writable)'`" } else {
                "unset $XDG_STATE_HOME, or set it to a directory of your own; HOME must be your own as well"
            })
        } $span
    }
    # This variable is meant for the hook, and not for services that the daemon starts.
    hide-env --ignore-errors SERVICE_CALLER
    # One external program for everything: Nushell's error for a directory that cannot be created does not tell the reason.
    let make = 'mkdir -p "$1" && chmod 700 "$1" && touch "$2" && chmod 600 "$2"'
    let made = with-env { LC_ALL: C } { ^sh -c $make sh $project.state $project.log | complete }
    if $made.exit_code != 0 {
        let why = $made.stderr | lines | last 1 | split row ": " | last 1 | str join
        problem raise {
            code: storage
            message: $"cannot keep state in `($project.state)`: ($why)"
            help: "make the directory writable, or set $env.XDG_STATE_HOME to a writable one"
        } $span
    }
    let greeting = $"($project.state)/greeting.(random chars --length 8)"
    let words = [(program $span) run --config $project.config --nu $nu.current-exe --idle-exit]
    let script = 'out="$1" log="$2"; shift 2; cd / && { "$@" > "$out" 2>> "$log" < /dev/null & echo $!; }'
    let pid = ^sh -c $script sh $greeting $project.log ...$words | str trim
    let line = greeting $greeting $pid
    rm --force $greeting
    let said = try { $line | from json } catch { null }
    if $said == taken { return }
    let kind = try { $said | columns | first } catch { "" }
    if $kind == ready { return }
    if $kind == failed { problem raise $said.failed $span }
    let words = open --raw $project.log | lines | last $LAST_WORDS | str join "\n"
    let limit = ^sh -c "ulimit -f" | str trim
    let silent = if $words != "" {
        { code: daemon_unreachable message: "cannot start the daemon: it said nothing" help: $"it wrote to `($project.log)`:\n($words)" }
    } else if $limit != unlimited {
        { code: daemon_unreachable message: $"cannot start the daemon: it said nothing, and this shell allows no files of more than ($limit) blocks"
            help: "raise the limit of file sizes: `ulimit -f unlimited`" }
    } else {
        { code: daemon_unreachable message: "cannot start the daemon: it said nothing" }
    }
    problem raise $silent $span
}

# The daemon's first line; empty if it exits before or exceeds the limit.
def greeting [file: string, pid: string]: nothing -> any {
    let deadline = (date now) + $GREETS_WITHIN
    loop {
        let lives = $"/proc/($pid)" | path exists
        let line = try { open --raw $file } catch { "" }
        if ($line | str contains "\n") or not $lives or (date now) > $deadline { return $line }
        sleep $PAUSE
    }
}

# `orchestratord`: `$env.ORCHESTRATORD`, or else the one on PATH.
export def program [span: record]: nothing -> string {
    cd /
    let named = $env.ORCHESTRATORD? | default ""
    if ($named | path type) == file { return $named }
    let found = which orchestratord | get path | where $it != ""
    if ($found | is-empty) {
        problem raise { code: daemon_unreachable message: "cannot find the program `orchestratord`"
            help: "install it on $env.PATH, or name it in $env.ORCHESTRATORD" } $span
    }
    $found | first
}
