# `service restart`.

use ../across.nu
use ../client.nu
use ../names.nu
use ../selector.nu
use ../action.nu

# Restart services, together with their running dependents.
#
# Failed rows have the reason in `error`; if every named service failed, or with `--all` any, the command fails.
@category service
@search-terms bounce again
export def "service restart" [
    ...names: string@"names running" # the services; or pipe in names, or rows with a `name` column
    --config (-c): path # the services.toml to use
    --all (-a) # every service of the project
    --no-wait # return as soon as the action is under way
    --strict # raise an error if any service failed, not only if all named services failed
    --timeout (-t): duration # how long to wait; the daemon continues after that
    --no-dependents # restart only the named services, not their dependents
    --oneshots # with --all: also run completed one-shots again
]: any -> table {
    let piped = $in
    let projects = across $piped $config
    if $projects != null {
        return (across in-each $projects {|path| null | service restart ...$names --config $path --all=$all --no-wait=$no_wait --strict=$strict --timeout $timeout --no-dependents=$no_dependents })
    }
    let span = selector mark $names $piped (metadata $names).span
    action { client connect $config $span } restart (selector $names $piped $config $span) $span {
        all: $all
        relatives: (if $no_dependents { false } else { null })
        wait: (not $no_wait)
        timeout: $timeout
        strict: $strict
        oneshots: $oneshots
    }
}
