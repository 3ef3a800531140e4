# The selection of services: words, strings, lists, rows, closures, and refused input.

use support.nu *

const PAIR = '
[services.web-app]
start_command = "TEST_SERVICE"
[services.db]
start_command = "TEST_SERVICE say hello"
'

export def "test the pipe accepts names in every form" [] {
    define $PAIR
    equal ("db" | service start | get name) [db]
    equal ([db web-app] | service start | get name | sort) [db web-app]
    equal ({ name: db other: 1 } | service status | get name) [db]
    equal (service status | where name == db | service restart | get action) [restarted]
    eventually "the log has the line" { service logs db | is-not-empty }
    equal (service logs db | first | service status | get name) [db]
    equal ([db web-app] | each {|name| service status $name } | flatten | get name) [db web-app]
    equal ([db] | par-each { service status } | flatten | get name) [db]
}

export def "test an empty pipe selects no service" [] {
    define $PAIR
    service start --all | ignore
    equal ([] | service stop | length) 0
    equal (service status | where state == failed | service restart | length) 0
    for empty in [([] | service start) ([] | service status) ([] | service logs) ([] | service health) ([] | service list)] {
        equal ($empty | length) 0
    }
    equal (service status | where state == ready | length) 2
}

export def "test an ambiguous selection is refused" [] {
    define $PAIR
    equal (code-of { service start }) "service::no_names"
    equal (code-of { service stop --all db }) "service::ambiguous_input"
    equal (code-of { "db" | service start web-app }) "service::ambiguous_input"
    equal (code-of { 5 | service start }) "service::no_names"
    equal (code-of { [[nam]; [db]] | service start }) "service::bad_row"
}

export def "test the item of a closure does not contradict names" [] {
    define $PAIR
    service start db | ignore
    for item in [1 1.5 true 1sec 1kb 2020-01-01 1..2 [1 2] { other: 1 }] {
        equal ([$item] | each { service status db | get 0.name }) [db]
        equal ([$item] | each { service wait db --timeout 20sec | get 0.name }) [db]
        equal ([$item] | each { service why db | get name }) [db]
    }
    equal ([10min 1hr] | each {|ago| service logs db --since $ago | length }) [1 1]
    equal (1..20 | par-each { service wait db --timeout 20sec | get 0.name } | uniq) [db]
    equal ([db { name: web-app }] | service status | get name) [db web-app]
    equal ([ready running] | each {|state| service wait db --for $state --timeout 20sec | get 0.name }) [db db]
    equal ([[path]; [nowhere]] | get path | each {|word| service start db | get 0.action }) [unchanged]
    for strange in [true 1.5 [db null] [1 2]] { equal (code-of { $strange | service status }) "service::bad_row" }
    for unknown in [{ { path: x } | service status } { "nobody" | service status } { "nobody" | service list } { "nobody" | service logs }] {
        holds ((help-of $unknown) =~ "null \\| service") "the help has the remedy"
    }
    holds ((help-of { service status nobody }) !~ "null \\| service") "the hint about closures is only for piped input"
}

export def "test the error of a wrong name suggests the right one" [] {
    define $PAIR
    for wrong in [{ service start web-ap } { service status web-ap } { service list web-ap } { service logs web-ap } { service health web-ap }] {
        equal (code-of $wrong) "service::not_found"
        holds ((error-of $wrong).rendered =~ "did you mean `web-app`") "the similar name is suggested"
    }
}

export def "test a time in the future is refused" [] {
    define $PAIR
    for ahead in [{ service logs --since -5sec } { service events --since -5sec } { service history --since -5sec } { service events --since -1 }] {
        equal (code-of $ahead) "service::bad_request"
    }
}

export def "test the error of an invalid file has the line" [] {
    define "[services.web]\nstart_comand = 'true'"
    let error = error-of { service start web }
    equal (code-of { service start web }) "service::bad_definition"
    holds ($error.rendered =~ "services.toml:2:1") "the place is shown"
    holds (2 in (service check | where severity == error).line) "the line is in the table"
    equal (code-of { service check --strict }) "service::bad_definition"
}

export def "test the error of a mistyped command suggests the right one" [] {
    equal (code-of { service strat }) "service::unknown_subcommand"
    holds ((error-of { service strat web }).rendered =~ "did you mean `service start`") "the similar name is suggested"
    holds ((error-of { service xyzzy }).rendered =~ "\\^service") "the help names the system's tool"
    holds (service | is-not-empty) "without arguments it lists the commands"
}

export def "test help service is a manual" [] {
    let manual = scope commands | where name == service and type in [plugin custom] | get 0.extra_description
    holds ($manual =~ "(?s)\\[services.database\\].*\n  service start web-app .*\n  service why web-app ") "the manual has each line"
}

export def "test the item of a closure is not an input" [] {
    define $PAIR
    equal ([1 2] | each {|it| service check | length }) [0 0]
    equal ([1 2] | each {|it| service plan --all | length }) [2 2]
    equal (["x"] | each {|it| service daemon status | get services_running }) [0]
    equal ([{ a: 1 }] | each {|it| service projects | length }) [1]
}

export def "test outside of a project each command fails with no_project" [] {
    equal (code-of { service status }) "service::no_project"
    equal (code-of { service list --config nowhere.toml }) "service::no_project"
    mkdir services.toml
    for command in [{ service status } { service start a }] {
        holds ((error-of $command).msg | str ends-with "services.toml` is a directory, not a file") "the directory is named"
        holds (help-of $command | str starts-with "rename it, then run `service init`") "the help names the way out"
    }
}

export def "test a command accepts a named file" [] {
    define $PAIR
    mkdir elsewhere
    cd elsewhere
    equal (service list | length) 2
    cd /
    equal (code-of { service list }) "service::no_project"
    equal (service list --config ($env.HOME | path join ../project) | length) 2
    $env.SERVICES_CONFIG = ($env.HOME | path join ../project/services.toml)
    equal (service list | length) 2
}
