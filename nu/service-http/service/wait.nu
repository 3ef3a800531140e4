# `service wait`: waits until services reach a state, or can no longer reach it. The command changes no state.

use ../client.nu
use ../names.nu
use ../problem.nu
use ../rows.nu
use ../selector.nu
use ../action.nu

const STATES = [ready healthy running stopped completed]
# The interval between two calls of a closure.
const CLOSURE_INTERVAL = 100ms

# Wait until services are ready, healthy, running, stopped or completed; starts no service.
#
# The result is the rows of `service status`. The command fails at once with service::never if the state can no longer be
# reached, and with service::timeout after --timeout. The closure gets a record with a row of
# `service status --long` for each service, or for each named service.
@category service
@search-terms until block ready healthy poll
export def "service wait" [
    ...names: any@"names all" # the services, or a closure that returns true when the wait is over; names may be piped in
    --config (-c): path # the services.toml to use
    --for: string@until # the state to wait for: ready (the default), healthy, running, stopped or completed
    --timeout (-t): duration # how long to wait (default: no limit)
    --all (-a) # every service of the project
]: any -> table {
    let piped = $in
    let closures = $names | where ($it | describe) == closure
    let words = $names | where ($it | describe) != closure | each { into string }
    let span = selector mark $words $piped (metadata $names).span
    let selected = selector $words $piped $config $span
    if ($closures | is-empty) { selector check-selection $selected $all $span }
    if (selector selects-nothing $selected) { return [] }
    if $for != null { check-word $for ($closures | is-not-empty) $span }
    let limit = action milliseconds $timeout $span
    let connection = client connect $config $span
    let names = selector joined $selected
    if ($closures | is-empty) {
        let outcomes = client fetch $connection /api/v1/wait { names: $names for: $for timeout_ms: $limit }
        let failed = $outcomes | where not ok | get error
        if ($failed | is-not-empty) { problem raise ($failed | first | upsert others ($failed | skip 1)) $span }
    } else {
        until-true $connection $names ($closures | first) $timeout
    }
    client fetch $connection /api/v1/services/status { names: $names } | rows status false
}

def until []: nothing -> list<string> { $STATES }

def check-word [word: string, closure: bool, span: record]: nothing -> nothing {
    if $closure {
        problem raise { code: ambiguous_input message: "cannot take both a closure and `--for`" help: "use only one of the two" } $span
    }
    if $word not-in $STATES {
        problem raise { code: bad_request message: $"cannot wait for `($word)`" help: $"one of: ($STATES | str join ', ')" } $span
    }
}

def until-true [connection: record, names: string, closure: closure, timeout: any]: nothing -> nothing {
    let begun = date now
    loop {
        let rows = client fetch $connection /api/v1/services/status { names: $names long: true } | rows status true
        let all = $rows | reduce --fold {} {|row, all| $all | insert $row.name $row }
        let result = $all | do $closure $all
        # null is accepted, as of `$in.web.uptime > 1min` for an inactive service.
        if $result != null and ($result | describe) != bool {
            problem raise { code: bad_request message: "cannot use the result of this closure: expected true or false"
                help: "return true or false, as in `{ $in.web.health == healthy }`" } $connection.span
        }
        if $result == true { break }
        if $timeout != null and (date now) - $begun > $timeout {
            problem raise { code: timeout message: $"the closure has not returned true within ($timeout)" } $connection.span
        }
        sleep $CLOSURE_INTERVAL
    }
}
