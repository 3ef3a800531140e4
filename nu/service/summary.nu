# A summary of a whole project: for `prompt`, and above `watch`.

# The maximum number of names; beyond it only the number is shown.
const MAX_NAMES = 2

# For example `3/4 up, db failing`. A completed one-shot counts as neither up nor down.
export def main []: table -> string {
    let rows = $in | where state != completed
    if ($rows | is-empty) { return "" }
    let failing = $rows | where {|row| $row.state in [failed backoff] or $row.health == unhealthy }
    let unknown = $rows | where state == unknown
    let changing = $rows | where state in [waiting starting stopping]
    [
        $"($rows | where state == ready | length)/($rows | length) up"
        ($failing | get name | counted "failing")
        ($unknown | get name | counted "unknown")
        ($changing | where name not-in $failing.name | get name | counted "on the way")
    ] | compact | str join ", "
}

def counted [what: string]: list -> any {
    let names = $in
    if ($names | is-empty) { return null }
    if ($names | length) > $MAX_NAMES { $"($names | length) ($what)" } else { $"($names | str join ' and ') ($what)" }
}
