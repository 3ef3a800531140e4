# `service tail`: follows the logs of services.

use error_span.nu
use names.nu
use screen.nu

# The colours of services, in turn.
const COLOURS = [cyan magenta green yellow blue light_cyan light_magenta light_green light_yellow light_blue]

# The maximum length of a shown line; `service logs` has the whole line.
const MAX_LINE_CHARS = 2000

# Print the last log lines of services, and new ones as they are written, in one colour for each service, until ctrl-c.
#
# `!` marks lines of standard error. For rows use `service logs --follow`.
@category service
@search-terms logs follow output
@example "of all services" "service tail"
@example "of one, from now on" "service tail web-app --lines 0"
export def "service tail" [
    ...names: string@"names all" # the services (default: all of the project)
    --lines (-n): int = 10 # number of past lines of each service
]: nothing -> nothing {
    let known = error_span (metadata $names).span { service list ...$names | get name }
    let width = $known | each { str length } | append 0 | math max
    let colours = $known | enumerate | reduce --fold {} {|it, all|
        $all | insert $it.item ($COLOURS | get ($it.index mod ($COLOURS | length)))
    }
    let error = try { follow $names $lines $width $colours; null } catch {|error| $error }
    if $error != null and not (screen is-interrupt $error) { error make $error }
}

def follow [names: list<string>, lines: int, width: int, colours: record]: nothing -> nothing {
    let plain = not (is-terminal --stdout)
    service logs ...$names --follow --tail $lines | each {|row|
        let text = truncate-line $row.line
        let mark = if $row.stream == stderr { "!" } else { "|" }
        let head = $"($row.service | fill --width $width) ($mark)"
        let style = $colours | get --optional $row.service | default default
        print (if $plain { $"($head) ($text)" } else { $"(ansi $style)($head)(ansi reset) ($text)(ansi reset)" })
    } | ignore
}

# A truncated line shows the number of missing characters.
def truncate-line [line: string]: nothing -> string {
    let length = $line | str length --grapheme-clusters
    if $length <= $MAX_LINE_CHARS { return $line }
    $"($line | str substring --grapheme-clusters 0..<$MAX_LINE_CHARS)... and ($length - $MAX_LINE_CHARS) more characters"
}
