# Waits: wait, why, and followed streams.

use support.nu *

const SERVICES = '
[services.web]
start_command = "TEST_SERVICE say one wait 100 say two"
[services.late]
start_command = "TEST_SERVICE"
dependencies = ["slow"]
[services.slow]
start_command = "TEST_SERVICE"
health_check_endpoint = "exec:test -e go"
ready = { timeout = "10min" }
[services.bad]
start_command = "TEST_SERVICE exit 3"
restart = "no"
'

export def "test a wait ends at the state" [] {
    define $SERVICES
    service start late --no-wait | ignore
    equal (code-of { service wait late --timeout 100ms }) "service::timeout"
    touch go
    equal (service wait late slow --timeout 20sec | select name state) [[name state]; [late ready] [slow ready]]
    equal (service wait { $in.late.state == ready and $in.late.restarts == 0 } --timeout 20sec | length) 4
    service stop late | ignore
    job spawn { service start late | ignore }
    equal (service wait late { $in.late.uptime > 1ms } --timeout 20sec | get name) [late]
    equal ([late] | service wait --for healthy | get health) [alive]
    equal ([] | service wait | length) 0
}

export def "test a wait for an unreachable state fails at once" [] {
    define $SERVICES
    equal (code-of { service wait web }) "service::never"
    try { service start bad }
    equal (code-of { service wait bad --timeout 20sec }) "service::never"
    equal (code-of { service wait { false } --timeout 200ms }) "service::timeout"
    equal (code-of { service wait web --for perfect }) "service::bad_request"
    equal (code-of { service wait { 3 } }) "service::bad_request"
    equal (code-of { service wait }) "service::no_names"
    equal (code-of { service wait wbe }) "service::not_found"
}

export def "test why explains the state" [] {
    define $SERVICES
    service start late --no-wait | ignore
    eventually "the service waits for its dependency" { (service why late).waits_for.service? == slow }
    let why = service why late
    equal ($why | columns) [
        name summary goal state health since waits_for last_check exit port_holder next_retry log help
    ]
    equal ($why.waits_for | select condition state) { condition: ready state: starting }
    equal ($why.waits_for.waiting | describe) duration
    try { service start bad }
    holds ((service why bad).exit =~ "3") "the exit code is shown"
    equal ("bad" | service why | get state) failed
    equal (service why | get name | sort) [bad late slow]
    holds ((service why | where name == bad | get 0.help) =~ "service start bad") "the next step is shown"
    equal ([] | service why) []
    equal (code-of { service why bad web }) "service::bad_request"
    equal (code-of { service why wbe }) "service::not_found"
}

export def "test logs are followed" [] {
    define $SERVICES
    service start web | ignore
    equal (service logs web --follow | first 2 | get line) [one two]
    equal (service logs --follow --tail 1 | first 1 | types) { time: datetime service: string stream: string line: string }
    equal (code-of { service logs wbe --follow | first }) "service::not_found"
}

export def "test logs of a manager are followed" [] {
    define '
[services.lamp]
manager = "lamp.nu"
'
    '
export def start [] { {state: running} }
export def stop [] { {state: stopped} }
export def status [] { {state: running} }
export def logs [] { open --raw ($in.working_dir | path join log) | lines | each {|line| {line: $line time: ($line | into datetime)} } }
' | save lamp.nu
    "2026-01-01T00:00:01Z\n" | save log
    service start lamp | ignore
    let lines = service logs lamp --follow
    | each {|row| if $row.line =~ '01Z' { "2026-01-01T00:00:01Z\n2026-01-01T00:00:02Z\n" | save --append log }; $row.line }
    | first 3
    equal $lines ["2026-01-01T00:00:01Z" "2026-01-01T00:00:01Z" "2026-01-01T00:00:02Z"]
}

export def "test events are followed from a number on" [] {
    define $SERVICES
    service start web | ignore
    let first = service events | first | get seq
    let rows = service events --follow --since $first | first 3
    equal $rows.seq [($first + 1) ($first + 2) ($first + 3)]
    equal (code-of { service events --follow --since 999999 | first }) "service::gap"
    equal (code-of { service events wbe --follow | first }) "service::not_found"
}

export def "test events are followed across the end of a daemon" [] {
    define $SERVICES
    service start web | ignore
    let first = service events | last | get seq
    job spawn {
        service daemon restart | ignore
        service daemon restart | ignore
        service restart web | ignore
    }
    let rows = service events --follow --since $first | take until {|it| $it.to == ready } | collect
    equal $rows.seq (1..($rows | length) | each {|nth| $first + $nth })
    equal ($rows | where event == daemon and to == ended | length) 2
    equal (service events web --follow --since $first | first | get service) web
}

export def "test rows of a start arrive one by one" [] {
    define $SERVICES
    # The second row cannot come before the first, because its service waits for a file that the first row's consumer writes.
    let rows = service start web slow --timeout 20sec | each {|row| touch go; $row } | collect
    equal ($rows | select name ok) [[name ok]; [web true] [slow true]]
}
