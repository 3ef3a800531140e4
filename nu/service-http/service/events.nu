# `service events`.

use ../client.nu
use ../follow.nu
use ../names.nu
use ../rows.nu
use ../selector.nu
use ../since.nu

# Show what happened to services: starts, ends, health, definitions.
#
# With --follow the stream goes on over a restart of the daemon, without gap or duplicate.
@category service
@search-terms journal transitions alert stream
export def main [
    ...names: string@"names all" # the services; or pipe in names, or rows with a `name` column
    --config (-c): path # the services.toml to use
    --follow (-f) # what happens from now on, as it happens, until ctrl-c
    --since (-s): any # a duration back from now, a datetime, or the number of the last event you have
]: any -> table {
    let piped = $in
    let span = selector mark $names $piped (metadata $names).span
    let selected = selector $names $piped $config $span
    if (selector is-nothing $selected) { return [] }
    let since = since $since $span --numbers
    # Not `return`: that would wait for the end.
    if $follow { follow $config ($selected | default []) $since $span | rows event } else { past $config $selected $since $span }
}

def past [config: any, selected: any, since: any, span: record]: nothing -> table {
    let names = selector joined $selected
    let words = if $since == null { [events --limit "100"] } else { [events --since ($since | into string)] }
    client read $config $span /api/v1/events { names: $names since: $since } ($words ++ ($selected | default [])) | rows event
}
