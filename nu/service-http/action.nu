# The common part of start, stop, restart and apply. Rows are data, also those of failed services. The command fails only if
# every named service failed, or in strict mode if any did.

use client.nu
use problem.nu
use rows.nu
use selector.nu

# The number of rows from which a summary line is printed, and the limit of names in it.
const MIN_SUMMARY_ROWS = 5
const MAX_LISTED = 5
# The limit of failed services whose cause the error contains.
const MAX_CAUSE_COUNT = 30

# Sends the request and returns the rows.
export def main [
    connect: closure # connects to the daemon, if there is anything to do
    verb: string
    selected: any
    span: record
    options: record # all, relatives, wait, timeout, strict; of a restart also oneshots
]: nothing -> table {
    selector or-all $selected $options.all $span
    if (selector is-nothing $selected) { return [] }
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
export def send [way: record, verb: string, route: string, body: record, strict: bool]: nothing -> table {
    # A file that may be used only because its content is trusted must have that content.
    let hash = if $verb in [start restart apply] { $way.if_hash? | default $way.project?.trusted_hash? }
    let body = if $hash == null { $body } else { $body | insert if_hash $hash }
    # Not `each`: an error in it would lose its code. Failed rows come last; an apply returns all rows in their order.
    let has_order = $verb == apply
    client envelopes $way $route $body | generate {|envelope, outcomes|
        # An error in a stream that was cut off is raised when it is read.
        let envelope = try { $envelope | describe | ignore; $envelope } catch {|error| client lost $error $way }
        if $envelope == null {
            if not $has_order { print-summary $verb $outcomes }
            check-results $verb $outcomes $strict $way.span
            { out: (if $has_order { [] } else { $outcomes | where not ok | rows outcome }) }
        } else {
            let outcome = $envelope | client data $way.span
            let waits = not $outcome.ok and not $has_order
            { out: (if $waits { [] } else { [$outcome] | rows outcome }) next: ($outcomes | append $outcome) }
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
    let none_ok = $outcomes | where {|it| $it.named and $it.ok } | is-empty
    let failed = $outcomes | where {|it| not $it.ok and ($strict or ($it.named and $none_ok)) }
    if ($failed | is-not-empty) { problem raise (combine-problems $verb $failed $outcomes) $span }
}

# One problem for all failures. Several are the whole problems behind a line with the names; each has a help of its own.
def combine-problems [verb: string, failed: list, outcomes: list]: nothing -> record {
    let problems = $failed | each {|it|
        $it.error? | default { code: internal message: $"cannot ($verb) `($it.name)`" }
    }
    let messages = $problems | get message | str join
    let relatives = $outcomes
        | where {|it| not $it.ok and $it.name not-in $failed.name and $it.error? != null and $messages !~ $"`($it.name)`" }
        | get error
    let first = $problems | first
    if ($problems | length) == 1 { return ($first | upsert others (($first.others? | default []) ++ $relatives)) }
    let named = $failed | first $MAX_LISTED | each {|it| $"`($it.name)`" } | str join ", "
    let more = if ($failed | length) > $MAX_LISTED { ", ..." } else { "" }
    let untold = ($failed | length) - $MAX_CAUSE_COUNT
    let rest = if $untold > 0 { [{ code: internal message: $"and ($untold) more failed" help: "run `service why`" }] } else { [] }
    {
        code: $first.code
        message: $"cannot ($verb) ($named)($more)"
        others: (($problems | first $MAX_CAUSE_COUNT) ++ ($relatives | first $MAX_LISTED) ++ $rest)
    }
}

# A duration in the form of the API.
export def milliseconds [limit: any, span: record]: nothing -> any {
    if $limit == null { return null }
    if $limit < 0sec { problem raise { code: bad_request message: "cannot wait for a negative time" } $span }
    ($limit | into int) // 1_000_000
}
