# `service logs`.

use ../across.nu
use ../client.nu
use ../names.nu
use ../problem.nu
use ../rows.nu
use ../selector.nu
use ../since.nu

# The default number of lines of each service.
const DEFAULT_LINES = 100

# Show the log lines of services, merged by time.
@category service
@search-terms output tail journal stderr
export def "service logs" [
    ...names: string@"names all" # the services; or pipe in names, or rows with a `name` column
    --config (-c): path # the services.toml to use
    --tail (-n): oneof<int, string> # how many lines of each service, or `all` (default: 100; with --follow 10; with --since all)
    --since (-s): any # lines since then: a duration before now, or a datetime
    --follow (-f) # show new lines as they are written, until ctrl-c
    --raw (-r) # the text of the lines instead of a table
]: any -> any {
    let piped = $in
    let projects = across $piped $config
    if $projects != null {
        if $follow and $projects.many { across refuse-several (metadata $names).span }
        return (across in-each $projects {|path| null | service logs ...$names --config $path --tail $tail --since $since --raw=$raw --follow=$follow })
    }
    let span = selector mark $names $piped (metadata $names).span
    let selected = selector $names $piped $config $span
    if (selector selects-nothing $selected) { return [] }
    if $tail != null and $tail != all {
        if ($tail | describe) != int { problem raise { code: bad_request message: "cannot use this as a number of lines" } $span }
        if ($tail | into int) < 0 { problem raise { code: bad_request message: "cannot show a negative number of lines" } $span }
    }
    let is_cut = $tail == null and $since == null and not $follow
    let since = since $since $span
    let tail = if $tail == all { 2147483647 } else if $tail != null { $tail } else if $follow { 10 } else if $since == null { $DEFAULT_LINES } else { null }
    let connection = client connect $config $span
    let query = { names: (selector joined $selected) tail: $tail since: $since follow: $follow }
    # A variable would wait for the end of the stream.
    if $follow and $raw {
        client follow $connection /api/v1/logs $query --as-written | each {|it| $"($it.line)\n" }
    } else if $follow {
        client follow $connection /api/v1/logs $query | rows line
    } else {
        let lines = client fetch $connection /api/v1/logs $query --as-written=$raw
        if $is_cut { note-limit $lines }
        if $raw { $lines | each {|it| $"($it.line)\n" } | str join } else { $lines | rows line }
    }
}

# Prints a note if the default limit has cut the result.
def note-limit [lines: list]: nothing -> nothing {
    if ($lines | length) < $DEFAULT_LINES or not (is-terminal --stderr) { return }
    let cut = $lines | group-by service --to-table | where {|it| ($it.items | length) >= $DEFAULT_LINES } | get service
    if ($cut | is-empty) { return }
    let names = $cut | each {|name| $"`($name)`" } | str join ", "
    print --stderr $"these are the last ($DEFAULT_LINES) lines of ($names); `--tail all` shows every line"
}
