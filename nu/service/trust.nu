# `service trust`: the files that the hook and read-only commands may run.

use ../service-http/printable.nu
use ../service-http/trusted.nu
use hook.nu
use paths.nu

# Trust the present content of the project's services.toml.
#
# Every command then uses the file, also if it belongs to another user. Read-only commands run its managers and checks.
# `service hook` starts services when a shell enters the directory, and at once if this shell has the hook and is inside.
#
# The trust covers the content of the file and of the manager modules it names. After any change, trust the file again. The trust
# does not cover the programs and env files that the file names.
@category service
@search-terms hook direnv allow auto
@example "after you have read the file" "service trust"
@example "withdraw the trust" "service trust --revoke"
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
    (if $revoke { $others } else { $others | append $row }) | to json | paths save-private (trusted store)
    # This shell is inside the directory already, so the hook runs now.
    if not $revoke and $env.SERVICE_HOOK_INSIDE? == $file { hook enter $file }
    { file: ($file | printable plain) trusted: (not $revoke) hash: $row.hash }
}
