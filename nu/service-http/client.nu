# Requests to the daemon: how it is reached, and its responses.

use launch.nu
use ownership.nu
use printable.nu
use problem.nu
use project.nu
use remote.nu

const API = 2
# The limit for a daemon to start or to exit.
const PATIENCE = 10sec
const PAUSE = 10ms
const ACCEPT_ROWS = { Accept: application/x-ndjson }

# The connection to a running daemon of this version; the daemon is started if it does not run. Most commands use this.
export def connect [
    config: any
    span: record
    --anywhere # without a project, use the user's own
]: nothing -> any {
    let there = remote way $config $span
    if $there != null { return (speaking-ours $there (ask $there /api/v1/version)) }
    let project = project $config $span --anywhere=$anywhere
    let reached = running $project $span
    if $reached != null { return $reached }
    launch $project $span
    # Another shell may be starting the daemon at the same time.
    let deadline = (date now) + $PATIENCE
    loop {
        let reached = running $project $span
        if $reached != null { return $reached }
        if (date now) > $deadline { problem raise { code: daemon_unreachable message: "cannot reach the daemon that was started" } $span }
        sleep $PAUSE
    }
}

# The same; null if no daemon runs.
export def running [project: record, span: record]: nothing -> any {
    let way = { socket: (project socket $project) span: $span project: $project }
    let version = version $way
    if $version == null { return null }
    speaking-ours $way $version
}

# The same connection, if the daemon's version matches.
def speaking-ours [way: record, version: record]: nothing -> record {
    let span = $way.span
    if $version.api != $API {
        problem raise {
            code: version_mismatch
            message: $"cannot talk to the daemon: it is version ($version.version) \(API ($version.api)\), this module needs API ($API)"
            help: "run `service daemon stop` (services keep running), then the command again"
        } $span
    }
    $way
}

# The connection to a running daemon, whatever its version; null if none runs.
export def any-running [config: any, span: record]: nothing -> any {
    let there = remote way $config $span
    if $there != null { return $there }
    let project = project $config $span
    let way = { socket: (project socket $project) span: $span project: $project }
    if (version $way) == null { null } else { $way }
}

# The same; an error if none runs.
export def must-run [config: any, span: record]: nothing -> any {
    let there = remote way $config $span
    if $there != null { return $there }
    let project = project $config $span
    let way = { socket: (project socket $project) span: $span project: $project }
    if (version $way) != null { return $way }
    problem raise {
        code: daemon_unreachable
        message: $"no daemon is running for `($project.config)`"
        help: "the next `service start` or `service status` starts a daemon, which adopts running services"
    } $span
}

# The data of a GET response.
export def ask [way: record, route: string, query: record = {}, --as-written]: nothing -> any {
    envelope $way $route $query --as-written=$as_written | data $way.span
}

# The data of a route of each service, all at the same time. An error is raised here, because inside of `par-each` it would lose
# its code.
export def ask-each [way: record, names: list<string>, what: string, query: record = {}]: nothing -> list {
    let envelopes = $names | par-each --keep-order {|name| envelope $way $"/api/v1/services/($name | url encode --all)/($what)" $query }
    mut all = []
    for envelope in $envelopes { $all = ($all | append [($envelope | data $way.span)]) }
    $all
}

# The data of a GET response; its notes are printed on standard error.
export def ask-noted [way: record, route: string, query: record, quiet: bool]: nothing -> any {
    let envelope = envelope $way $route $query
    cd /
    if not $quiet { for note in ($envelope.notes? | default []) { print --stderr $"note: ($note)" } }
    $envelope | data $way.span
}

# The envelope of a GET response. Its text is printable unless --as-written.
export def envelope [way: record, route: string, query: record, --as-written]: nothing -> any {
    try {
        let json = remote get $way (target $route $query)
        if $as_written { $json | from json } else { $json | printable decode }
    } catch {|error| lost $error $way }
}

# The data of a GET response within a limit.
export def peek [way: record, route: string, patience: duration]: nothing -> any {
    if $way.url? == null { distrust-strangers $way }
    remote get-within $patience $way (target $route {}) | printable decode | get data
}

# The rows of a streamed GET response, as they arrive.
export def follow [way: record, route: string, query: record, --as-written]: nothing -> any {
    # A refusal must be an error of the command, with its code, and not an error of a row.
    ask $way $route ($query | merge { follow: false limit: 1 tail: 0 }) | ignore
    remote get $way (target $route $query) $ACCEPT_ROWS
    | lines
    | where $it != ""
    | each {|line| (if $as_written { $line | from json } else { $line | printable decode }) | data $way.span }
}

# Waits for the next line of a stream, or its end.
export def await [way: record, route: string, query: record]: nothing -> nothing {
    try {
        # The first line has the number of the last past event.
        remote get $way (target $route $query) $ACCEPT_ROWS | lines | skip 1 | first | ignore
    } catch {|error| lost $error $way | ignore }
}

# The data of a POST response.
export def post [way: record, route: string, body: record]: nothing -> any {
    send $way $route $body {} | data $way.span
}

# The envelopes of a streamed POST response, as they arrive, and null after the last.
export def envelopes [way: record, route: string, body: record]: nothing -> any {
    # No variable and no `try` here: those would wait for the end.
    remote post $way (target $route {}) $body $ACCEPT_ROWS
    | lines | where $it != "" | each {|line| $line | printable decode } | append [null]
}

def send [way: record, route: string, body: record, query: record]: nothing -> any {
    try { remote post $way (target $route $query) $body | printable decode } catch {|error| lost $error $way }
}

# The data from a running daemon, or else from a one-shot command, which starts no daemon.
export def read [config: any, span: record, route: string, query: record, words: list<string>]: nothing -> any {
    let there = remote way $config $span
    if $there != null { return (ask (speaking-ours $there (ask $there /api/v1/version)) $route $query) }
    let project = project $config $span
    let way = running $project $span
    let answer = if $way == null { null } else { envelope $way $route $query }
    # A daemon that has exited since then sends no response.
    if $answer == null or $answer.error.code? == daemon_unreachable { return (say $project $words $span) }
    $answer | data $span
}

# The data of a one-shot command about a project.
export def say [project: record, words: list<string>, span: record]: nothing -> any {
    program-says ([...$words --config $project.config]) $span
}

# The data of a one-shot command.
export def program-says [words: list<string>, span: record]: nothing -> any {
    cd /
    let said = ^(launch program $span) ...$words | complete
    if $said.stdout == "" { problem raise { code: internal message: ($said.stderr | str trim) } $span }
    $said.stdout | printable decode | data $span
}

# Stops a daemon and waits until its process has ended, and with it its socket and its lock. Another shell may already have
# started the next daemon.
export def end [way: record, query: record]: nothing -> record {
    let daemon = ask $way /api/v1/daemon
    let answer = send $way /api/v1/daemon/stop {} $query
    # A daemon that exits before its response is read has stopped all the same.
    let daemon = if $answer.success or $answer.error.code != daemon_unreachable { $answer | data $way.span } else { $daemon }
    let deadline = (date now) + $PATIENCE
    # The pid of a remote daemon belongs to another machine.
    let started = if $way.url? == null { start-time $daemon.pid }
    while (answers $way $daemon.pid) or ($started != null and (start-time $daemon.pid) == $started) {
        if (date now) > $deadline { problem raise { code: timeout message: "the daemon has not ended yet" } $way.span }
        sleep $PAUSE
    }
    $daemon
}

# Whether the daemon of this pid answers.
def answers [way: record, pid: int]: nothing -> bool {
    if (version $way) == null { return false }
    let answer = envelope $way /api/v1/daemon {}
    if $answer.success { $answer.data.pid == $pid } else { $answer.error.code != daemon_unreachable }
}

# When a process started, in ticks since the boot; null if it has ended. A zombie has ended: the kernel has released its locks.
def start-time [pid: int]: nothing -> any {
    cd /
    let fields = try { open --raw $"/proc/($pid)/stat" | split row ") " | last | split row " " } catch { return null }
    if $fields.0 in [Z X] { null } else { $fields.19 }
}

def version [way: record]: nothing -> any {
    if $way.url? == null {
        if $way.socket == null { return null }
        distrust-strangers $way
    }
    try { remote get-within $PATIENCE $way (target /api/v1/version {}) | from json | get data } catch { null }
}

# A socket in a directory of another user may belong to any process of that user.
def distrust-strangers [way: record]: nothing -> any {
    cd /
    let directory = $way.socket | path dirname
    let owner = ownership stranger $directory
    if $owner == null { return }
    problem raise { code: storage message: $"cannot trust the socket in `($directory)`: it belongs to user ($owner)"
        help: "unset $env.XDG_RUNTIME_DIR, or set it to a directory of your own" } $way.span
}

def target [route: string, query: record]: nothing -> string {
    let query = $query | transpose key value | where value not-in [null "" false] | each {|it|
        $"($it.key)=($it.value | into string | url encode --all)"
    } | str join "&"
    $"($route)(if $query == '' { '' } else { $'?($query)' })"
}

# The data of an envelope, or its error.
export def data [span: record]: record -> any {
    let envelope = $in
    if not $envelope.success { problem raise $envelope.error $span }
    $envelope.data
}

# An envelope for a failed request; ctrl-c stays an error.
export def lost [error: record, way: record]: nothing -> any {
    if $error.msg =~ "(?i)interrupted" {
        error make { msg: "Operation interrupted" label: { text: "ended by ctrl-c" span: $way.span } }
    }
    let whom = $way.url? | default "the daemon"
    let redirect = $"($error.debug? | default '') ($error.rendered? | default '')"
        | parse --regex 'Redirect encountered[^(]*\((?<status>[^)]+)\)' | get 0?.status
    if $redirect != null {
        return {
            success: false
            error: {
                code: daemon_unreachable
                message: $"cannot reach `($whom)`: it answers with a redirect \(($redirect)\)"
                help: "something else answers there, such as a proxy or a login page: correct the address"
            }
        }
    }
    {
        success: false
        error: {
            code: daemon_unreachable
            message: $"cannot reach ($whom): ($error.msg)"
            help: (if $way.url? == null { "`service daemon status` says whether it runs" } else {
                "does a daemon run there, with `listen` in [orchestrator.api], and is its certificate one that this machine trusts?"
            })
        }
    }
}
