# `service managers`.

use ../client.nu
use ../rows.nu

# Show who can run services, what each can do, and whether the program it needs is here.
@category service
@search-terms systemd podman docker module backend
export def "service managers" [
    --config (-c): path # the services.toml to use
]: nothing -> table {
    let span = (metadata $config).span
    client ask (client connect $config $span) /api/v1/managers | rows manager
}
