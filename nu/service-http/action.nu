# The common part of start, stop, restart and apply. A failed service has a row too. The command fails only if every named service
# failed; in strict mode it fails if any service failed.

use client.nu
use problem.nu
use rows.nu
use selector.nu

# The minimum number of rows for a summary line, and the maximum number of names in that line.
const MIN_SUMMARY_ROWS = 5
const MAX_LISTED = 5
# The maximum number of failed services whose cause the error contains.
const MAX_CAUSE_COUNT = 30

# Sends the request and returns the rows.
export def main [
    connect: closure # connects to the daemon, if there is anything to do
    verb: string
    selected: any
    span: record
    options: record # all, relatives, wait, timeout, strict; of a restart also oneshots
]: nothing -> table {
    selector check-selection $selected $options.all $span
    if (selector selects-nothing $selected) { return [] }
    let request = {
        names: ($selected | default [])
        all: ($selected == null)
        relatives: $options.relatives
        wait: $options.wait
        timeout_ms: (milliseconds $options.timeout $span)
    } | merge (if ($options.oneshots? | default false) { {oneshots: true} } else { {} })
    send (do $connect) $verb $"/api/v1/services/($verb)" $request ($options.strict or $request.all)
}

# Sends the request and returns each row as it arrives; after the last row it checks the results.
export def send [connection: record, verb: string, route: string, body: record, strict: bool]: nothing -> table {
    # If only the trust permits the use of a file, the daemon must have loaded the trusted content.
    let hash = if $verb in [start restart apply] { $connection.if_hash? | default $connection.project?.trusted_hash? }
    let body = if $hash == null { $body } else { $body | insert if_hash $hash }
    # An error inside `each` would lose its code, so `generate` is used. Failed rows come last; an apply returns all rows in order.
    let has_order = $verb == apply
    client envelopes $connection $route $body | generate {|envelope, outcomes|
        # The error of an interrupted stream is raised by the read of the envelope.
        let envelope = try { $envelope | describe | ignore; $envelope } catch {|error| client connection-error $error $connection }
        if $envelope == null {
            if not $has_order { print-summary $verb $outcomes }
            check-results $verb $outcomes $strict $connection.span
            { out: (if $has_order { [] } else { $outcomes | where not ok | rows outcome }) }
        } else {
            let outcome = $envelope | client data $connection.span
            let is_deferred = not $outcome.ok and not $has_order
            { out: (if $is_deferred { [] } else { [$outcome] | rows outcome }) next: ($outcomes | append $outcome) }
        }
    } [] | flatten
}

# Prints the number of successes and the names of the failures, if there are many rows.
def print-summary [verb: string, outcomes: list]: nothing -> nothing {
    let failed = $outcomes | where not ok | get name
    if ($failed | is-empty) or ($outcomes | length) < $MIN_SUMMARY_ROWS { return }
    let more = if ($failed | length) > $MAX_LISTED { $" and (($failed | length) - $MAX_LISTED) more" } else { "" }
    let done = match $verb { "stop" => "stopped", "restart" => "restarted", "remove" => "removed", _ => "started" }
    print --stderr $"(($outcomes | length) - ($failed | length)) of ($outcomes | length) ($done), ($failed | length) failed: ($failed | first $MAX_LISTED | str join ', ')($more)"
}

def check-results [verb: string, outcomes: list, strict: bool, span: record]: nothing -> nothing {
    let is_total_failure = $outcomes | where {|it| $it.named and $it.ok } | is-empty
    let failed = $outcomes | where {|it| not $it.ok and ($strict or ($it.named and $is_total_failure)) }
    if ($failed | is-not-empty) { problem raise (combine-problems $verb $failed $outcomes) $span }
}

# One problem for all failures. For several failures the message has the names, and `others` has each problem with its help.
def combine-problems [verb: string, failed: list, outcomes: list]: nothing -> record {
    let problems = $failed | each {|it|
        $it.error? | default { code: internal message: $"cannot ($verb) `($it.name)`" }
    }
    let messages = $problems | get message | str join
    let related = $outcomes
        | where {|it| not $it.ok and $it.name not-in $failed.name and $it.error? != null and $messages !~ $"`($it.name)`" }
        | get error
    let first = $problems | first
    if ($problems | length) == 1 { return ($first | upsert others (($first.others? | default []) ++ $related)) }
    let named = $failed | first $MAX_LISTED | each {|it| $"`($it.name)`" } | str join ", "
    let more = if ($failed | length) > $MAX_LISTED { ", ..." } else { "" }
    let unlisted = ($failed | length) - $MAX_CAUSE_COUNT
    let rest = if $unlisted > 0 { [{ code: internal message: $"and ($unlisted) more failed" help: "run `service why`" }] } else { [] }
    {
        code: $first.code
        message: $"cannot ($verb) ($named)($more)"
        others: (($problems | first $MAX_CAUSE_COUNT) ++ ($related | first $MAX_LISTED) ++ $rest)
    }
}

# A duration in the form of the API.
export def milliseconds [limit: any, span: record]: nothing -> any {
    if $limit == null { return null }
    if $limit < 0sec { problem raise { code: bad_request message: "cannot wait for a negative time" } $span }
    ($limit | into int) // 1_000_000
}
