# The services that a command acts on: from its arguments or from the pipe.

use client.nu
use problem.nu

# The names; null without names and pipe, and empty for an empty pipe, which must never mean "all".
export def main [names: list<string>, piped: any, config: any, span: record]: nothing -> any {
    # In `1..9 | each { service status }` Nushell pipes the number into the command. A number selects no service.
    if $piped == null or ($piped | describe) == int { return (if ($names | is-empty) { null } else { $names }) }
    let rows = if ($piped | describe) =~ '^(list|table)' { $piped } else { [$piped] }
    let found = $rows | each {|row| { name: (name $row) } }
    let bad = $found | any {|it| $it.name == null }
    if ($names | is-empty) {
        if $bad {
            problem raise { code: bad_row message: "cannot tell which service is meant"
                help: $"pipe in strings, or rows with a `name` column; ($problem.IN_A_CLOSURE)" } $span
        }
        return $found.name
    }
    # In `each {|name| service start $name }` Nushell pipes the name into the command as well. An item that cannot be a service
    # does not contradict the names.
    if $bad or $found.name == $names { return $names }
    # Nor does one that names no service.
    let known = client read $config $span /api/v1/services/list {} [list] | get name
    let other = $found.name | where $it in $known
    if ($other | is-empty) and ($found | is-not-empty) { return $names }
    problem raise { code: ambiguous_input message: "cannot take names both as arguments and from the pipe"
        help: $"use only one of the two; ($problem.IN_A_CLOSURE)" } $span
}

# The span of the names, and whether they were piped in, for errors.
export def mark [names: list, piped: any, span: record]: nothing -> record<start: int, end: int, piped: bool> {
    { start: $span.start end: $span.end piped: (($names | is-empty) and $piped != null) }
}

# For commands that change something: a selection without names needs `--all`, which excludes names. Then null means all.
export def or-all [selected: any, all: bool, span: record]: nothing -> nothing {
    if $selected == null and not $all {
        problem raise { code: no_names message: "no service is named"
            help: "name services, pipe them in, or say `--all`" } $span
    }
    # Every project of the piped rows was selected, and there was none.
    if $selected != null and $all and ($selected | is-not-empty) {
        problem raise { code: ambiguous_input message: "cannot take both names and `--all`"
            help: "use only one of the two" } $span
    }
}

# The names in the form of the API.
export def joined [selected: any]: nothing -> string { $selected | default [] | str join "," }

# Whether the pipe was empty, so that there is nothing to do.
export def is-nothing [selected: any]: nothing -> bool { $selected != null and ($selected | is-empty) }

# The name in a row; rows about services, such as those of logs, have it in another column.
def name [row: any]: nothing -> any {
    let kind = $row | describe
    if $kind == string { return $row }
    if $kind !~ '^record' { return null }
    let name = $row.name? | default $row.service?
    if ($name | describe) == string { $name } else { null }
}
