# Commands that also accept rows of `service projects` from the pipe, and then run in each of those projects.

use problem.nu

# The projects of the piped rows; null if they are not rows of `service projects`. A named project takes precedence over the item
# of a closure. An empty table of projects selects no daemon, not even this project's; the other commands check the columns
# themselves.
export def main [piped: any, config: any, --about-daemon]: nothing -> any {
    let is_many = ($piped | describe) =~ '^(list|table)'
    let rows = if $is_many { $piped } else { [$piped] }
    if $about_daemon and ($rows | is-empty) and $config == null { return { paths: [] many: true } }
    if ($rows | is-empty) or not ($rows | all {|row| is-project $row }) { return null }
    if $config != null { { paths: [$config] many: false } } else { { paths: $rows.path many: $is_many } }
}

# Runs a command in each project, and adds the project to each row. A project that is gone has nothing left, and an error in one
# project does not stop the others.
export def in-each [projects: record, work: closure, --about-daemon]: nothing -> any {
    if not $projects.many { return (do $work $projects.paths.0) }
    let nothing = if $about_daemon { [service::no_project service::daemon_unreachable] } else { [service::no_project] }
    mut all = []
    mut failed = []
    for path in $projects.paths {
        let answer = try { { said: (do $work $path) } } catch {|error| { error: $error } }
        if $answer.error? == null {
            let rows = if ($answer.said | describe) =~ '^(list|table)' { $answer.said } else { [$answer.said] }
            $all = $all ++ ($rows | each {|row| mark $row $path })
        } else if (code $answer.error) not-in $nothing {
            $failed = $failed ++ [$answer.error]
        }
    }
    if ($failed | is-not-empty) { error make $failed.0 }
    $all
}

# Only one project can be followed.
export def one-at-a-time [span: record]: nothing -> error {
    problem raise { code: bad_request message: "cannot follow several projects at once"
        help: "pipe in one row, as in `service projects | first | service logs --follow`" } $span
}

def mark [row: any, path: string]: nothing -> any {
    if ($row | describe) !~ '^record' or ($row.project? != null) { $row } else { $row | insert project $path }
}

def code [error: record]: nothing -> string {
    $error.details?.code? | default { try { $error.json | from json | get code } catch { "" } }
}

# A row of `service projects` has no service name, but a path and either the daemon's state or the state directory.
def is-project [row: any]: nothing -> bool {
    if ($row | describe) !~ '^record' { return false }
    let columns = $row | columns
    'name' not-in $columns and 'service' not-in $columns and ('daemon' in $columns or 'state_dir' in $columns) and ($row.path? | describe) == string
}
