# The services that a command acts on: from its arguments or from the pipe.

use client.nu
use problem.nu

# The names. Null without names and pipe; empty for an empty pipe, which must never select all services.
export def main [names: list<string>, piped: any, config: any, span: record]: nothing -> any {
    # In `1..9 | each { service status }` Nushell pipes the number into the command. A number selects no service.
    if $piped == null or ($piped | describe) == int { return (if ($names | is-empty) { null } else { $names }) }
    let rows = if ($piped | describe) =~ '^(list|table)' { $piped } else { [$piped] }
    let found = $rows | each {|row| { name: (name $row) } }
    let has_invalid = $found | any {|it| $it.name == null }
    if ($names | is-empty) {
        if $has_invalid {
            problem raise { code: bad_row message: "cannot tell which service is meant"
                help: $"pipe in strings, or rows with a `name` column; ($problem.IN_A_CLOSURE)" } $span
        }
        return $found.name
    }
    # In `each {|name| service start $name }` Nushell pipes the name into the command as well. An item that cannot be a service
    # does not contradict the names.
    if $has_invalid or $found.name == $names { return $names }
    # An item that names no service does not contradict the names either.
    let known = client read $config $span /api/v1/services/list {} [list] | get name
    let known_names = $found.name | where $it in $known
    if ($known_names | is-empty) and ($found | is-not-empty) { return $names }
    problem raise { code: ambiguous_input message: "cannot take names both as arguments and from the pipe"
        help: $"use only one of the two; ($problem.IN_A_CLOSURE)" } $span
}

# The span of the names, and whether they were piped in, for errors.
export def mark [names: list, piped: any, span: record]: nothing -> record<start: int, end: int, piped: bool> {
    { start: $span.start end: $span.end piped: (($names | is-empty) and $piped != null) }
}

# Checks the selection of an action: either names, or `--all`, for which `selected` is null.
export def check-selection [selected: any, all: bool, span: record]: nothing -> nothing {
    if $selected == null and not $all {
        problem raise { code: no_names message: "no service is named"
            help: "name services, pipe them in, or use `--all`" } $span
    }
    # Names and `--all` exclude each other; an empty pipe has no names.
    if $selected != null and $all and ($selected | is-not-empty) {
        problem raise { code: ambiguous_input message: "cannot take both names and `--all`"
            help: "use only one of the two" } $span
    }
}

# The names in the form of the API.
export def joined [selected: any]: nothing -> string { $selected | default [] | str join "," }

# Whether the pipe was empty, so that no service is selected.
export def selects-nothing [selected: any]: nothing -> bool { $selected != null and ($selected | is-empty) }

# The name in a row: the column `name`, or `service`, as in rows of logs.
def name [row: any]: nothing -> any {
    let kind = $row | describe
    if $kind == string { return $row }
    if $kind !~ '^record' { return null }
    let name = $row.name? | default $row.service?
    if ($name | describe) == string { $name } else { null }
}
