# `service logs`.

use ../client.nu
use ../names.nu
use ../problem.nu
use ../rows.nu
use ../selector.nu
use ../since.nu

# How many lines of each service, unless something else is asked for.
const TAIL = 100

# Show what services wrote, merged by time.
@category service
@search-terms output tail journal stderr
export def main [
    ...names: string@"names all" # the services; or pipe in names, or rows with a `name` column
    --config (-c): path # the services.toml to use
    --tail (-n): int # how many lines of each service (default: 100, without --since)
    --since (-s): any # only lines since then: a duration back from now, or a datetime
    --follow (-f) # go on with what they write, until ctrl-c
    --raw (-r) # the text of the lines instead of a table
]: any -> any {
    let piped = $in
    let span = selector mark $names $piped (metadata $names).span
    let selected = selector $names $piped $config $span
    if (selector is-nothing $selected) { return [] }
    if $tail != null and $tail < 0 {
        problem raise { code: bad_request message: "cannot show a negative number of lines" } $span
    }
    let since = since $since $span
    let tail = if $tail != null { $tail } else if $follow { 10 } else if $since == null { $TAIL } else { null }
    let way = client connect $config $span
    let query = { names: (selector joined $selected) tail: $tail since: $since follow: $follow }
    # Kept in no variable: that would wait for the end.
    if $follow and $raw {
        client follow $way /api/v1/logs $query | each {|it| $"($it.line)\n" }
    } else if $follow {
        client follow $way /api/v1/logs $query | rows line
    } else if $raw {
        client ask $way /api/v1/logs $query | each {|it| $"($it.line)\n" } | str join
    } else {
        client ask $way /api/v1/logs $query | rows line
    }
}
