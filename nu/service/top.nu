# `service top`: a live table of the services with the highest resource use.

use error_span.nu
use colors.nu
use screen.nu

# The minimum width for all columns.
const MIN_FULL_WIDTH = 100

# Show a live table of running services by CPU or memory use, until `q` or ctrl-c.
#
# `cpu` is a percentage of one core since the last refresh, for all processes of the service together.
@category service
@search-terms cpu memory usage htop busy
@example "by memory" "service top --by memory"
@example "once, as rows" "service top --once | first 3"
export def "service top" [
    --by (-b): string@columns = cpu # cpu, memory, uptime or restarts
    --interval (-i): duration = 2sec # refresh interval
    --once (-1) # return rows instead of a live table
]: nothing -> any {
    if $by not-in (columns) {
        error make {
            msg: $"cannot sort by `($by)`"
            code: "service::bad_request"
            help: $"one of: (columns | str join ', ')"
            labels: [{ text: "no such column" span: (metadata $by).span }]
        }
    }
    let first = error_span null { rows $by }
    if $once { return $first }
    screen $interval {|size|
        let rows = rows $by
        let memory = $rows.memory | compact | append 0b | math sum
        let cpu = $rows.cpu | compact | append 0.0 | math sum
        let shown = $rows | update uptime {|row| round-uptime $row.uptime } | colors coloured state health
        # All services run, and their pids are rarely needed here.
        let shown = if $size.columns < $MIN_FULL_WIDTH { $shown | reject state pid } else { $shown }
        let table = $shown | table --width $size.columns
        $"(ansi attr_bold)($rows | length) running, cpu ($cpu | math round)%, memory ($memory)(ansi reset)  by ($by), q leaves\n($table)"
    }
}

def columns []: nothing -> list<string> { [cpu memory uptime restarts] }

def rows [by: string]: nothing -> table {
    service status --long --quiet
    | where status == running
    | select name cpu memory uptime restarts state health pid
    | sort-by --reverse {|row| $row | get $by }
}

# At most two units.
def round-uptime [uptime: any]: nothing -> any {
    if $uptime == null or $uptime < 10min { return $uptime }
    let unit = if $uptime < 1day { 1min } else if $uptime < 1wk { 1hr } else { 1day }
    $uptime // $unit * $unit
}
