# Converts records to the keys of a definition in the form of services.toml: durations become text, sizes become bytes.

use problem.nu

# A value in the form of services.toml.
export def main [span: record]: any -> any {
    let value = $in
    # An error inside `each` would lose its code, so `reduce` is used.
    match ($value | describe --detailed | get type) {
        "record" => ($value | columns | reduce --fold {} {|key, all| $all | insert $key ($value | get $key | main $span) })
        "list" => ($value | reduce --fold [] {|item, all| $all ++ [($item | main $span)] })
        "duration" => (duration ($value | into int))
        "filesize" => ($value | into int)
        "nothing" | "bool" | "int" | "float" | "string" | "glob" => $value
        $kind => {
            problem raise { code: bad_definition message: $"cannot write a ($kind) into a definition" } $span
        }
    }
}

# In the largest whole unit, so that a message shows the value as the user wrote it.
def duration [nanoseconds: int]: nothing -> string {
    if $nanoseconds mod 1_000_000_000 == 0 {
        $"($nanoseconds // 1_000_000_000)s"
    } else if $nanoseconds mod 1_000_000 == 0 {
        $"($nanoseconds // 1_000_000)ms"
    } else {
        $"($nanoseconds)ns"
    }
}
