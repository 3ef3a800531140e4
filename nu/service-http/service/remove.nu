# `service remove`.

use ../client.nu
use ../names.nu
use ../selector.nu
use ../wish.nu

# Stop services that were added or run, and forget them with their logs.
#
# What services.toml defines is removed there. What something else needs is removed only along with that.
@category service
@search-terms delete undefine forget rm
export def "service remove" [
    ...names: string@"names added" # the services; or pipe in names, or rows with a `name` column
    --config (-c): path # the services.toml to use
    --all (-a) # everything that was added
    --strict # raise an error if any was not removed, not only if none was
    --timeout (-t): duration # how long to wait until it has stopped
]: any -> table {
    let piped = $in
    let span = selector mark $names $piped (metadata $names).span
    wish { client connect $config $span } remove (selector $names $piped $config $span) $span {
        all: $all
        relatives: null
        wait: true
        timeout: $timeout
        strict: $strict
    }
}
