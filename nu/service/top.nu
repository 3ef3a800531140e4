# `service top`: who uses most.

use caller.nu
use palette.nu
use screen.nu

# Show running services by what they use of processors or memory, most first, until `q` or ctrl-c.
#
# `cpu` is a percentage of one core since the look before, of all processes of the service together.
@category service
@search-terms cpu memory usage htop busy
@example "by memory" "service top --by memory"
@example "once, as rows" "service top --once | first 3"
export def main [
    --by (-b): string@columns = cpu # cpu, memory, uptime or restarts
    --interval (-i): duration = 2sec # from one look to the next
    --once (-1) # the rows instead of a live table
]: nothing -> any {
    if $by not-in (columns) {
        error make {
            msg: $"cannot sort by `($by)`"
            code: "service::bad_request"
            help: $"one of: (columns | str join ', ')"
            labels: [{ text: "no such column" span: (metadata $by).span }]
        }
    }
    let first = caller null { rows $by }
    if $once { return $first }
    screen $interval {|size|
        let rows = rows $by
        let memory = $rows.memory | compact | append 0b | math sum
        let cpu = $rows.cpu | compact | append 0.0 | math sum
        let table = $rows | palette coloured state health | table --width $size.columns
        $"(ansi attr_bold)($rows | length) running, cpu ($cpu | math round)%, memory ($memory)(ansi reset)  by ($by), q leaves\n($table)"
    }
}

def columns []: nothing -> list<string> { [cpu memory uptime restarts] }

def rows [by: string]: nothing -> table {
    service status --long
    | where status == running
    | select name cpu memory uptime restarts state health pid
    | sort-by --reverse {|row| $row | get $by }
}
