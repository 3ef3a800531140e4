# `service wait`: waits until services reach a state, or can never reach it. It changes nothing.

use ../client.nu
use ../names.nu
use ../problem.nu
use ../rows.nu
use ../selector.nu
use ../action.nu

const UNTIL = [ready healthy running stopped completed]
# The interval at which a closure runs.
const LOOK_AGAIN = 100ms

# Wait until services are ready, healthy, running, stopped or completed; starts nothing.
#
# The result is the rows of `service status`. The command fails at once with service::never if the state can no longer be
# reached, and with service::timeout after --timeout. The closure gets a record of all services, or of the named ones: name to
# row of `service status --long`.
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
    if ($closures | is-empty) { selector or-all $selected $all $span }
    if (selector is-nothing $selected) { return [] }
    if $for != null { check-word $for ($closures | is-not-empty) $span }
    let limit = action milliseconds $timeout $span
    let way = client connect $config $span
    let names = selector joined $selected
    if ($closures | is-empty) {
        let outcomes = client ask $way /api/v1/wait { names: $names for: $for timeout_ms: $limit }
        let failed = $outcomes | where not ok | get error
        if ($failed | is-not-empty) { problem raise ($failed | first | upsert others ($failed | skip 1)) $span }
    } else {
        until-true $way $names ($closures | first) $timeout
    }
    client ask $way /api/v1/services/status { names: $names } | rows status false
}

def until []: nothing -> list<string> { $UNTIL }

def check-word [word: string, closure: bool, span: record]: nothing -> nothing {
    if $closure {
        problem raise { code: ambiguous_input message: "cannot take both a closure and `--for`" help: "use only one of the two" } $span
    }
    if $word not-in $UNTIL {
        problem raise { code: bad_request message: $"cannot wait for `($word)`" help: $"one of: ($UNTIL | str join ', ')" } $span
    }
}

def until-true [way: record, names: string, closure: closure, timeout: any]: nothing -> nothing {
    let begun = date now
    loop {
        let rows = client ask $way /api/v1/services/status { names: $names long: true } | rows status true
        let all = $rows | reduce --fold {} {|row, all| $all | insert $row.name $row }
        let said = $all | do $closure $all
        # `$in.web.uptime > 1min` of a service that does not run.
        if $said != null and ($said | describe) != bool {
            problem raise { code: bad_request message: "cannot use the result of this closure: expected true or false"
                help: "return true or false, as in `{ $in.web.health == healthy }`" } $way.span
        }
        if $said == true { break }
        if $timeout != null and (date now) - $begun > $timeout {
            problem raise { code: timeout message: $"the closure has not said true within ($timeout)" } $way.span
        }
        sleep $LOOK_AGAIN
    }
}
