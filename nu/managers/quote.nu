# Quotes text of other programs within an error message.

# The text between “ and ”, which it cannot contain itself; nothing stays nothing.
export def main []: string -> string {
    let text = $in
    if ($text | is-empty) { return $text }
    let inner = $text | str replace --all --regex '[“”]' (char double_quote)
    $"“($inner)”"
}
