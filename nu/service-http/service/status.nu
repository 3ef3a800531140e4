# `service status`.

use ../across.nu
use ../client.nu
use ../names.nu
use ../rows.nu
use ../selector.nu

# Show the state, health, process, uptime and memory of services.
@category service
@search-terms ps state running uptime systemctl
export def "service status" [
    ...names: string@"names all" # the services; or pipe in names, or rows with a `name` column
    --config (-c): path # the services.toml to use
    --long (-l) # all columns
    --no-start # start no daemon; without one the command fails
    --quiet (-q) # print no notes about the project on standard error
]: any -> table {
    let piped = $in
    let projects = across $piped $config
    if $projects != null {
        return (across in-each $projects {|path| null | service status ...$names --config $path --long=$long --no-start=$no_start --quiet=$quiet })
    }
    let span = selector mark $names $piped (metadata $names).span
    let selected = selector $names $piped $config $span
    if (selector selects-nothing $selected) { return [] }
    let connection = if $no_start { client require-running $config $span } else { client connect $config $span }
    let query = { names: (selector joined $selected) long: $long }
    client fetch-with-notes $connection /api/v1/services/status $query $quiet | rows status $long
}
