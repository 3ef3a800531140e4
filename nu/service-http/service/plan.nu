# `service plan`.

use ../client.nu
use ../rows.nu

# Show what a changed services.toml would do to what runs.
@category service
@search-terms diff changes dry-run
export def main [
    --config (-c): path # the services.toml to use
]: any -> table {
    ignore # the item of a closure
    let span = (metadata $config).span
    client ask (client connect $config $span) /api/v1/plan | rows change
}
