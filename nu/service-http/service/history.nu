# `service history`.

use ../across.nu
use ../client.nu
use ../names.nu
use ../problem.nu
use ../rows.nu
use ../selector.nu
use ../since.nu

# Show the events and health check results of services, for analysis.
@category service
@search-terms journal latency transitions statistics
export def "service history" [
    ...names: string@"names all" # the services; or pipe in names, or rows with a `name` column
    --config (-c): path # the services.toml to use
    --starts # one row for each start, with the awaited dependency, the wait and the duration
    --since (-s): any # rows since then: a duration before now, a datetime, or the number of an event
    --tail (-n): int # only the last N rows
]: any -> table {
    let piped = $in
    let projects = across $piped $config
    if $projects != null {
        return (across in-each $projects {|path| null | service history ...$names --config $path --starts=$starts --since $since --tail $tail })
    }
    let span = selector mark $names $piped (metadata $names).span
    let selected = selector $names $piped $config $span
    if (selector selects-nothing $selected) { return [] }
    if $tail != null and $tail < 0 { problem raise { code: bad_request message: "cannot show a negative number of rows" } $span }
    let since = since $since $span --numbers
    let query = { names: (selector joined $selected) since: $since starts: $starts }
    let words = [history] ++ (if $starts { [--starts] } else { [] }) ++ (if $since == null { [] } else { [--since ($since | into string)] })
    let rows = client read $config $span /api/v1/services/history $query ($words ++ ($selected | default []))
    let rows = if $tail == null { $rows } else { $rows | last $tail }
    if $starts { $rows | rows begun } else { $rows | rows past }
}
