# `service down`: the opposite of `service up`, daemon included.

use caller.nu

# Stop all services of the project, dependents first, then its daemon.
#
# Answers with one row for each service that was stopped.
@category service
@search-terms stop all quit daemon
@example "leave nothing of the project running" { service down }
export def "service down" []: nothing -> table {
    let stopped = caller null { service stop --all }
    service daemon stop | ignore
    $stopped
}
