# Quotes text of other programs within an error message.

# The text between “ and ”; such marks inside the text are replaced. An empty text stays empty.
export def main []: string -> string {
    let text = $in
    if ($text | is-empty) { return $text }
    let inner = $text | str replace --all --regex '[“”]' (char double_quote)
    $"“($inner)”"
}
