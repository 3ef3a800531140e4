# `service apply`.

use ../client.nu
use ../wish.nu

# Let what runs follow a changed services.toml, and go back if that fails.
@category service
@search-terms deploy reload update rollback
export def "service apply" [
    --config (-c): path # the services.toml to use
    --start # start every service that is new, not only those that something needs
    --no-rollback # leave everything as it is if a step fails
    --timeout (-t): duration # how long each step may take; then it has failed
]: any -> table {
    ignore # the item of a closure
    let span = (metadata $config).span
    let body = { start: $start rollback: (not $no_rollback) timeout_ms: (wish milliseconds $timeout $span) }
    wish carry-out (client connect $config $span) apply /api/v1/apply $body true
}
