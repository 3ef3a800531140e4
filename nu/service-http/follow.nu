# Events as they happen, across restarts of the daemon. A stream of Nushell cannot continue in another stream. So each step requests
# the events after the last number, and waits for the next event if there are none.

use client.nu
use project.nu
use remote.nu

# The delay before a reconnection.
const RECONNECT_DELAY = 100ms

# The events of these services, or of all services, from now on or from `since`. A refusal is an error of the command.
export def main [config: any, names: list<string>, since: any, by: any, span: record]: nothing -> list {
    let newest = client read $config $span /api/v1/events { limit: 1 } [events --limit "1"] | get seq | append 0 | first
    let past = read-past $config $names $since $by $span
    let remote = remote connection $config $span
    let project = if $remote == null { project $config $span }
    let last = [$newest ...$past.seq] | math max
    generate {|step|
        if $step.last == null { { out: $step.past next: { last: $last } } } else { read-next $remote $project $names $step.last $span }
    } { last: null past: $past } | flatten | where {|it| is-by $it $by }
}

def read-past [config: any, names: list<string>, since: any, by: any, span: record]: nothing -> list {
    let query = { names: ($names | str join ",") since: $since by: $by limit: (if $since == null { 0 } else { null }) }
    let words = if $since == null { [--limit "0"] } else { [--since ($since | into string)] }
    let words = $words ++ (if $by == null { [] } else { [--by $by] })
    client read $config $span /api/v1/events $query ([events ...$words ...$names])
}

# The events after a number. All events are requested, so that the last number advances without events of the selected services.
def read-next [remote: any, project: any, names: list<string>, last: int, span: record]: nothing -> record {
    let connection = if $remote == null { client running $project $span } else { $remote }
    if $connection == null {
        sleep $RECONNECT_DELAY
        return { out: [] next: { last: $last } }
    }
    let answer = client envelope $connection /api/v1/events { since: $last }
    if not $answer.success and $answer.error.code == daemon_unreachable { return { out: [] next: { last: $last } } }
    let new = $answer | client data $span
    if ($new | is-empty) { client await-event $connection /api/v1/events { since: $last follow: true } }
    { out: ($new | where {|it| ($names | is-empty) or $it.service? in $names }) next: { last: ([$last ...$new.seq] | math max) } }
}

# Whether an actor of this kind, or with this text, caused an event.
def is-by [event: record, actor: any]: nothing -> bool {
    if ($actor | is-empty) { return true }
    let by = $event.by? | default ""
    if $actor in [user hook token policy program daemon] { ($by | split row " " | first) == $actor } else { $by | str contains $actor }
}
