# Connections to the daemon, requests and responses.

use launch.nu
use ownership.nu
use printable.nu
use problem.nu
use project.nu
use remote.nu

const API = 2
# The maximum time for a daemon to start or to exit.
const DAEMON_TIMEOUT = 10sec
const POLL_INTERVAL = 10ms
const ACCEPT_ROWS = { Accept: application/x-ndjson }

# The connection to a daemon of this version; starts the daemon if it does not run. Most commands use this function.
export def connect [
    config: any
    span: record
    --anywhere # without a project, use the user's own
]: nothing -> any {
    let remote = remote connection $config $span
    if $remote != null { return (check-version $remote (fetch $remote /api/v1/version)) }
    let project = project $config $span --anywhere=$anywhere
    let connection = running $project $span
    if $connection != null { return $connection }
    launch $project $span
    # Another shell may be starting the daemon at the same time.
    let deadline = (date now) + $DAEMON_TIMEOUT
    loop {
        let connection = running $project $span
        if $connection != null { return $connection }
        if (date now) > $deadline { problem raise { code: daemon_unreachable message: "cannot reach the daemon that was started" } $span }
        sleep $POLL_INTERVAL
    }
}

# The connection to a running daemon of this version; null if no daemon runs.
export def running [project: record, span: record]: nothing -> any {
    let connection = { socket: (project socket $project) span: $span project: $project }
    let version = version $connection
    if $version == null { return null }
    check-version $connection $version
}

# Returns the connection if the daemon's version matches; otherwise an error.
def check-version [connection: record, version: record]: nothing -> record {
    let span = $connection.span
    if $version.api != $API {
        problem raise {
            code: version_mismatch
            message: $"cannot talk to the daemon: it is version ($version.version) \(API ($version.api)\), this module needs API ($API)"
            help: "run `service daemon stop` (services keep running), then the command again"
        } $span
    }
    $connection
}

# The connection to a running daemon of any version; null if no daemon runs.
export def any-running [config: any, span: record]: nothing -> any {
    let remote = remote connection $config $span
    if $remote != null { return $remote }
    let project = project $config $span
    let connection = { socket: (project socket $project) span: $span project: $project }
    if (version $connection) == null { null } else { $connection }
}

# The connection to a running daemon of any version; an error if no daemon runs.
export def require-running [config: any, span: record]: nothing -> any {
    let remote = remote connection $config $span
    if $remote != null { return $remote }
    let project = project $config $span
    let connection = { socket: (project socket $project) span: $span project: $project }
    if (version $connection) != null { return $connection }
    problem raise {
        code: daemon_unreachable
        message: $"no daemon is running for `($project.config)`"
        help: "the next `service start` or `service status` starts a daemon, which adopts running services"
    } $span
}

# The data of a GET response.
export def fetch [connection: record, route: string, query: record = {}, --as-written]: nothing -> any {
    envelope $connection $route $query --as-written=$as_written | data $connection.span
}

# The data of a route of each service, requested concurrently. The errors are raised after `par-each`, because an error inside of it
# would lose its code.
export def fetch-each [connection: record, names: list<string>, what: string, query: record = {}]: nothing -> list {
    let envelopes = $names | par-each --keep-order {|name| envelope $connection $"/api/v1/services/($name | url encode --all)/($what)" $query }
    mut all = []
    for envelope in $envelopes { $all = ($all | append [($envelope | data $connection.span)]) }
    $all
}

# The data of a GET response; its notes are printed on standard error.
export def fetch-with-notes [connection: record, route: string, query: record, quiet: bool]: nothing -> any {
    let envelope = envelope $connection $route $query
    cd /
    if not $quiet { for note in ($envelope.notes? | default []) { print --stderr $"note: ($note)" } }
    $envelope | data $connection.span
}

# The envelope of a GET response. The text is printable, except with --as-written.
export def envelope [connection: record, route: string, query: record, --as-written]: nothing -> any {
    try {
        let json = remote get $connection (target $route $query)
        if $as_written { $json | from json } else { $json | printable decode }
    } catch {|error| connection-error $error $connection }
}

# The data of a GET response; an error after the limit.
export def fetch-within [connection: record, route: string, limit: duration]: nothing -> any {
    if $connection.url? == null { check-socket-owner $connection }
    remote get-within $limit $connection (target $route {}) | printable decode | get data
}

# The rows of a streamed GET response, as they arrive.
export def follow [connection: record, route: string, query: record, --as-written]: nothing -> any {
    # This request makes a refusal an error of the command, with its code; in the stream it would be an error of a row.
    fetch $connection $route ($query | merge { follow: false limit: 1 tail: 0 }) | ignore
    remote get $connection (target $route $query) $ACCEPT_ROWS
    | lines
    | where $it != ""
    | each {|line| (if $as_written { $line | from json } else { $line | printable decode }) | data $connection.span }
}

# Waits for the next line of a stream, or its end.
export def await-event [connection: record, route: string, query: record]: nothing -> nothing {
    try {
        # The first line has the number of the last past event.
        remote get $connection (target $route $query) $ACCEPT_ROWS | lines | skip 1 | first | ignore
    } catch {|error| connection-error $error $connection | ignore }
}

# The data of a POST response.
export def post [connection: record, route: string, body: record]: nothing -> any {
    send $connection $route $body {} | data $connection.span
}

# The envelopes of a streamed POST response, as they arrive, and null after the last.
export def envelopes [connection: record, route: string, body: record]: nothing -> any {
    # A variable or a `try` would wait for the end of the stream, so there are none.
    remote post $connection (target $route {}) $body $ACCEPT_ROWS
    | lines | where $it != "" | each {|line| $line | printable decode } | append [null]
}

def send [connection: record, route: string, body: record, query: record]: nothing -> any {
    try { remote post $connection (target $route $query) $body | printable decode } catch {|error| connection-error $error $connection }
}

# The data from a running daemon. Without a daemon, a one-shot command of `orchestratord` returns the data, and no daemon is started.
export def read [config: any, span: record, route: string, query: record, words: list<string>]: nothing -> any {
    let remote = remote connection $config $span
    if $remote != null { return (fetch (check-version $remote (fetch $remote /api/v1/version)) $route $query) }
    let project = project $config $span
    let connection = running $project $span
    let answer = if $connection == null { null } else { envelope $connection $route $query }
    # The daemon may have exited since then.
    if $answer == null or $answer.error.code? == daemon_unreachable { return (query-offline $project $words $span) }
    $answer | data $span
}

# The data of a one-shot command of `orchestratord` for a project.
export def query-offline [project: record, words: list<string>, span: record]: nothing -> any {
    run-program ([...$words --config $project.config]) $span
}

# The data of a one-shot command of `orchestratord`.
export def run-program [words: list<string>, span: record]: nothing -> any {
    cd /
    let output = ^(launch program $span) ...$words | complete
    if $output.stdout == "" { problem raise { code: internal message: ($output.stderr | str trim) } $span }
    $output.stdout | printable decode | data $span
}

# Stops a daemon and waits until its process has ended, which releases its socket and its lock. By then another shell may have
# started the next daemon.
export def stop-daemon [connection: record, query: record]: nothing -> record {
    let daemon = fetch $connection /api/v1/daemon
    let answer = send $connection /api/v1/daemon/stop {} $query
    # If the daemon exits before its response is read, it has stopped too.
    let daemon = if $answer.success or $answer.error.code != daemon_unreachable { $answer | data $connection.span } else { $daemon }
    let deadline = (date now) + $DAEMON_TIMEOUT
    # The pid of a remote daemon belongs to another machine.
    let started = if $connection.url? == null { start-time $daemon.pid }
    while (is-answering $connection $daemon.pid) or ($started != null and (start-time $daemon.pid) == $started) {
        if (date now) > $deadline { problem raise { code: timeout message: "the daemon has not ended yet" } $connection.span }
        sleep $POLL_INTERVAL
    }
    $daemon
}

# Whether the daemon of this pid answers.
def is-answering [connection: record, pid: int]: nothing -> bool {
    if (version $connection) == null { return false }
    let answer = envelope $connection /api/v1/daemon {}
    if $answer.success { $answer.data.pid == $pid } else { $answer.error.code != daemon_unreachable }
}

# When a process started, in ticks since the boot; null if it has ended. A zombie has ended: the kernel has released its locks.
def start-time [pid: int]: nothing -> any {
    cd /
    let fields = try { open --raw $"/proc/($pid)/stat" | split row ") " | last | split row " " } catch { return null }
    if $fields.0 in [Z X] { null } else { $fields.19 }
}

def version [connection: record]: nothing -> any {
    if $connection.url? == null {
        if $connection.socket == null { return null }
        check-socket-owner $connection
    }
    try { remote get-within $DAEMON_TIMEOUT $connection (target /api/v1/version {}) | from json | get data } catch { null }
}

# An error if the socket is in a directory of another user: any process of that user may have created it.
def check-socket-owner [connection: record]: nothing -> any {
    cd /
    let directory = $connection.socket | path dirname
    let owner = ownership foreign-owner $directory
    if $owner == null { return }
    problem raise { code: storage message: $"cannot trust the socket in `($directory)`: it belongs to user ($owner)"
        help: "unset $env.XDG_RUNTIME_DIR, or set it to a directory of your own" } $connection.span
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

# The envelope for a failed request. After ctrl-c an error is raised.
export def connection-error [error: record, connection: record]: nothing -> any {
    if $error.msg =~ "(?i)interrupted" {
        error make { msg: "Operation interrupted" label: { text: "ended by ctrl-c" span: $connection.span } }
    }
    let peer = $connection.url? | default "the daemon"
    let redirect = $"($error.debug? | default '') ($error.rendered? | default '')"
        | parse --regex 'Redirect encountered[^(]*\((?<status>[^)]+)\)' | get 0?.status
    if $redirect != null {
        return {
            success: false
            error: {
                code: daemon_unreachable
                message: $"cannot reach `($peer)`: it answers with a redirect \(($redirect)\)"
                help: "something else answers there, such as a proxy or a login page: correct the address"
            }
        }
    }
    {
        success: false
        error: {
            code: daemon_unreachable
            message: $"cannot reach ($peer): ($error.msg)"
            help: (if $connection.url? == null { "`service daemon status` says whether it runs" } else {
                "does a daemon run there, with `listen` in [orchestrator.api], and is its certificate one that this machine trusts?"
            })
        }
    }
}
