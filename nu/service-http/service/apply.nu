# `service apply`.

use ../client.nu
use ../action.nu

# Apply a changed services.toml to the running services, and roll back on failure.
@category service
@search-terms deploy reload update rollback
export def "service apply" [
    --config (-c): path # the services.toml to use
    --start # start every new service, not only dependencies of active services
    --no-rollback # do not roll back if a step fails
    --timeout (-t): duration # timeout of each step
]: any -> table {
    ignore # the item of a closure
    let span = (metadata $config).span
    let body = { start: $start rollback: (not $no_rollback) timeout_ms: (action milliseconds $timeout $span) }
    action send (client connect $config $span) apply /api/v1/apply $body true
}
