# `service watch`: a live table of `service status`.

use error_span.nu
use names.nu
use colors.nu
use screen.nu
use summary.nu

# The minimum width for all columns of a status.
const MIN_FULL_WIDTH = 90
# The number of screen lines without a row: the summary, four lines of the table's frame, and the last line.
const FRAME_LINES = 6

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
    # An unknown name is an error before the first drawing.
    error_span (metadata $names).span { service status --quiet ...$names | ignore }
    screen $interval {|size|
        let rows = service status --quiet ...$names
        # Failed services come first, so that they are never among the hidden ones.
        let sorted = $rows | sort-by {|row| urgency $row }
        let max_rows = [($size.rows - $FRAME_LINES) 1] | math max
        let visible = if ($rows | length) <= $max_rows { $sorted } else { $sorted | first ([($max_rows - 1) 1] | math max) }
        let hidden = ($rows | length) - ($visible | length)
        let painted = $visible | colors coloured status state health
        # Columns that repeat `state` or are rarely needed are dropped first.
        let shown = if $size.columns < $MIN_FULL_WIDTH { $painted | reject --optional status pid } else { $painted }
        let table = $shown | table --width $size.columns
        $"(ansi attr_bold)($rows | summary)(ansi reset)  every ($interval), q leaves\n($table)(if $hidden > 0 { $'\n... and ($hidden) more' })"
    }
}

# Lower values come first; equal rows keep the order of the file.
def urgency [row: record]: nothing -> int {
    if $row.state in [failed backoff] or $row.health == unhealthy { 0 } else if $row.state in [waiting starting stopping unknown] { 1 } else { 2 }
}
