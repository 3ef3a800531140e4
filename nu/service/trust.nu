# `service trust`: which files may start something by themselves.

use ../service-http/trusted.nu
use place.nu

# Trust the services.toml of this project, as long as it stays as it is.
#
# A file of somebody else's may be used then, what it says is asked by commands that only look, and `service hook` starts services
# when a shell enters its directory. The file is remembered by a hash of its content and of the manager modules that it names:
# after any change it has to be trusted anew. The programs and env files that it names are not looked at.
@category service
@search-terms hook direnv allow auto
@example "after reading it" "service trust"
@example "not any more" "service trust --revoke"
export def main [
    --revoke # forget it
    --list # every file that is trusted
]: nothing -> any {
    let all = trusted rows
    if $list { return ($all | each {|row| { file: $row.file hash: $row.hash since: ($row.since | into datetime) current: (trusted is-trusted $row.file) } }) }
    let file = place project $env.PWD
    if $file == null {
        error make --unspanned {
            msg: $"no services.toml in `($env.PWD)` or above it"
            code: "service::no_project"
            help: "go to a project first"
        }
    }
    let others = $all | where file != $file
    let row = { file: $file ...(trusted digest $file) since: (date now) }
    (if $revoke { $others } else { $others | append $row }) | to json | place keep (trusted store)
    { file: $file trusted: (not $revoke) hash: $row.hash }
}
