# `service up`: starts the whole project.

use error_span.nu
use names.nu

# Start the named services, or all of the project, after their dependencies.
#
# The command returns when the services are ready or have failed, with one row for each. If any service has failed the command
# fails, so that a script does not continue without it.
@category service
@search-terms start all compose
@example "start the whole project" { service up }
@example "start one service with its dependencies" { service up web-app }
@example "continue only if all services are ready within a minute" "service up --timeout 1min; cargo test"
export def "service up" [
    ...names: string@"names idle" # the services (default: all of the project)
    --config (-c): path # the services.toml to use
    --timeout (-t): duration # how long to wait; the daemon continues after that
    --no-wait # return as soon as the action is under way
]: nothing -> table {
    let environment = if $config == null { {} } else { { SERVICES_CONFIG: ($config | path expand) } }
    let mark = (metadata $names).span
    with-env $environment {
        # The start itself is outside of this block, so that its rows arrive one by one.
        error_span $mark { service list ...$names | ignore }
        match [($names | is-empty) ($timeout == null)] {
            [true true] => { service start --all --no-wait=$no_wait }
            [true false] => { service start --all --no-wait=$no_wait --timeout $timeout }
            [false true] => { service start ...$names --strict --no-wait=$no_wait }
            _ => { service start ...$names --strict --no-wait=$no_wait --timeout $timeout }
        }
    }
}
