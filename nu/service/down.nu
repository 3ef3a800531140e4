# `service down`: the opposite of `service up`, including the daemon.

use error_span.nu

# Stop all services of the project, dependents first, then its daemon.
#
# The result has one row for each stopped service. With rows of `service projects` as input the command stops these projects.
@category service
@search-terms stop all quit daemon
@example "stop the whole project" { service down }
@example "stop the projects whose directory is gone" { service projects | where file == gone | service down }
export def "service down" [
    --config (-c): path # the services.toml to use; the file may be missing
]: any -> table {
    let projects = rows $in
    if $config != null {
        let stopped = error_span null { null | service stop --all --config $config }
        null | service daemon stop --config $config | ignore
        $stopped
    } else if $projects != null {
        let stopped = error_span null { $projects | service stop --all }
        $projects | service daemon stop | ignore
        $stopped
    } else {
        let stopped = error_span null { null | service stop --all }
        null | service daemon stop | ignore
        $stopped
    }
}

# The piped rows of `service projects`; null for any other input, such as the item of a closure.
def rows [piped: any]: nothing -> any {
    let rows = if ($piped | describe) =~ '^(list|table)' { $piped } else { [$piped] }
    let is_project = {|row| ($row | describe) =~ '^record' and ($row | columns | any {|column| $column in [daemon state_dir] }) }
    if ($piped | describe) !~ '^(list|table|record)' or not ($rows | all $is_project) { null } else { $rows }
}
