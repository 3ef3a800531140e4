# Marks errors of combined commands in the text of the caller, and not in a file of this module.

# Runs `work`. An error of `service ...` is marked at the names that the caller gave, or at the command itself. With null names the
# error has no mark.
export def main [names: any, work: closure]: nothing -> any {
    try { do $work } catch {|error|
        let details = $error.details?
        if $details == null or ($details.code? | default "") !~ "^service::" { error make $error }
        let marked = { msg: $details.msg code: $details.code }
        let marked = if $details.help == null { $marked } else { $marked | insert help $details.help }
        if $names == null { error make --unspanned $marked }
        error make ($marked | insert labels ($details.labels | each {|label| { text: $label.text span: (within $names $label.span) } }))
    }
}

# The span of the error, if it is within the names; else the span of all names.
def within [names: record, span: record]: nothing -> record {
    if $span.start >= $names.start and $span.end <= $names.end { $span } else { $names }
}
