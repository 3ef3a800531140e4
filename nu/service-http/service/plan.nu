# `service plan`.

use ../client.nu
use ../rows.nu

# Show the changes that `service apply` would make.
@category service
@search-terms diff changes dry-run
export def "service plan" [
    --config (-c): path # the services.toml to use
    --all (-a) # also show unchanged services
]: any -> table {
    ignore # the item of a closure
    let span = (metadata $config).span
    client fetch (client connect $config $span) /api/v1/plan | where {|it| $all or $it.change != none } | rows change
}
