# Queries: the columns and types of every table. Queries start nothing.

use support.nu *

const PAIR = '
[services.db]
description = "keeps"
start_command = "TEST_SERVICE say hello moan ouch"
[services.web]
start_command = "TEST_SERVICE"
dependencies = ["db"]
auto = true
'

export def "test definitions are read without a daemon" [] {
    define $PAIR
    equal (service list | types) {
        name: string description: string dependencies: "list<any>" manager: string start_command: string
        stop_command: nothing health_check_endpoint: nothing origin: string auto: bool
    }
    equal (service list web | get 0.dependencies) [db]
    equal (service list | where auto | get name) [web]
    equal (service order | select step name level) [[step name level]; [1 db 0] [2 web 1]]
    equal (service graph web | select name dependents state) [[name dependents state]; [db [web] stopped] [web [] stopped]]
    equal (service check | length) 0
    equal (service events | length) 0
    holds (not (has-daemon)) "no daemon was started"
}

export def "test a graph is drawn" [] {
    define $PAIR
    service start db | ignore
    equal (service graph --format tree) "web  ○ stopped\n└─ db  ● ready\n"
    holds ((service graph web --format mermaid) =~ 'n1 -->\|"ready"\| n0') "the edge is drawn"
    holds ((service graph --format dot) =~ '"web" -> "db"') "the edge is drawn"
    equal (code-of { service graph --format png }) "service::bad_request"
    equal ([] | service graph --format tree) ""
}

export def "test a status has typed columns" [] {
    define $PAIR
    service start web | ignore
    equal (service status | types) {
        name: string status: string state: string health: string pid: int uptime: duration memory: filesize restarts: int
    }
    equal (service status --long db | columns | skip 8) [
        reason cpu since exit_code exit_signal memory_limit cpu_limit limits dependencies command cwd log id project
    ]
    equal (service status --long db | types | select since cwd dependencies project) {
        since: datetime cwd: string dependencies: "list<any>" project: string
    }
    equal (service status | where uptime < 1hr and memory > 1kb | sort-by memory | length) 2
    equal (service status | group-by state | columns) [ready]
}

export def "test a status of stopped services has the same columns" [] {
    define $PAIR
    equal (service status db) [
        [name status state health pid uptime memory restarts]; [db stopped stopped none null null null 0]
    ]
}

export def "test managers are listed with their commands" [] {
    define $PAIR
    let rows = service managers
    equal ($rows | columns) [name commands present program version services contract module message]
    equal ($rows | where name == command | select commands services contract | first) {
        commands: "start, status, status all, stop" services: 0 contract: 1
    }
    equal ($rows | where name == systemd | get 0.program | path basename) systemctl
}

export def "test types survive a round trip" [] {
    define $PAIR
    service start web | ignore
    let rows = service status
    equal ($rows | to nuon | from nuon) $rows
    equal ($rows | to json | from json | get uptime | each { describe }) [int int]
    holds (($rows | to csv) =~ "name,status,state") "csv has the columns"
}

export def "test health is checked now" [] {
    define $PAIR
    service start db | ignore
    equal (service health db | types) {
        name: string healthy: bool kind: string message: string latency: duration checked: datetime endpoint: nothing
    }
    equal (service health | select name healthy) [[name healthy]; [db true] [web null]]
}

export def "test logs have rows and text" [] {
    define $PAIR
    service start db | ignore
    eventually "the log has both lines" { (service logs db | length) == 2 }
    equal (service logs | types) { time: datetime service: string stream: string line: string }
    equal (service logs db | where stream == stderr | get line) [ouch]
    equal (service logs db --raw | lines | sort) [hello ouch]
    equal (service logs db --tail 1 | length) 1
    equal (service logs db --since 1hr | length) 2
    equal (service logs db --since (date now) | length) 0
}

export def "test events and history have the changes" [] {
    define $PAIR
    service start web | ignore
    let events = service events
    equal ($events | types) {
        seq: int time: datetime service: string event: string from: string to: string reason: string
    }
    equal ($events | where event == state and to == ready | get service) [db web]
    let last = $events | last | get seq
    service stop web | ignore
    equal (service events --since $last | where event == state | get to | last) stopped
    equal (service history web | where kind == state | columns) [
        time service kind from to run healthy latency exit_code exit_signal message
    ]
    equal (service history --starts | select service waited_for result) [
        [service waited_for result]; [db null ready] [web db ready]
    ]
    equal (service history --starts | types | select waited took began) { waited: duration took: duration began: datetime }
}

export def "test fifty concurrent requests succeed" [] {
    define $PAIR
    service start web | ignore
    equal (1..50 | par-each { null | service status web | get 0.state } | uniq) [ready]
}

export def "test tail all returns all lines of a log" [] {
    define "[services.many]\nstart_command = \"seq 150\"\noneshot = true\n"
    service start many | ignore
    eventually "all lines are there" { (service logs many --tail all | where stream == stdout | length) == 150 }
    equal (service logs many --raw | lines | length) 100
    equal (service logs many --tail all --raw | lines | length) 150
    equal (service logs many --tail all | where line == "7" | length) 1
    equal (code-of { service logs many --tail few }) "service::bad_request"
    equal (code-of { service logs many --tail (-1) }) "service::bad_request"
}

export def "test times are in the zone of this machine" [] {
    define $PAIR
    service start db | ignore
    let zone = date now | format date "%z"
    equal (service events | get time | each { format date "%z" } | uniq) [$zone]
}

export def "test the error of a mistyped command suggests a similar one" [] {
    for case in [[said meant]; [statsu status] [ps status] [ls list] [strat start]] {
        holds ((help-of { service $case.said }) =~ $"`service ($case.meant)`") $case.said
    }
    for odd in [cat env scale port clean help reset-failed] {
        holds ((help-of { service $odd }) !~ "did you mean") $odd
    }
}

export def "test events and history have a tail" [] {
    define $PAIR
    service start db | ignore
    service stop db | ignore
    let events = service events
    equal (service events --tail 2) ($events | last 2)
    equal (service events --since 0 --tail 1) ($events | last 1)
    equal (service events --tail 0) []
    let history = service history
    equal (service history --tail 2 | get seq?) ($history | last 2 | get seq?)
    equal (service history --starts --tail 1 | length) 1
    equal (code-of { service events --tail (-1) }) "service::bad_request"
    equal (code-of { service events --tail 1 --follow }) "service::bad_request"
    equal (code-of { service history --tail (-1) }) "service::bad_request"
}
