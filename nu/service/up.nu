# `service up`: starts the whole project.

use error_span.nu
use names.nu

# Start the named services, or all of the project, after their dependencies.
#
# The command returns when they are ready or have failed, with one row for each. If any has failed the command fails, so that
# a script does not continue without them.
@category service
@search-terms start all compose
@example "bring the whole project up" { service up }
@example "bring one service up, with what it needs" { service up web-app }
@example "and go on only if all is up within a minute" "service up --timeout 1min; cargo test"
export def "service up" [
    ...names: string@"names idle" # the services (default: all of the project)
    --config (-c): path # the services.toml to use
    --timeout (-t): duration # how long to wait; the daemon continues after that
    --no-wait # return as soon as the action is under way
]: nothing -> table {
    let place = if $config == null { {} } else { { SERVICES_CONFIG: ($config | path expand) } }
    let mark = (metadata $names).span
    with-env $place {
        # Not around the start itself, whose rows arrive one by one.
        error_span $mark { service list ...$names | ignore }
        match [($names | is-empty) ($timeout == null)] {
            [true true] => { service start --all --no-wait=$no_wait }
            [true false] => { service start --all --no-wait=$no_wait --timeout $timeout }
            [false true] => { service start ...$names --strict --no-wait=$no_wait }
            _ => { service start ...$names --strict --no-wait=$no_wait --timeout $timeout }
        }
    }
}
