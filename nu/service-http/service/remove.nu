# `service remove`.

use ../client.nu
use ../names.nu
use ../selector.nu
use ../action.nu

# Stop added and transient services, and delete them with their logs.
#
# To remove a service of services.toml, edit the file. A dependency can only be removed together with its dependents.
@category service
@search-terms delete undefine forget rm
export def "service remove" [
    ...names: string@"names added" # the services; or pipe in names, or rows with a `name` column
    --config (-c): path # the services.toml to use
    --all (-a) # every added service
    --strict # raise an error if any service was not removed, not only if all failed
    --timeout (-t): duration # how long to wait for the stop
]: any -> table {
    let piped = $in
    let span = selector mark $names $piped (metadata $names).span
    action { client connect $config $span } remove (selector $names $piped $config $span) $span {
        all: $all
        relatives: null
        wait: true
        timeout: $timeout
        strict: $strict
    }
}
