# What start, stop, restart and apply have in common: rows are data, also those of services that failed; only when every service
# that was named failed (or, when strict, any) is that an error.

use client.nu
use problem.nu
use rows.nu
use selector.nu

# From so many rows on a line tells how many failed, and so many of these by name.
const MIN_SUMMARY_ROWS = 5
const MAX_LISTED = 5

# Wishes it and gives back the rows.
export def main [
    connect: closure # how to reach the daemon, when there is something to wish
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

# Sends it, and gives each row as it comes; what the rows amount to is judged after the last.
export def send [way: record, verb: string, route: string, body: record, strict: bool]: nothing -> table {
    # A file that may be used only because its content is trusted must have that content.
    let hash = if $verb in [start restart apply] { $way.if_hash? | default $way.project?.trusted_hash? }
    let body = if $hash == null { $body } else { $body | insert if_hash $hash }
    # Not `each`: an error in there would lose its code.
    # Those that failed come last; an apply tells all in the order in which it went.
    let has_order = $verb == apply
    client envelopes $way $route $body | generate {|envelope, outcomes|
        # An error in a stream, of one that broke off, is raised by who looks at it.
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

# How many went well, and who did not, where there are so many rows that one does not see it.
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

# One problem for those that failed: code and help are the first one's, the others are told along.
def combine-problems [verb: string, failed: list, outcomes: list]: nothing -> record {
    let problems = $failed | each {|it|
        $it.error? | default { code: internal message: $"cannot ($verb) `($it.name)`" }
    }
    let messages = $problems | get message | str join
    let relatives = $outcomes
        | where {|it| not $it.ok and $it.name not-in $failed.name and $it.error? != null and $messages !~ $"`($it.name)`" }
        | get error
    let first = $problems | first
    let others = ($first.others? | default []) ++ ($problems | skip 1) ++ $relatives
    $first | upsert others $others
}

# A duration as the API takes it.
export def milliseconds [limit: any, span: record]: nothing -> any {
    if $limit == null { return null }
    if $limit < 0sec { problem raise { code: bad_request message: "cannot wait for a negative time" } $span }
    ($limit | into int) // 1_000_000
}
