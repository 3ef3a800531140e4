# Talking to the daemon: the way to it, and what it answers.

use launch.nu
use ownership.nu
use printable.nu
use problem.nu
use project.nu
use remote.nu

const API = 2
# How long a daemon may take to come, or to leave.
const PATIENCE = 10sec
const PAUSE = 10ms
const ACCEPT_ROWS = { Accept: application/x-ndjson }

# The way to a running daemon of our version, started if there is none: what every other command here takes.
export def connect [
    config: any
    span: record
    --anywhere # where there is no project, in the user's own
]: nothing -> any {
    let there = remote way $config $span
    if $there != null { return (speaking-ours $there (ask $there /api/v1/version)) }
    let project = project $config $span --anywhere=$anywhere
    let reached = running $project $span
    if $reached != null { return $reached }
    launch $project $span
    # Another one may be on its way up instead of ours.
    let deadline = (date now) + $PATIENCE
    loop {
        let reached = running $project $span
        if $reached != null { return $reached }
        if (date now) > $deadline { problem raise { code: daemon_unreachable message: "cannot reach the daemon that was started" } $span }
        sleep $PAUSE
    }
}

# The same, but null where none runs.
export def running [project: record, span: record]: nothing -> any {
    let way = { socket: (project socket $project) span: $span project: $project }
    let version = version $way
    if $version == null { return null }
    speaking-ours $way $version
}

# The same way, if the version that is spoken there is ours.
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

# The way to a daemon that runs, whatever its version; null where none runs.
export def any-running [config: any, span: record]: nothing -> any {
    let there = remote way $config $span
    if $there != null { return $there }
    let project = project $config $span
    let way = { socket: (project socket $project) span: $span project: $project }
    if (version $way) == null { null } else { $way }
}

# The same, but an error where none runs.
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

# What a route answers.
export def ask [way: record, route: string, query: record = {}, --as-written]: nothing -> any {
    envelope $way $route $query --as-written=$as_written | data $way.span
}

# What a route below each service answers, all at the same time. An error is raised out here: inside of `par-each` it would
# lose its code.
export def ask-each [way: record, names: list<string>, what: string, query: record = {}]: nothing -> list {
    let envelopes = $names | par-each --keep-order {|name| envelope $way $"/api/v1/services/($name | url encode --all)/($what)" $query }
    mut all = []
    for envelope in $envelopes { $all = ($all | append [($envelope | data $way.span)]) }
    $all
}

# What a route answers; what should be known along with it is said on standard error.
export def ask-noted [way: record, route: string, query: record, quiet: bool]: nothing -> any {
    let envelope = envelope $way $route $query
    cd /
    if not $quiet { for note in ($envelope.notes? | default []) { print --stderr $"note: ($note)" } }
    $envelope | data $way.span
}

# What a route answers, or why it does not; printable, unless it is wanted as it was written.
export def envelope [way: record, route: string, query: record, --as-written]: nothing -> any {
    try {
        let json = remote get $way (target $route $query)
        if $as_written { $json | from json } else { $json | printable decode }
    } catch {|error| lost $error $way }
}

# What a route answers, in so short a time.
export def peek [way: record, route: string, patience: duration]: nothing -> any {
    if $way.url? == null { distrust-strangers $way }
    remote get-within $patience $way (target $route {}) | printable decode | get data
}

# What a route answers row by row, as it comes.
export def follow [way: record, route: string, query: record, --as-written]: nothing -> any {
    # A refusal is an error of the command, with its code, and not one of a row.
    ask $way $route ($query | merge { follow: false limit: 1 tail: 0 }) | ignore
    remote get $way (target $route $query) $ACCEPT_ROWS
    | lines
    | where $it != ""
    | each {|line| (if $as_written { $line | from json } else { $line | printable decode }) | data $way.span }
}

# Waits until a stream says its next word, or is over.
export def await [way: record, route: string, query: record]: nothing -> nothing {
    try {
        # The first line says up to where the past was told.
        remote get $way (target $route $query) $ACCEPT_ROWS | lines | skip 1 | first | ignore
    } catch {|error| lost $error $way | ignore }
}

# What a wish comes to.
export def post [way: record, route: string, body: record]: nothing -> any {
    send $way $route $body {} | data $way.span
}

# What a wish comes to, as it comes: an envelope for each row, and null after the last.
export def envelopes [way: record, route: string, body: record]: nothing -> any {
    # In no variable and no `try`: those would wait for the end.
    remote post $way (target $route {}) $body $ACCEPT_ROWS
    | lines | where $it != "" | each {|line| $line | printable decode } | append [null]
}

def send [way: record, route: string, body: record, query: record]: nothing -> any {
    try { remote post $way (target $route $query) $body | printable decode } catch {|error| lost $error $way }
}

# A running daemon answers, else the program itself, which leaves no daemon behind.
export def read [config: any, span: record, route: string, query: record, words: list<string>]: nothing -> any {
    let there = remote way $config $span
    if $there != null { return (ask (speaking-ours $there (ask $there /api/v1/version)) $route $query) }
    let project = project $config $span
    let way = running $project $span
    let answer = if $way == null { null } else { envelope $way $route $query }
    # One that has ended since then has not answered.
    if $answer == null or $answer.error.code? == daemon_unreachable { return (say $project $words $span) }
    $answer | data $span
}

# What the program says to these words about a project.
export def say [project: record, words: list<string>, span: record]: nothing -> any {
    program-says ([...$words --config $project.config]) $span
}

# What the program says to these words.
export def program-says [words: list<string>, span: record]: nothing -> any {
    cd /
    let said = ^(launch program $span) ...$words | complete
    if $said.stdout == "" { problem raise { code: internal message: ($said.stderr | str trim) } $span }
    $said.stdout | printable decode | data $span
}

# Ends a daemon and waits until it is gone.
export def end [way: record, query: record]: nothing -> record {
    let daemon = ask $way /api/v1/daemon
    let answer = send $way /api/v1/daemon/stop {} $query
    # A daemon that is gone before its answer was read has ended all the same.
    let daemon = if $answer.success or $answer.error.code != daemon_unreachable { $answer | data $way.span } else { $daemon }
    let deadline = (date now) + $PATIENCE
    while (version $way) != null {
        if (date now) > $deadline { problem raise { code: timeout message: "the daemon has not ended yet" } $way.span }
        sleep $PAUSE
    }
    $daemon
}

def version [way: record]: nothing -> any {
    if $way.url? == null {
        if $way.socket == null { return null }
        distrust-strangers $way
    }
    try { remote get-within $PATIENCE $way (target /api/v1/version {}) | from json | get data } catch { null }
}

# A socket in a directory of somebody else's may be answered by anybody.
def distrust-strangers [way: record]: nothing -> any {
    cd /
    let directory = $way.socket | path dirname
    let owner = ownership stranger $directory
    if $owner == null { return }
    problem raise { code: internal message: $"cannot trust the socket in `($directory)`: it belongs to user ($owner)"
        help: "set $env.XDG_RUNTIME_DIR to a directory of your own" } $way.span
}

def target [route: string, query: record]: nothing -> string {
    let query = $query | transpose key value | where value not-in [null "" false] | each {|it|
        $"($it.key)=($it.value | into string | url encode --all)"
    } | str join "&"
    $"($route)(if $query == '' { '' } else { $'?($query)' })"
}

# What is in an envelope, or the error in it.
export def data [span: record]: record -> any {
    let envelope = $in
    if not $envelope.success { problem raise $envelope.error $span }
    $envelope.data
}

# No answer, in an envelope; unless it was ctrl-c.
export def lost [error: record, way: record]: nothing -> any {
    if $error.msg =~ "(?i)interrupted" {
        error make { msg: "Operation interrupted" label: { text: "ended by ctrl-c" span: $way.span } }
    }
    let whom = $way.url? | default "the daemon"
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
