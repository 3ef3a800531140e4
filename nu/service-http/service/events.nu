# `service events`.

use ../client.nu
use ../names.nu
use ../rows.nu
use ../selector.nu
use ../since.nu

# Show what happened to services: starts, ends, health, definitions.
#
# With --follow the stream ends when the daemon does; go on with the last number: `--since 17 --follow`.
@category service
@search-terms journal transitions alert stream
export def main [
    ...names: string@"names all" # the services; or pipe in names, or rows with a `name` column
    --config (-c): path # the services.toml to use
    --follow (-f) # what happens from now on, as it happens, until ctrl-c
    --since (-s): any # a duration back from now, a datetime, or the number of the last event you have
]: [nothing -> table, string -> table, list<string> -> table, record -> table, table -> table] {
    let piped = $in
    let span = (metadata $names).span
    let selected = selector $names $piped $span
    if (selector is-nothing $selected) { return [] }
    let since = since $since $span --numbers
    let names = selector joined $selected
    if $follow {
        let way = client connect $config $span
        return (client follow $way /api/v1/events { names: $names since: $since follow: true } | rows event)
    }
    let words = if $since == null { [events --limit "100"] } else { [events --since ($since | into string)] }
    client read $config $span /api/v1/events { names: $names since: $since } ($words ++ ($selected | default [])) | rows event
}
