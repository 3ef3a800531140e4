# How a whole project is, in a few words: what `prompt` shows and what stands above `watch`.

# So many names are said; of more only the number.
const NAMED = 2

# Such as `3/4 up, db failing`. A one-shot that has done its work is neither up nor down.
export def main []: table -> string {
    let rows = $in | where state != completed
    if ($rows | is-empty) { return "" }
    let failing = $rows | where {|row| $row.state in [failed backoff] or $row.health == unhealthy }
    let unknown = $rows | where state == unknown
    let moving = $rows | where state in [waiting starting stopping]
    [
        $"($rows | where state == ready | length)/($rows | length) up"
        ($failing | get name | counted "failing")
        ($unknown | get name | counted "unknown")
        ($moving | where name not-in $failing.name | get name | counted "on the way")
    ] | compact | str join ", "
}

def counted [what: string]: list -> any {
    let names = $in
    if ($names | is-empty) { return null }
    if ($names | length) > $NAMED { $"($names | length) ($what)" } else { $"($names | str join ' and ') ($what)" }
}
