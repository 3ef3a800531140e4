# `service trust`: which files may start something by themselves.

use ../service-http/printable.nu
use ../service-http/trusted.nu
use hook.nu
use place.nu

# Trust the services.toml of this project, as long as it stays as it is.
#
# A file of somebody else's may be used then, what it says is asked by commands that only look, and `service hook` starts services
# when a shell enters its directory; at once if this shell has the hook and is inside. The file is remembered by a hash of its content and of the manager modules that it names:
# after any change it has to be trusted anew. The programs and env files that it names are not looked at.
@category service
@search-terms hook direnv allow auto
@example "after reading it" "service trust"
@example "not any more" "service trust --revoke"
export def --env "service trust" [
    --revoke # forget it
    --list # every file that is trusted
]: nothing -> any {
    let all = trusted rows
    if $list { return ($all | each {|row| { file: ($row.file | printable plain) since: ($row.since | into datetime) current: (trusted is-trusted $row.file) } }) }
    let file = place project $env.PWD
    if $file == null {
        error make --unspanned {
            msg: $"no services.toml in `($env.PWD | printable plain)` or above it"
            code: "service::no_project"
            help: "go to a project first"
        }
    }
    let others = $all | where file != $file
    let row = { file: $file ...(trusted digest $file) since: (date now) }
    (if $revoke { $others } else { $others | append $row }) | to json | place keep (trusted store)
    # The shell is inside already, and told so.
    if not $revoke and $env.SERVICE_HOOK_INSIDE? == $file { hook enter $file }
    { file: ($file | printable plain) trusted: (not $revoke) hash: $row.hash }
}
