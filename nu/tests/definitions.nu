# Services that no file defines: run, add, remove; and the creation of a project.

use support.nu *

const DB = '
[services.db]
start_command = "TEST_SERVICE"
'

export def "test a command line runs as a service of its own" [] {
    define $DB
    let rows = service run --name tunnel $env.TEST_SERVICE_PROGRAM say hello
    equal ($rows | types) { name: string ok: bool action: string status: string health: string took: duration error: nothing }
    equal ($rows | select name action) [[name action]; [tunnel started]]
    equal (service list | select name origin) [[name origin]; [db file] [tunnel transient]]
    mkdir below
    equal (service run -e { COLOUR: blue } --working-dir below --restart "no" $"'($env.TEST_SERVICE_PROGRAM)'" | get name) [test_service]
    let status = service status test_service --long | first
    equal $status.cwd ($env.PWD | path join below)
    holds ((open --raw $"/proc/($status.pid)/environ" | decode utf-8) =~ "COLOUR=blue") "the variable is set"
    equal (service run --oneshot --name words printf "<%s>" "a b" true 5 | get ok) [true]
    eventually "the service has written the file" { (service logs words --raw) =~ "<a b><true><5>" }
    equal (service remove tunnel test_service words | get action) [removed removed removed]
}

export def "test the error of a refused run has a remedy" [] {
    define $DB
    equal (code-of { service run }) "service::no_command"
    let error = error-of { service run $"'($env.TEST_SERVICE_PROGRAM)' exit 0" }
    holds ($error.rendered =~ "--oneshot") "the flag is named"
    let error = error-of { service run no-such-program-anywhere }
    equal (code-of { service run no-such-program-anywhere }) "service::start_failed"
    holds ($error.rendered =~ "PATH") "the error names the searched directories"
    equal (code-of { service run --name db "sleep 1" }) "service::name_taken"
    equal (code-of { service run --memory-limit 1b "sleep 1" }) "service::bad_definition"
    holds ((error-of { service run --memory-limit 1b "sleep 1" }).msg =~ "`memory_limit` should be") "the key is named"
    equal (code-of { service run --timeout -1sec "sleep 1" }) "service::bad_request"
}

export def "test records become services and are removed" [] {
    define $DB
    let rows = [
        { name: b start_command: [$env.TEST_SERVICE_PROGRAM] dependencies: [a] stop_timeout: 3sec user: null }
        { name: a start_command: [$env.TEST_SERVICE_PROGRAM] health: { interval: 500ms } memory_limit: 1gb }
    ]
    equal ($rows | service add | select name action) [[name action]; [b added] [a added]]
    equal ($rows | service add | get action) [unchanged unchanged]
    equal ($rows | get 1 | service add | get action) [unchanged]
    equal ([] | service add | length) 0
    equal (service start b | get name) [a b]
    equal (code-of { service remove a }) "service::bad_request"
    equal (code-of { service remove db }) "service::bad_request"
    equal (code-of { service remove bb }) "service::not_found"
    equal (code-of { service remove }) "service::no_names"
    equal ([] | service remove | length) 0
    equal (service list | where origin == added | service remove | get action | uniq) [removed]
    equal (service list | get name) [db]
}

export def "test one invalid definition refuses the whole add" [] {
    define $DB
    equal (code-of { [{ name: a start_command: x } { name: b start_command: x restart: sometimes }] | service add }) "service::bad_definition"
    equal (code-of { { name: db start_command: x } | service add }) "service::name_taken"
    equal (code-of { { start_command: x } | service add }) "service::bad_definition"
    equal (code-of { { name: a start_command: x description: (date now) } | service add }) "service::bad_definition"
    equal (service list | get name) [db]
}

export def "test without a file a command runs in the project of the user" [] {
    equal (service run --name lonely $"'($env.TEST_SERVICE_PROGRAM)'" | get ok) [true]
    let own = $env.XDG_CONFIG_HOME | path join service-orchestrator/services.toml
    holds ((open --raw $own) =~ "^# Services outside any project") "the file has the explaining comment"
    equal (service status | get name) [lonely]
    equal (service projects | select path daemon services up failed) [
        [path daemon services up failed]; [$own running 1 1 0]
    ]
    let daemon = service daemon status | get pid
    equal (service projects --long | types) {
        path: string file: string daemon: string services: int up: int failed: int pid: int socket: string state_dir: string note: nothing
    }
    equal (service projects | columns) [path file daemon services up failed pid]
    equal (service projects | get 0.pid) $daemon
    service daemon stop | ignore
    equal (service projects | select path daemon services up failed) [
        [path daemon services up failed]; [$own none null 1 null]
    ]
    equal (service status | get state) [ready]
}

export def "test a new project has suggestions from other files" [] {
    "web: bin/web -p $PORT\n" | save Procfile
    "services:\n  db:\n    image: x\n  api:\n    depends_on: [db]\n" | save compose.yaml
    { scripts: { start: "node ." build: "tsc" } } | to json | save package.json
    let answer = service init
    equal ($answer | columns) [path replaced suggestions]
    equal ($answer | reject suggestions) { path: ($env.PWD | path join services.toml) replaced: false }
    equal $answer.suggestions [
        [source name start_command shell dependencies];
        [Procfile web "bin/web -p $PORT" sh []]
        [compose.yaml db "docker compose up --no-deps --no-log-prefix db" null []]
        [compose.yaml api "docker compose up --no-deps --no-log-prefix api" null [db]]
        [package.json app "npm run start" null []]
    ]
    holds ((open --raw services.toml) =~ '# dependencies = \["db"\]') "the suggestion is in the file"
    equal (service list | length) 0
    equal (code-of { service init }) "service::exists"
    equal (service init --force | get replaced) true
    holds (not (has-daemon)) "no daemon was started"
}
