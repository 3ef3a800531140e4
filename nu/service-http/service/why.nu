# `service why`.

use ../client.nu
use ../names.nu
use ../problem.nu
use ../rows.nu
use ../selector.nu

# Explain why a service is as it is, and what would help.
#
# `summary` says it in one sentence, `help` has the command that would help now; there is none when all is well.
@category service
@search-terms explain diagnose reason cause debug
export def main [
    ...name: string@"names all" # the service; or pipe in its name, or a row with a `name` column
    --config (-c): path # the services.toml to use
]: any -> record {
    let piped = $in
    let span = selector mark $name $piped (metadata $name).span
    let selected = selector $name $piped $config $span | default []
    if ($selected | is-empty) {
        problem raise { code: no_names message: "no service is named" help: "name one, as in `service why web-app`" } $span
    }
    if ($selected | length) > 1 {
        problem raise { code: bad_request message: "cannot explain several at once"
            help: "`[a b] | each {|name| service why $name }`" } $span
    }
    rows why (client ask (client connect $config $span) $"/api/v1/services/($selected | first | url encode --all)/why")
}
