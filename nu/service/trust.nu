# `service trust`: which files may start something by themselves.

use place.nu

# Let the services.toml of this project start services when a shell enters its directory, as long as it stays as it is.
#
# Only `service hook` asks for it. The file is remembered by a hash of its content: after any change it has to be trusted
# anew. What it names, programs and env files, is not looked at.
@category service
@search-terms hook direnv allow auto
@example "after reading it" "service trust"
@example "not any more" "service trust --revoke"
export def main [
    --revoke # forget it
    --list # every file that is trusted
]: nothing -> any {
    let store = place trusted
    let all = if ($store | path exists) { open $store } else { [] }
    if $list { return ($all | insert current {|row| (is-trusted $row.file) }) }
    let file = place project $env.PWD
    if $file == null {
        error make --unspanned {
            msg: $"no services.toml in `($env.PWD)` or above it"
            code: "service::no_project"
            help: "go to a project first"
        }
    }
    let others = $all | where file != $file
    let row = { file: $file hash: (digest $file) since: (date now) }
    (if $revoke { $others } else { $others | append $row }) | to nuon | place keep $store
    { file: $file trusted: (not $revoke) hash: $row.hash }
}

# Whether this file, as it is now, is trusted.
export def is-trusted [file: string]: nothing -> bool {
    let rows = try { open (place trusted) } catch { return false }
    let hash = digest $file
    $rows | any {|row| $row.file == $file and $row.hash == $hash }
}

# What a file is known by.
export def digest [file: string]: nothing -> string {
    open --raw $file | hash sha256
}
