# The colour of each state, for `watch`, `top`, `prompt` and `paint`.

# The colour of a state, a status or a health, as a name of `ansi`; null for any other word.
export def style [word: string]: nothing -> any {
    match $word {
        ready | running | healthy | alive => "green"
        waiting | starting | stopping | pending | unknown => "yellow"
        failed | backoff | unhealthy => "red_bold"
        stopped | completed | none => "dark_gray"
        _ => null
    }
}

# Colours the cells of these columns. The result is for display only, because `where` does not match coloured words.
export def coloured [...columns: string]: table -> table {
    let rows = $in
    $columns | reduce --fold $rows {|column, rows|
        $rows | update $column {|row|
            let style = style ($row | get $column)
            if $style == null { $row | get $column } else { $"(ansi $style)($row | get $column)(ansi reset)" }
        }
    }
}
