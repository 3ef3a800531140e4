# The daemon of another machine: here that of another directory, reached over TCP.

use support.nu *

const FAR = '
[orchestrator.api]
listen = "127.0.0.1:0"
[services.far]
start_command = "TEST_SERVICE say hello"
[services.further]
start_command = "TEST_SERVICE"
dependencies = ["far"]
'

export def "test commands reach the configured daemon" [] {
    define $FAR
    service status | ignore
    eventually "the daemon listens" {|| (service daemon status).listen | str starts-with http: }
    let far = service daemon status
    let tokens = service status --long | get 0.log | path dirname | path dirname | path dirname | path join tokens
    mkdir elsewhere
    cd elsewhere
    "" | save services.toml
    $env.config.plugins.service = { url: $far.listen token_file: ($tokens | path join admin) }
    equal (service start further | where ok | get name) [far further]
    equal (service status | get name) [far further]
    equal (service list | get name) [far further]
    equal (service order | get name) [far further]
    equal (service logs far | where stream == stdout | get line) [hello]
    equal (service wait far | get name) [far]
    equal (service why far | get state) ready
    equal (service daemon status | get pid) $far.pid
    holds (service events | any {|it| $it.service == far }) "the events are those of the remote daemon"
    equal (service events --since 0 --follow | first | get seq) 1
    equal (service stop further | where ok | get name) [further]
    equal (code-of { service daemon restart }) "service::remote"
    equal (service list --config services.toml) []
    $env.config.plugins.service.token_file = ($tokens | path join read)
    equal (service status far | get state) [ready]
    equal (code-of { service stop far }) "service::forbidden"
    equal (code-of { service logs far }) "service::forbidden"
    "0000000000000000000000000000000000000000000000000000000000000000" | save wrong
    ^chmod 600 wrong
    $env.config.plugins.service.token_file = "wrong"
    equal (code-of { service status }) "service::unauthorized"
    ^chmod 644 wrong
    equal (code-of { service status }) "service::unauthorized"
    $env.config.plugins.service = { url: "http://127.0.0.1:1" token_file: ($tokens | path join read) }
    equal (code-of { service status }) "service::daemon_unreachable"
    $env.config.plugins.service = { url: "http://127.0.0.1/x" token_file: ($tokens | path join read) }
    equal (code-of { service status }) "service::bad_request"
    hide-env --ignore-errors SERVICES_CONFIG
    $env.config.plugins.service = {}
    holds (not (has-daemon)) "no daemon was started here"
}
