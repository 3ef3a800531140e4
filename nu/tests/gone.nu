# Projects whose file or directory is gone: listed and stopped by path, by row and from their former directory; then removed.

use support.nu *

const ONE = '
[services.a]
start_command = "TEST_SERVICE say hello"
'

# Creates a project in a directory of its own, in which `a` runs. Returns its file.
def begun [name: string]: nothing -> string {
    mkdir $name
    cd $name
    define $ONE
    service start a | ignore
    eventually "the line is there" { service logs a | is-not-empty }
    $env.PWD | path join services.toml
}

def kill-daemon [file: string] {
    let pid = service daemon status --config $file | get pid
    ^kill -9 $pid
    eventually "it is gone" { not ($"/proc/($pid)/exe" | path exists) }
}

export def "test what is gone is stopped by path, by row and from inside" [] {
    for damage in [{|dir| ^rm $"($dir)/services.toml" } {|dir| ^rm -r $dir } {|dir| ^mv $dir $"($dir)-moved" }] {
        for kill in [false true] {
            let name = random chars --length 8
            let file = begun $name
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

export def "test inside of a directory that is gone its services are stopped" [] {
    for kill in [false true] {
        let name = random chars --length 8
        let file = begun $name
        if $kill { kill-daemon $file }
        let seen = do {
            cd $name
            ^rm -r ($file | path dirname)
            { state: (service status --quiet | get state) stopped: (service stop --all | get status) ended: (service daemon stop).running }
        }
        equal $seen { state: [ready] stopped: [stopped] ended: true }
    }
}

export def "test a directory that is gone is told" [] {
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

export def "test a renamed directory starts nothing twice" [] {
    let file = begun old
    mv old new
    cd new
    equal (service status --quiet | get state) [stopped]
    equal (code-of { service start a }) "service::moved"
    service stop --all --config $file | ignore
    equal (service start a | get action) [started]
    service daemon stop --services --config $file | ignore
    service daemon stop --services | ignore
}

export def "test lost services are stopped with a daemon that has to come first" [] {
    define $ONE
    service start a | ignore
    let lock = service projects --long | first | get state_dir | path join orchestratord.lock
    kill-daemon services.toml
    # The lock of a killed daemon is held for a moment.
    ^sh -c $"flock ($lock) sleep 0.5 > /dev/null 2>&1 &"
    eventually "it is held" { (^flock --nonblock $lock true | complete).exit_code != 0 }
    equal (service daemon stop --services).running true
    equal (service daemon status).running false
    eventually "the daemon has let go of its lock" { service projects | is-empty }
}

export def "test a project of which it cannot be read where it was says so" [] {
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
    holds ($row.note has $"cannot read `($state)/place.json`") "it says why"
    equal (service projects --prune) []
    holds ($state | path exists) "what is not known to be gone is kept"
}
