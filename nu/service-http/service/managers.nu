# `service managers`.

use ../client.nu
use ../rows.nu

# Show the managers, their commands, and whether their programs are installed.
@category service
@search-terms systemd podman docker module backend
export def "service managers" [
    --config (-c): path # the services.toml to use
]: nothing -> table {
    let span = (metadata $config).span
    client fetch (client connect $config $span) /api/v1/managers | rows manager
}
