# Marks errors of composed commands in the caller's text rather than in a file of this module.

# Runs `work`. An error of `service ...` is marked at the names that the caller gave, or at the command itself; with a null span
# it is not marked at all.
export def main [place: any, work: closure]: nothing -> any {
    try { do $work } catch {|error|
        let said = $error.details?
        if $said == null or ($said.code? | default "") !~ "^service::" { error make $error }
        let again = { msg: $said.msg code: $said.code }
        let again = if $said.help == null { $again } else { $again | insert help $said.help }
        if $place == null { error make --unspanned $again }
        error make ($again | insert labels ($said.labels | each {|label| { text: $label.text span: (within $place $label.span) } }))
    }
}

# The span of the name that the error is about, if it is one of these; else the span of all names.
def within [place: record, mark: record]: nothing -> record {
    if $mark.start >= $place.start and $mark.end <= $place.end { $mark } else { $place }
}
