# `service watch`: the table of `service status`, alive.

use error_span.nu
use names.nu
use colors.nu
use screen.nu
use summary.nu

# From so many columns on there is room for all that a status has.
const WIDE = 90
# So many lines of the screen are no rows: the summary, the table's own four, the last.
const FRAME = 6

# Show a live table of service states, until `q` or ctrl-c.
#
# The table follows the size of the terminal and is removed at the end. For a script use `service events --follow`.
@category service
@search-terms live monitor refresh
@example "all services, twice a second" "service watch --interval 500ms"
@example "two of them" "service watch database web-app"
export def "service watch" [
    ...names: string@"names all" # the services (default: all of the project)
    --interval (-i): duration = 1sec # refresh interval
]: nothing -> nothing {
    # What is wrong with the names is an error before anything is drawn.
    error_span (metadata $names).span { service status --quiet ...$names | ignore }
    screen $interval {|size|
        let rows = service status --quiet ...$names
        # What is wrong stands where one looks first, and is never among what does not fit.
        let sorted = $rows | sort-by {|row| urgency $row }
        let room = [($size.rows - $FRAME) 1] | math max
        let fitting = if ($rows | length) <= $room { $sorted } else { $sorted | first ([($room - 1) 1] | math max) }
        let hidden = ($rows | length) - ($fitting | length)
        let painted = $fitting | colors coloured status state health
        # What `state` says as well, and what is rarely looked at, make room for the rest.
        let shown = if $size.columns < $WIDE { $painted | reject --optional status pid } else { $painted }
        let table = $shown | table --width $size.columns
        $"(ansi attr_bold)($rows | summary)(ansi reset)  every ($interval), q leaves\n($table)(if $hidden > 0 { $'\n... and ($hidden) more' })"
    }
}

# Less comes first; what is equal stays in the order of the file.
def urgency [row: record]: nothing -> int {
    if $row.state in [failed backoff] or $row.health == unhealthy { 0 } else if $row.state in [waiting starting stopping unknown] { 1 } else { 2 }
}
