# `service watch`: a live table of `service status`.

use error_span.nu
use names.nu
use colors.nu
use screen.nu
use summary.nu

# The width from which all columns of a status fit.
const WIDE = 90
# The number of screen lines that are not rows: the summary, four of the table's frame, and the last line.
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
    # Wrong names are an error before anything is drawn.
    error_span (metadata $names).span { service status --quiet ...$names | ignore }
    screen $interval {|size|
        let rows = service status --quiet ...$names
        # Failed services come first, and are never among those that do not fit.
        let sorted = $rows | sort-by {|row| urgency $row }
        let room = [($size.rows - $FRAME) 1] | math max
        let fitting = if ($rows | length) <= $room { $sorted } else { $sorted | first ([($room - 1) 1] | math max) }
        let hidden = ($rows | length) - ($fitting | length)
        let painted = $fitting | colors coloured status state health
        # Columns that repeat `state` or are rarely needed are dropped first.
        let shown = if $size.columns < $WIDE { $painted | reject --optional status pid } else { $painted }
        let table = $shown | table --width $size.columns
        $"(ansi attr_bold)($rows | summary)(ansi reset)  every ($interval), q leaves\n($table)(if $hidden > 0 { $'\n... and ($hidden) more' })"
    }
}

# Lower values come first; equal rows keep the order of the file.
def urgency [row: record]: nothing -> int {
    if $row.state in [failed backoff] or $row.health == unhealthy { 0 } else if $row.state in [waiting starting stopping unknown] { 1 } else { 2 }
}
