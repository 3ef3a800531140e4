# `service enable`.

use ../client.nu
use ../names.nu
use ../project.nu
use ../rows.nu

# Let systemd run the daemon of the project, and start services with it.
@category service
@search-terms systemd unit boot login autostart linger
export def "service enable" [
    ...names: string@"names all" # the services to start with the daemon (default: those with `auto = true`)
    --config (-c): path # the services.toml to use
    --all (-a) # start all services with the daemon
    --boot # start when the machine boots, and not only when you log in
    --now # also start now
]: nothing -> record {
    let span = (metadata $names).span
    let flags = { all: $all boot: $boot now: $now } | transpose name on | where on | each {|it| $"--($it.name)" }
    rows unit (client query-offline (project $config $span) [enable ...$flags --nu $nu.current-exe ...$names] $span)
}
