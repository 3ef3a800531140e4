# `service events`.

use ../across.nu
use ../client.nu
use ../follow.nu
use ../names.nu
use ../problem.nu
use ../rows.nu
use ../selector.nu
use ../since.nu

# Show the events of services: starts, exits, health, definitions.
#
# With --follow the stream continues across a restart of the daemon, without gap or duplicate.
@category service
@search-terms journal transitions alert stream
export def "service events" [
    ...names: string@"names all" # the services; or pipe in names, or rows with a `name` column
    --config (-c): path # the services.toml to use
    --follow (-f) # show new events as they happen, until ctrl-c
    --since (-s): any # events since then: a duration before now, a datetime, or the number of the last known event
    --tail (-n): int # only the last N events
    --long (-l) # all columns: also cause, run, exit and awaited dependency
    --by (-b): string # events by cause: user, hook, token, policy, program or daemon, or words such as a name
]: any -> table {
    let piped = $in
    let projects = across $piped $config
    if $projects != null {
        if $follow and $projects.many { across refuse-several (metadata $names).span }
        return (across in-each $projects {|path| null | service events ...$names --config $path --since $since --tail $tail --follow=$follow })
    }
    let span = selector mark $names $piped (metadata $names).span
    let selected = selector $names $piped $config $span
    if (selector selects-nothing $selected) { return [] }
    if $tail != null and $tail < 0 { problem raise { code: bad_request message: "cannot show a negative number of rows" } $span }
    if $tail != null and $follow { problem raise { code: bad_request message: "cannot combine `--follow` and `--tail`" help: "use `--since` to begin earlier" } $span }
    let since = since $since $span --numbers
    let long = $long or $by != null
    # A `return` would wait for the end of the stream.
    if $follow {
        let events = { follow $config ($selected | default []) $since $by $span }
        if $long { do $events | rows event-long } else { do $events | rows event }
    } else {
        let events = past $config $selected $since $by $tail $span
        let events = if $tail == null { $events } else { $events | last $tail }
        if $long { $events | rows event-long } else { $events | rows event }
    }
}

def past [config: any, selected: any, since: any, by: any, tail: any, span: record]: nothing -> list {
    let names = selector joined $selected
    let limit = if $since == null { $tail | default 100 }
    let words = if $since == null { [events --limit ($limit | into string)] } else { [events --since ($since | into string)] }
    let words = $words ++ (if $by == null { [] } else { [--by $by] })
    client read $config $span /api/v1/events { names: $names since: $since by: $by limit: $limit } ($words ++ ($selected | default []))
}
