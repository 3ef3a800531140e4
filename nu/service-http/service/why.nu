# `service why`.

use ../across.nu
use ../client.nu
use ../names.nu
use ../problem.nu
use ../rows.nu
use ../selector.nu

# Explain the state of a service and the remedy; without a name, of every service with a problem.
#
# `summary` is one sentence. `help` names the next step, and is null without a problem.
@category service
@search-terms explain diagnose reason cause debug
export def "service why" [
    ...name: string@"names all" # the service, or none for every service with a problem; or pipe in its name, or a row
    --config (-c): path # the services.toml to use
]: any -> any {
    let piped = $in
    let projects = across $piped $config
    if $projects != null {
        return (across in-each $projects {|path| null | service why ...$name --config $path })
    }
    let span = selector mark $name $piped (metadata $name).span
    let selected = selector $name $piped $config $span
    if $selected == null {
        return (client fetch-with-notes (client connect $config $span) /api/v1/why {} false | each {|it| rows why $it })
    }
    if ($selected | is-empty) { return [] }
    if ($selected | length) > 1 {
        problem raise { code: bad_request message: "cannot explain several services at once"
            help: "`[a b] | each {|name| service why $name }`" } $span
    }
    rows why (client fetch (client connect $config $span) $"/api/v1/services/($selected | first | url encode --all)/why")
}
