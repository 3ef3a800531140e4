# `service watch`: the table of `service status`, alive.

use caller.nu
use names.nu
use palette.nu
use screen.nu
use summary.nu

# From so many columns on there is room for all that a status has.
const WIDE = 90

# Show how services are, again and again in the same place, until `q` or ctrl-c.
#
# It follows the size of the terminal and leaves nothing on it. For a script: `service events --follow`.
@category service
@search-terms live monitor refresh
@example "all services, twice a second" "service watch --interval 500ms"
@example "two of them" "service watch database web-app"
export def main [
    ...names: string@"names all" # services; all of the project if none is named
    --interval (-i): duration = 1sec # from one look to the next
]: nothing -> nothing {
    # What is wrong with the names is an error before anything is drawn.
    caller (metadata $names).span { service status ...$names | ignore }
    screen $interval {|size|
        let rows = service status ...$names
        let painted = $rows | palette coloured status state health
        # What `state` says as well, and what is rarely looked at, make room for the rest.
        let shown = if $size.columns < $WIDE { $painted | reject --optional status pid } else { $painted }
        let table = $shown | table --width $size.columns
        $"(ansi attr_bold)($rows | summary)(ansi reset)  every ($interval), q leaves\n($table)"
    }
}
