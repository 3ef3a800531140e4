# `service health`.

use ../across.nu
use ../client.nu
use ../names.nu
use ../rows.nu
use ../selector.nu

# Run the health checks of services now, concurrently.
@category service
@search-terms check probe alive ping
export def "service health" [
    ...names: string@"names all" # the services; or pipe in names, or rows with a `name` column
    --config (-c): path # the services.toml to use
]: any -> table {
    let piped = $in
    let projects = across $piped $config
    if $projects != null {
        return (across in-each $projects {|path| null | service health ...$names --config $path })
    }
    let span = selector mark $names $piped (metadata $names).span
    let selected = selector $names $piped $config $span
    if (selector selects-nothing $selected) { return [] }
    let connection = client connect $config $span
    let names = $selected | default { client fetch $connection /api/v1/services/status | get name }
    client fetch-each $connection $names health | rows health
}
