# Commands that also accept rows of `service projects` from the pipe, and then run in each of those projects.

use problem.nu

# The projects of the piped rows; null if they are not rows of `service projects`. A project named by `--config` takes precedence
# over the item of a closure. For commands about the daemon, an empty table selects no daemon, also not that of this project.
export def main [piped: any, config: any, --about-daemon]: nothing -> any {
    let is_many = ($piped | describe) =~ '^(list|table)'
    let rows = if $is_many { $piped } else { [$piped] }
    if $about_daemon and ($rows | is-empty) and $config == null { return { paths: [] many: true } }
    if ($rows | is-empty) or not ($rows | all {|row| is-project $row }) { return null }
    if $config != null { { paths: [$config] many: false } } else { { paths: $rows.path many: $is_many } }
}

# Runs a command in each project, and adds the project to each row. A missing project has no rows. An error in one project does not
# prevent the command in the others.
export def in-each [projects: record, work: closure, --about-daemon]: nothing -> any {
    if not $projects.many { return (do $work $projects.paths.0) }
    let ignored_codes = if $about_daemon { [service::no_project service::daemon_unreachable] } else { [service::no_project] }
    mut all = []
    mut failed = []
    for path in $projects.paths {
        let answer = try { { result: (do $work $path) } } catch {|error| { error: $error } }
        if $answer.error? == null {
            let rows = if ($answer.result | describe) =~ '^(list|table)' { $answer.result } else { [$answer.result] }
            $all = $all ++ ($rows | each {|row| add-project $row $path })
        } else if (error-code $answer.error) not-in $ignored_codes {
            $failed = $failed ++ [$answer.error]
        }
    }
    if ($failed | is-not-empty) { error make $failed.0 }
    $all
}

# The error of a command that can follow only one project.
export def refuse-several [span: record]: nothing -> error {
    problem raise { code: bad_request message: "cannot follow several projects at once"
        help: "pipe in one row, as in `service projects | first | service logs --follow`" } $span
}

def add-project [row: any, path: string]: nothing -> any {
    if ($row | describe) !~ '^record' or ($row.project? != null) { $row } else { $row | insert project $path }
}

def error-code [error: record]: nothing -> string {
    $error.details?.code? | default { try { $error.json | from json | get code } catch { "" } }
}

# A row of `service projects` has no service name, but a path and either the daemon's state or the state directory.
def is-project [row: any]: nothing -> bool {
    if ($row | describe) !~ '^record' { return false }
    let columns = $row | columns
    'name' not-in $columns and 'service' not-in $columns and ('daemon' in $columns or 'state_dir' in $columns) and ($row.path? | describe) == string
}
