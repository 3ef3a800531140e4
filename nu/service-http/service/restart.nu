# `service restart`.

use ../across.nu
use ../client.nu
use ../names.nu
use ../selector.nu
use ../wish.nu

# Stop services and start them again, with the dependents that went down.
#
# Rows of services that failed say why in `error`; if every service that was named failed, or with `--all` any, the command fails.
@category service
@search-terms bounce again
export def "service restart" [
    ...names: string@"names running" # the services; or pipe in names, or rows with a `name` column
    --config (-c): path # the services.toml to use
    --all (-a) # every service of the project
    --no-wait # return as soon as it is under way
    --strict # raise an error if any service failed, not only if all that are named did
    --timeout (-t): duration # how long to wait; the daemon goes on after that
    --no-dependents # leave alone what needs them
    --oneshots # with --all: do again also what one-shots have done
]: any -> table {
    let piped = $in
    let projects = across $piped $config
    if $projects != null {
        return (across in-each $projects {|path| null | service restart ...$names --config $path --all=$all --no-wait=$no_wait --strict=$strict --timeout $timeout --no-dependents=$no_dependents })
    }
    let span = selector mark $names $piped (metadata $names).span
    wish { client connect $config $span } restart (selector $names $piped $config $span) $span {
        all: $all
        relatives: (if $no_dependents { false } else { null })
        wait: (not $no_wait)
        timeout: $timeout
        strict: $strict
        oneshots: $oneshots
    }
}
