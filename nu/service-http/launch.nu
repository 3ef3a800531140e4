# Starts a daemon that is not a child of the shell, so that it outlives the shell.

use ownership.nu
use problem.nu

# The maximum time until the daemon's startup message.
const STARTUP_TIMEOUT = 10sec
const POLL_INTERVAL = 5ms
# The number of log lines in the error of a failed start.
const MAX_LOG_LINES = 5

# Starts a daemon and waits for its startup message. If another shell has started a daemon first, the result is a success too.
export def main [project: record, span: record]: nothing -> any {
    cd /
    let reason = ownership foreign-directory $project.state
    if $reason != null or ($project.log | path type) not-in [null file] {
        let writable = $reason | default "" | parse "others can write to `{directory}`" | get --optional 0.directory
        problem raise {
            code: storage
            message: $"cannot store state in `($project.state)`: ($reason | default $'`($project.log)` is not a regular file')"
            help: (if $reason == null { "remove the log" } else if $writable != null { $"run `chmod go-w '($writable)'`" } else {
                "unset $XDG_STATE_HOME, or set it to a directory of your own; HOME must be your own as well"
            })
        } $span
    }
    # SERVICE_CALLER belongs to the hook; services that the daemon starts must not have this variable.
    hide-env --ignore-errors SERVICE_CALLER
    # One external program does all steps, because Nushell's error for a directory that cannot be created has no reason.
    let create_files = 'mkdir -p "$1" && chmod 700 "$1" && touch "$2" && chmod 600 "$2"'
    let result = with-env { LC_ALL: C } { ^sh -c $create_files sh $project.state $project.log | complete }
    if $result.exit_code != 0 {
        let reason = $result.stderr | lines | last 1 | split row ": " | last 1 | str join
        problem raise {
            code: storage
            message: $"cannot store state in `($project.state)`: ($reason)"
            help: "make the directory writable, or set $env.XDG_STATE_HOME to a writable one"
        } $span
    }
    let message_file = $"($project.state)/greeting.(random chars --length 8)"
    let words = [(program $span) run --config $project.config --nu $nu.current-exe --idle-exit]
    let script = 'out="$1" log="$2"; shift 2; cd / && { "$@" > "$out" 2>> "$log" < /dev/null & echo $!; }'
    let pid = ^sh -c $script sh $message_file $project.log ...$words | str trim
    let line = read-startup-message $message_file $pid
    rm --force $message_file
    let message = try { $line | from json } catch { null }
    if $message == taken { return }
    let kind = try { $message | columns | first } catch { "" }
    if $kind == ready { return }
    if $kind == failed { problem raise $message.failed $span }
    let words = open --raw $project.log | lines | last $MAX_LOG_LINES | str join "\n"
    let limit = ^sh -c "ulimit -f" | str trim
    let silent = if $words != "" {
        { code: daemon_unreachable message: "cannot start the daemon: there was no startup message" help: $"it wrote to `($project.log)`:\n($words)" }
    } else if $limit != unlimited {
        { code: daemon_unreachable message: $"cannot start the daemon: there was no startup message, and this shell allows no files of more than ($limit) blocks"
            help: "raise the limit of file sizes: `ulimit -f unlimited`" }
    } else {
        { code: daemon_unreachable message: "cannot start the daemon: there was no startup message" }
    }
    problem raise $silent $span
}

# The daemon's startup message; empty if the daemon exits before the message or exceeds the limit.
def read-startup-message [file: string, pid: string]: nothing -> any {
    let deadline = (date now) + $STARTUP_TIMEOUT
    loop {
        let is_running = $"/proc/($pid)" | path exists
        let line = try { open --raw $file } catch { "" }
        if ($line | str contains "\n") or not $is_running or (date now) > $deadline { return $line }
        sleep $POLL_INTERVAL
    }
}

# The path of `orchestratord`: `$env.ORCHESTRATORD`, or else the program on PATH.
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
