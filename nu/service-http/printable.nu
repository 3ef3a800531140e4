# Removes control sequences from text of services, files and other users before it is shown on a terminal, as the plugin does
# (`service-api`, printable.rs).

# The characters of Unicode's `Bidi_Control`, which change the direction of text.
const DIRECTION_MARKS = '\x{61c}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2066}-\x{2069}'
# Excludes sequences that only colour text.
const COLOUR = '(?!\x1b\[[0-9;:]*m)'
# Escape sequences (ECMA-48): control sequences, control strings (at most up to the end of the line), and short sequences.
const SEQUENCE = '(?:\x1b\[|\x{9b})[\x20-\x3f]*[\x40-\x7e]?|(?:\x1b[\]PX^_]|[\x{90}\x{98}\x{9d}\x{9e}\x{9f}])[^\x07\x{9c}\x1b\n]*(?:\x07|\x{9c}|\x1b\\)?|\x1b[\x20-\x2f]*[\x30-\x7e]?'

# The text without escape sequences and control characters; newline and tab stay.
export def plain []: string -> string { str replace --all --regex $"($SEQUENCE)|[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x{9f}($DIRECTION_MARKS)]" "" }

# The text of a log line without escape sequences, except colours, and without control characters.
export def coloured []: string -> string {
    str replace --all --regex $"($COLOUR)\(?:($SEQUENCE)|[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x{9f}($DIRECTION_MARKS)])" ""
}

# Parses JSON, with printable strings.
export def decode []: string -> any {
    let json = $in
    let value = $json | from json
    # Most texts contain neither such a character nor an escape for it, and need no further work.
    if $json =~ $'\\u|[\x7f-\x{9f}($DIRECTION_MARKS)]' { make-printable $value } else { $value }
}

def make-printable [value: any]: nothing -> any {
    match ($value | describe --detailed).type {
        string => { $value | plain }
        record => {
            $value | items {|key, cell|
                { key: $key cell: (if $key == line and ($cell | describe) == string { $cell | coloured } else { make-printable $cell }) }
            } | reduce --fold {} {|it, row| $row | merge { ($it.key | plain): $it.cell } }
        }
        list | table => { $value | each {|item| make-printable $item } }
        _ => { $value }
    }
}
