# `service disable`.

use ../client.nu
use ../project.nu
use ../rows.nu

# Revert `service enable`: systemd no longer starts the project.
@category service
@search-terms systemd unit boot login autostart
export def "service disable" [
    --config (-c): path # the services.toml to use
]: nothing -> record {
    let span = (metadata $config).span
    rows unit (client query-offline (project $config $span) [disable] $span)
}
