# `service add`.

use ../client.nu
use ../definition.nu
use ../problem.nu
use ../rows.nu

# Define services from records, beside those of services.toml.
#
# The columns are `name` and the keys of services.toml. All services are added or none; they stay until `service remove`.
@category service
@search-terms define register create new dynamic
export def "service add" [
    --config (-c): path # the services.toml to use
]: [table -> table, record -> table] {
    let rows = $in
    let span = (metadata $config).span
    let rows = if ($rows | describe --detailed | get type) == list { $rows } else { [$rows] }
    for row in $rows {
        if ($row | describe --detailed | get type) != record {
            problem raise { code: bad_row message: "cannot add this: it is not a record of a service"
                help: "pipe in records with `name`, `start_command` and other keys of services.toml" } $span
        }
    }
    if ($rows | is-empty) { return [] }
    let services = $rows | definition $span
    let connection = client connect $config $span --anywhere
    client post $connection /api/v1/services/add { services: $services transient: false } | rows outcome
}
