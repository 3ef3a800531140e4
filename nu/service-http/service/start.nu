# `service start`.

use ../across.nu
use ../client.nu
use ../names.nu
use ../selector.nu
use ../action.nu

# Start services after their dependencies, and wait until they are ready.
#
# Failed rows have the reason in `error`; if every named service failed, or with `--all` any, the command fails.
@category service
@search-terms run launch up
export def "service start" [
    ...names: string@"names idle" # the services; or pipe in names, or rows with a `name` column
    --config (-c): path # the services.toml to use
    --all (-a) # every service of the project
    --no-wait # return as soon as the action is under way
    --strict # raise an error if any service failed, not only if all named services failed
    --timeout (-t): duration # how long to wait; the daemon continues after that
    --no-deps # start only the named services, not their dependencies
    --if-hash: string # only if services.toml has this hash of `service trust`
]: any -> table {
    let piped = $in
    let projects = across $piped $config
    if $projects != null {
        return (across in-each $projects {|path| null | service start ...$names --config $path --all=$all --no-wait=$no_wait --strict=$strict --timeout $timeout --no-deps=$no_deps })
    }
    let span = selector mark $names $piped (metadata $names).span
    action { client connect $config $span | upsert if_hash $if_hash } start (selector $names $piped $config $span) $span {
        all: $all
        relatives: (if $no_deps { false } else { null })
        wait: (not $no_wait)
        timeout: $timeout
        strict: $strict
    }
}
