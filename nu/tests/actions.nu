# Actions: starts in order, stops of whole process trees, restarts with dependents, plans and applies.

use support.nu *

const CHAIN = '
[services.db]
start_command = "TEST_SERVICE"
[services.cache]
start_command = "TEST_SERVICE"
dependencies = ["db"]
[services.web]
start_command = "TEST_SERVICE"
dependencies = ["cache"]
[services.lone]
start_command = "TEST_SERVICE"
'

export def "test a start also starts dependencies" [] {
    define $CHAIN
    let rows = service start web
    equal ($rows | types) { name: string ok: bool action: string status: string health: string took: duration error: nothing }
    equal ($rows | select name ok action) [[name ok action]; [db true started] [cache true started] [web true started]]
    equal (service start web | get action | uniq) [unchanged]
    equal (service status lone | get 0.state) stopped
}

export def "test a stop also stops dependents" [] {
    define $CHAIN
    service start --all | ignore
    equal (service stop db | get name) [web cache db]
    equal (service status | where state == ready | get name) [lone]
    equal (service start db | get name) [db]
    equal (service stop db --no-dependents | get name) [db]
}

export def "test a restart starts the dependents again" [] {
    define $CHAIN
    service start web | ignore
    let before = service status web | get 0.pid
    service restart db | ignore
    equal (service status db cache web | get state | uniq) [ready]
    holds ((service status web | get 0.pid) != $before) "another process runs"
}

export def "test an unused daemon exits and the next command starts another" [] {
    define $"[orchestrator]\nidle_timeout = \"1s\"\n($CHAIN)"
    service start lone | ignore
    service stop lone | ignore
    let daemon = service daemon status | get pid
    eventually "the daemon exits" { not ($"/proc/($daemon)/exe" | path exists) }
    equal (service daemon status | get running) false
    let lone = service status lone --long | first
    equal ($lone | select status restarts) { status: stopped restarts: 0 }
    equal (service start lone | get action) [started]
}

export def "test services outlive their daemon" [] {
    define $CHAIN
    service start lone | ignore
    let pid = service status lone | get 0.pid
    let daemon = service daemon status
    equal ([$daemon] | types) {
        running: bool version: string pid: int socket: string project: string uptime: duration services_running: int
        listen: nothing unit: nothing log: string
    }
    service daemon stop | ignore
    let none = service daemon status
    equal ($none | select running pid project) { running: false pid: null project: $daemon.project }
    holds ($none.log | path exists) "the record has the log"
    equal ($none | columns) ($daemon | columns)
    equal (code-of { service status --no-start }) "service::daemon_unreachable"
    equal (service status lone | get 0.pid) $pid
    holds ((service daemon restart).pid != $daemon.pid) "another daemon answers"
    equal (service status lone --no-start | get 0.pid) $pid
}

export def "test a partial failure is a row and a total failure is an error" [] {
    define '
[services.good]
start_command = "TEST_SERVICE"
[services.bad]
start_command = "TEST_SERVICE exit 3"
restart = "no"
'
    let rows = service start good bad
    equal ($rows | where ok | get name) [good]
    holds ($rows | where not ok | get 0.error | str contains "exited with code 3") "the row has the reason"
    let error = error-of { service start bad }
    equal (code-of { service start bad }) "service::start_failed"
    holds ($error.msg =~ "cannot start `bad`") "the error names the service"
    equal (code-of { service start good bad --strict }) "service::start_failed"
}

export def "test the error of several failures has the cause, log and help of each" [] {
    define '
[services.a]
start_command = "TEST_SERVICE say boomA exit 3"
restart = "no"
[services.b]
start_command = "./missing"
'
    for error in [(error-of { service start --all }) (error-of { service start b a })] {
        for part in ["cannot start `a`: exited with code 3" "  | boomA" "cannot start `b`: program `./missing` does not exist" "help: correct `start_command` in [services.b]"] {
            holds ($part in $error.msg) $"`($part)` is in ($error.msg)"
        }
    }
    for error in [(error-of { service start b a --timeout 0sec }) (error-of { service start --all --timeout 0sec })] {
        for name in [a b] { holds ($"`($name)`" in $error.msg) $"`($name)` is in ($error.msg)" }
    }
}

export def "test a wait ends at the timeout" [] {
    define '
[services.slow]
start_command = "TEST_SERVICE"
health_check_endpoint = "exec:false"
ready = { timeout = "10min" }
'
    equal (code-of { service start slow --timeout 100ms }) "service::timeout"
    equal (service start slow --no-wait | get action) [starting]
    equal (service stop --all | where ok | get name) [slow]
}

export def "test a changed file is planned and applied" [] {
    define $CHAIN
    service start web | ignore
    define ($CHAIN | str replace "[services.cache]\nstart_command = \"TEST_SERVICE\"" "[services.cache]\nstart_command = \"TEST_SERVICE say new\"")
    equal (service plan | where change != none) [[service change because affects]; [cache restart start_command web]]
    holds (service apply | all {|row| $row.ok }) "each change was made"
    equal (service plan | where change != none) []
}

export def "test a restart that cannot succeed stops no service" [] {
    define '
[services.db]
start_command = "TEST_SERVICE"
working_dir = "data"
[services.web]
start_command = "./web"
dependencies = ["db"]
'
    mkdir data
    "#!/bin/sh\nexec sleep 1000\n" | save web
    chmod +x web
    service start web | ignore
    let before = service status | get pid
    rm --recursive data web
    let error = error-of { service restart db }
    for part in ["cannot restart `db`: working directory `" "nothing was stopped" "services.toml:4:15" "cannot start `web`: program `./web` does not exist" "help: build or install it"] {
        holds ($error.msg | str contains $part) $"`($part)` is in ($error.msg)"
    }
    equal (code-of { service restart db }) "service::start_failed"
    equal (service status | get pid) $before
    define (open --raw services.toml | str replace "working_dir" "env = { A = '1' }\nworking_dir")
    let plan = service plan
    equal ($plan | get service) [db]
    holds ($plan.0.warning | str contains "`web`, which would restart too, could not start") $plan.0.warning
    equal (code-of { service apply }) "service::start_failed"
    equal (service status | get pid) $before
}

export def "test a service gets the same variables as a program of the shell" [] {
    $env.ENV_CONVERSIONS = ($env.ENV_CONVERSIONS? | default {} | merge {
        MODPATH: { from_string: {|text| $text | split row (char esep) } to_string: {|dirs| $dirs | str join (char esep) } }
    })
    $env.MODPATH = [/a /b]
    $env.PORT = 8080
    $env.UNTOLD = [only nushell knows]
    define "
[services.show]
start_command = \"env\"
oneshot = true
"
    service start show | ignore
    let lines = service logs show --tail 1000 | get line
    for line in ["MODPATH=/a:/b" "PORT=8080"] { holds ($line in $lines) $"($line) is there" }
    holds ($lines | all {|line| $line !~ '^(UNTOLD|ENV_CONVERSIONS)=' }) "values that are not text stay in the shell"
}
