# `service order`.

use ../client.nu
use ../names.nu
use ../rows.nu
use ../selector.nu

# Show the start order of services, with all their dependencies.
#
# The command starts no daemon.
@category service
@search-terms dependencies plan levels
export def "service order" [
    ...names: string@"names all" # the services; or pipe in names, or rows with a `name` column
    --config (-c): path # the services.toml to use
]: any -> table {
    let piped = $in
    let span = selector mark $names $piped (metadata $names).span
    let selected = selector $names $piped $config $span
    if (selector selects-nothing $selected) { return [] }
    let names = selector joined $selected
    client read $config $span /api/v1/services/order { names: $names } [order ...($selected | default [])] | rows step
}
