# Commands that take rows of `service projects` from the pipe as well, and are then carried out in each of those projects.

use problem.nu

# Which projects are meant, as their rows in the pipe say; null if these are no such rows. A project that is named goes before
# the item of a closure. Of no rows no daemon is meant, this project's neither; the other commands see by themselves that these are
# no services.
export def main [piped: any, config: any, --about-daemon]: nothing -> any {
    let is_many = ($piped | describe) =~ '^(list|table)'
    let rows = if $is_many { $piped } else { [$piped] }
    if $about_daemon and ($rows | is-empty) and $config == null { return { paths: [] many: true } }
    if ($rows | is-empty) or not ($rows | all {|row| is-project $row }) { return null }
    if $config != null { { paths: [$config] many: false } } else { { paths: $rows.path many: $is_many } }
}

# Does it in each of them; a row says of which project it is. Of one that is gone nothing is left, and what fails in one keeps
# nobody from the others.
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

# A stream that goes on is of one project.
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

# Such a row has no name of a service, and has a path, and says how its daemon is or where its state lies.
def is-project [row: any]: nothing -> bool {
    if ($row | describe) !~ '^record' { return false }
    let columns = $row | columns
    'name' not-in $columns and 'service' not-in $columns and ('daemon' in $columns or 'state_dir' in $columns) and ($row.path? | describe) == string
}
