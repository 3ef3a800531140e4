# `service disable`.

use ../client.nu
use ../project.nu
use ../rows.nu

# Take back `service enable`: systemd does not start the project any more.
@category service
@search-terms systemd unit boot login autostart
export def "service disable" [
    --config (-c): path # the services.toml to use
]: nothing -> record {
    let span = (metadata $config).span
    rows unit (client say (project $config $span) [disable] $span)
}
