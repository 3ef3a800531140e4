# Projects whose file or directory is gone: listed and stopped by path, by row and from their former directory; then removed.

use support.nu *

const ONE = '
[services.a]
start_command = "TEST_SERVICE say hello"
'

# Creates a project in a directory of its own, in which `a` runs. Returns its file.
def start-project [name: string]: nothing -> string {
    mkdir $name
    cd $name
    define $ONE
    service start a | ignore
    eventually "the log has the line" { service logs a | is-not-empty }
    $env.PWD | path join services.toml
}

def kill-daemon [file: string] {
    let pid = service daemon status --config $file | get pid
    ^kill -9 $pid
    eventually "the daemon has ended" { not ($"/proc/($pid)/exe" | path exists) }
}

export def "test a missing project is stopped by path, by row and from inside" [] {
    for damage in [{|dir| ^rm $"($dir)/services.toml" } {|dir| ^rm -r $dir } {|dir| ^mv $dir $"($dir)-moved" }] {
        for kill in [false true] {
            let name = random chars --length 8
            let file = start-project $name
            if $kill { kill-daemon $file }
            do $damage ($file | path dirname)
            equal (service status --quiet --config $file | get state) [ready]
            equal (service logs a --config $file | get line) [hello]
            equal (service why a --config $file | get state) ready
            equal (service events --config $file | is-not-empty) true
            let row = service projects | where path == $file
            equal ($row | get file) [gone]
            equal ($row | service status --quiet | select name state project) [[name state project]; [a ready $file]]
            equal ($row | first | service stop --all | get status) [stopped]
            equal ($row | service daemon stop | get running) [true]
            equal (code-of { service status --config $file }) "service::no_project"
            equal (service projects --prune | select path removed) [[path removed]; [$file true]]
        }
    }
    equal (service projects | where file == gone | service stop --all | length) 0
}

export def "test services are stopped from inside a removed directory" [] {
    for kill in [false true] {
        let name = random chars --length 8
        let file = start-project $name
        if $kill { kill-daemon $file }
        let seen = do {
            cd $name
            ^rm -r ($file | path dirname)
            { state: (service status --quiet | get state) stopped: (service stop --all | get status) ended: (service daemon stop).running }
        }
        equal $seen { state: [ready] stopped: [stopped] ended: true }
    }
}

export def "test the error names a removed directory" [] {
    define $ONE
    let config = $env.PWD | path join services.toml
    mkdir gone
    let codes = do {
        cd gone
        ^rmdir ../gone
        [(code-of { service status }) (code-of { service init }) (code-of { service check }) (code-of { service run 'true' })]
    }
    equal ($codes | uniq) ["service::no_project"]
    mkdir gone
    let names = do { cd gone; ^rmdir ../gone; service list --config $config | get name }
    equal $names [a]
}

export def "test a renamed directory starts no service twice" [] {
    let file = start-project old
    mv old new
    cd new
    equal (service status --quiet | get state) [stopped]
    equal (code-of { service start a }) "service::moved"
    service stop --all --config $file | ignore
    equal (service start a | get action) [started]
    service daemon stop --services --config $file | ignore
    service daemon stop --services | ignore
}

export def "test services without a daemon are stopped by a new daemon" [] {
    define $ONE
    service start a | ignore
    let lock = service projects --long | first | get state_dir | path join orchestratord.lock
    kill-daemon services.toml
    # The lock of a killed daemon is held for a moment.
    ^sh -c $"flock ($lock) sleep 0.5 > /dev/null 2>&1 &"
    eventually "the lock is held" { (^flock --nonblock $lock true | complete).exit_code != 0 }
    equal (service daemon stop --services).running true
    equal (service daemon status).running false
    eventually "the daemon has released its lock" { service projects | is-empty }
}

export def "test an unreadable project is listed with the error" [] {
    define $ONE
    let config = $env.PWD | path join services.toml
    service start a | ignore
    let state = service projects --long | first | get state_dir
    service daemon stop --services | ignore
    rm services.toml
    equal (service projects | get file) [gone]
    "no JSON" | save --force ($state | path join place.json)
    let row = service projects --long | first
    equal ($row | select path file daemon up) { path: $config file: unknown daemon: none up: 0 }
    holds ($row.note has $"cannot read `($state)/place.json`") "the note has the reason"
    equal (service projects --prune) []
    holds ($state | path exists) "the state of an unknown project is kept"
}
