# `service trust`: the files that may run something on their own.

use ../service-http/printable.nu
use ../service-http/trusted.nu
use hook.nu
use paths.nu

# Trust the present content of the project's services.toml.
#
# Every command then uses the file, also if it belongs to another user, read-only commands run its managers and checks, and
# `service hook` starts services when a shell enters its directory; at once if this shell has the hook and is inside. The trust
# is for a hash of the file and of the manager modules it names: after any change it has to be renewed. The programs and env
# files that the file names are not covered.
@category service
@search-terms hook direnv allow auto
@example "after reading it" "service trust"
@example "not any more" "service trust --revoke"
export def --env "service trust" [
    --revoke # withdraw the trust
    --list # list all trusted files
]: nothing -> any {
    let all = trusted rows
    if $list { return ($all | each {|row| { file: ($row.file | printable plain) since: ($row.since | into datetime) current: (trusted is-trusted $row.file) } }) }
    let file = paths project $env.PWD
    if $file == null {
        error make --unspanned {
            msg: $"no services.toml in `($env.PWD | printable plain)` or above it"
            code: "service::no_project"
            help: "change to the directory of a project first"
        }
    }
    let others = $all | where file != $file
    let row = { file: $file ...(trusted digest $file) since: (date now) }
    (if $revoke { $others } else { $others | append $row }) | to json | paths keep (trusted store)
    # The shell is already inside, so the hook runs now.
    if not $revoke and $env.SERVICE_HOOK_INSIDE? == $file { hook enter $file }
    { file: ($file | printable plain) trusted: (not $revoke) hash: $row.hash }
}
