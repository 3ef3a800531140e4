# Which services a command is about: from its arguments or from the pipe.

use client.nu
use problem.nu

# The names; null if neither names nor a pipe were there, and empty if an empty pipe was, which must never mean "all".
export def main [names: list<string>, piped: any, config: any, span: record]: nothing -> any {
    # In `1..9 | each { service status }` Nushell pipes the number in; it can mean no service.
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
    # In `each {|name| service start $name }` Nushell pipes the name in as well; and an item of a closure that cannot be a
    # service says nothing against the names.
    if $bad or $found.name == $names { return $names }
    # Nor does one that is none.
    let known = client read $config $span /api/v1/services/list {} [list] | get name
    let other = $found.name | where $it in $known
    if ($other | is-empty) and ($found | is-not-empty) { return $names }
    problem raise { code: ambiguous_input message: "cannot take names both as arguments and from the pipe"
        help: $"use only one of the two; ($problem.IN_A_CLOSURE)" } $span
}

# Where the names are in the user's text, and whether they came through the pipe instead, for the errors about them.
export def mark [names: list, piped: any, span: record]: nothing -> record<start: int, end: int, piped: bool> {
    { start: $span.start end: $span.end piped: (($names | is-empty) and $piped != null) }
}

# For a command that acts: without names it needs `--all`, which excludes them. Then null stands for all.
export def or-all [selected: any, all: bool, span: record]: nothing -> nothing {
    if $selected == null and not $all {
        problem raise { code: no_names message: "no service is named"
            help: "name services, pipe them in, or say `--all`" } $span
    }
    # All of the projects whose rows were piped in, and there were none.
    if $selected != null and $all and ($selected | is-not-empty) {
        problem raise { code: ambiguous_input message: "cannot take both names and `--all`"
            help: "use only one of the two" } $span
    }
}

# As the API takes them.
export def joined [selected: any]: nothing -> string { $selected | default [] | str join "," }

# A pipe was there and empty: there is nothing to do.
export def is-nothing [selected: any]: nothing -> bool { $selected != null and ($selected | is-empty) }

# The name in a row; rows about services, such as those of logs, have it in another column.
def name [row: any]: nothing -> any {
    let kind = $row | describe
    if $kind == string { return $row }
    if $kind !~ '^record' { return null }
    let name = $row.name? | default $row.service?
    if ($name | describe) == string { $name } else { null }
}
