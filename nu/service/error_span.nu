# Errors of the commands that are combined here, marked in the text of who called rather than in a file of this module.

# Does it. An error of `service ...` is marked where the caller named services, which is the command itself if they named
# none; with null for the place it is not marked at all.
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

# The name that is meant, if it is one of these; else all of them.
def within [place: record, mark: record]: nothing -> record {
    if $mark.start >= $place.start and $mark.end <= $place.end { $mark } else { $place }
}
