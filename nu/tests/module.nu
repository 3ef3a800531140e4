# The combined commands: up, down, prompt, hook, trust, paint, top, watch.

use ../service-http/ownership.nu
use support.nu *

const HERE = path self .

const PAIR = '
[services.db]
start_command = "TEST_SERVICE"
[services.web]
start_command = "TEST_SERVICE"
dependencies = ["db"]
auto = true
[services.once]
start_command = "TEST_SERVICE exit 0"
oneshot = true
'

export def "test up and down" [] {
    define $PAIR
    equal (service up | get name | sort) [db once web]
    equal (service up web | get action | uniq) [unchanged]
    equal (service down | get name | length) 3
    holds (not (has-daemon)) "the daemon has ended too"
}

export def "test up fails if any service failed, and takes the flags of a start" [] {
    define '
[services.good]
start_command = "TEST_SERVICE"
[services.bad]
start_command = "TEST_SERVICE exit 3"
restart = "no"
'
    equal (code-of { service up | ignore }) "service::start_failed"
    equal (code-of { service up good bad --timeout 20sec | ignore }) "service::start_failed"
    equal (service up good --timeout 20sec --config services.toml | get action) [unchanged]
    equal (service up good --no-wait | get action) [unchanged]
    equal (code-of { service start --all | ignore }) "service::start_failed"
    equal (service start good bad | get ok) [true false]
}

export def "test the prompt shows the states and starts no daemon" [] {
    define $PAIR
    equal (service prompt) ""
    eventually "the file has been written" { prompt-file | is-not-empty }
    equal (service prompt) ""
    holds (not (has-daemon)) "no daemon was started"
    service start web once | ignore
    eventually "the note is printed" { (service prompt) == "2/2 up" }
    service stop web | ignore
    eventually "the note is printed" { (service prompt) == "1/2 up" }
    holds ((service prompt --color) =~ "1/2 up") "the coloured text has the same states"
    service daemon stop --services | ignore
    eventually "the note is printed" { (service prompt) == "" }
    cd /
    equal (service prompt) ""
}

export def "test an old snapshot shows its age" [] {
    define $PAIR
    service start web once | ignore
    eventually "the note is printed" { (service prompt) == "2/2 up" }
    let file = prompt-file | first
    # Only one job refreshes the snapshot: wait for it, and then pretend to be one.
    eventually "no job is running" { not ($"($file).asked" | path exists) }
    date now | into int | into string | save --force $"($file).asked"
    { at: ((date now) - 5min | into int) text: "9/9 up" } | to json | save --force $file
    equal (service prompt) "9/9 up (5min)"
}

export def "test a prompt takes less than five milliseconds" [] {
    define $PAIR
    service start web once | ignore
    eventually "the note is printed" { (service prompt) == "2/2 up" }
    let file = prompt-file | first
    # Concurrent tests slow everything down: compare with a program that reads the same file.
    let times = 1..50 | each { { prompt: (timeit { service prompt }) read: (timeit { open --raw $file | from json; ^true }) } }
    let half = {|column| $times | get $column | sort | get 25 }
    let bound = [5ms (4 * (do $half read))] | math max
    holds ((do $half prompt) < $bound) $"half of them took less than ($bound) and not (do $half prompt): ($times | get prompt | math min) to ($times | get prompt | math max)"
}

export def "test services start and stop with their directory" [] {
    define $PAIR
    service trust | ignore
    let project = $env.PWD
    let hook = service hook
    mkdir inside
    do $hook null $project
    eventually "services with auto run, with their dependencies" { (states) == [ready ready stopped] }
    do $hook $project $"($project)/inside"
    equal (states) [ready ready stopped]
    do $hook $"($project)/inside" "/"
    eventually "the service is stopped again" { (states) == [stopped stopped stopped] }
}

export def "test services that the user started keep running" [] {
    define $PAIR
    service trust | ignore
    service start db | ignore
    let hook = service hook
    do $hook null $env.PWD
    eventually "the other services are started" { (states) == [ready ready stopped] }
    eventually "the hook has recorded the service" { glob $"($env.XDG_CACHE_HOME)/**/started/web" | is-not-empty }
    do $hook $env.PWD "/"
    eventually "only the services of the hook are stopped" { (states) == [ready stopped stopped] }
}

export def "test services keep running for another shell inside" [] {
    define $PAIR
    service trust | ignore
    let hook = service hook
    do $hook null $env.PWD
    eventually "the services run" { (states) == [ready ready stopped] }
    # Process 1 runs, as a shell with that pid would.
    let shells = glob $"($env.XDG_CACHE_HOME)/**/shells" | first
    touch $"($shells)/1"
    do $hook $env.PWD "/"
    eventually "the shell has left the directory" { (ls $shells | length) == 1 }
    sleep 300ms # nothing to wait for: it must not happen
    equal (states) [ready ready stopped]
}

export def "test no service starts from untrusted content" [] {
    define $PAIR
    let hook = service hook
    do $hook null $env.PWD
    holds (glob $"($env.XDG_CACHE_HOME)/**/shells/*" | is-empty) "no service was started"
    equal (service trust | get trusted) true
    let store = $"($env.XDG_STATE_HOME)/service-orchestrator/trusted.nuon"
    equal (ls --long $store | get 0.mode) "rw-------"
    equal (service trust --list | select file current) [[file current]; [($env.PWD | path join services.toml) true]]
    define $"($PAIR)# changed"
    equal (service trust --list | get 0.current) false
    do $hook null $env.PWD
    holds (glob $"($env.XDG_CACHE_HOME)/**/shells/*" | is-empty) "no service was started"
    service trust --revoke | ignore
    equal (service trust --list) []
    holds (not (has-daemon)) "no daemon was started"
}

export def "test trust starts services at once if the hook is inside" [] {
    define $PAIR
    let hook = service hook
    do --env $hook null $env.PWD
    holds (not (has-daemon)) "the file is not trusted yet"
    service trust | ignore
    eventually "services with auto run" { (states) == [ready ready stopped] }
    do --env $hook $env.PWD "/"
    eventually "the service is stopped again" { (states) == [stopped stopped stopped] }
}

export def "test commands have their whole names" [] {
    let names = [up down watch top tail prompt hook trust paint]
    for name in $names {
        let line = $"def --wrapped 'service status' [...words] {}; use '($HERE | path join ../service)'; service ($name) --nonsense"
        let error = ^$nu.current-exe --no-config-file --commands $line | complete
        holds ($error.stderr =~ $"`service ($name)` command") $error.stderr
    }
    holds (help commands | where name == main | is-empty) "no command is called main"
}

export def "test paint colours only states" [] {
    let style = service paint | get string
    equal (do $style healthy) green
    equal (do $style failed) red_bold
    equal (do $style "anything else") ($env.config.color_config.string? | default white)
}

export def "test top sorts running services" [] {
    define $PAIR
    service start web | ignore
    let rows = service top --once --by memory
    equal ($rows | columns) [name cpu memory uptime restarts state health pid]
    equal ($rows.memory | sort --reverse) $rows.memory
    equal (code-of { service top --once --by colour }) "service::bad_request"
}

export def "test a live table needs a terminal" [] {
    define $PAIR
    equal (code-of { service watch }) "service::no_terminal"
    equal (code-of { service top }) "service::no_terminal"
    equal (code-of { service watch nobody }) "service::not_found"
}

export def "test an error is marked in the text of the caller" [] {
    define $PAIR
    for wrong in [{ service up web nobody } { service tail nobody } { service watch nobody }] {
        equal (code-of $wrong) "service::not_found"
        equal (marked $wrong) nobody
    }
    cd /
    equal (marked { service up }) "service up"
    for wrong in [{ service tail } { service watch }] { equal (code-of $wrong) "service::no_project" }
    for wrong in [{ service down } { service top --once }] {
        equal (code-of $wrong) "service::no_project"
        equal (error-of $wrong).details.labels []
    }
}

# The text at the label of this error; with the plain front all names have one span.
def marked [wrong: closure]: nothing -> string {
    let label = (error-of $wrong).details.labels.0
    open --raw $label.location.file | encode utf-8 | bytes at $label.location.start..<$label.location.end | decode utf-8 | split row " "
    | if $env.TEST_FRONT == http and $in.0 != service { last } else { str join " " }
}

def states []: nothing -> list { service status db web once | get state }

def prompt-file []: nothing -> list { glob $"($env.XDG_CACHE_HOME)/service-orchestrator/prompt/*" --exclude ["*.asked" "**/*.asked"] }

export def "test the owner of a file below a directory with control characters is checked" [] {
    let directory = $"($env.PWD)/a(char --integer 27)[31mb"
    let file = $"($directory)/services.toml"
    # The commands of Nushell remove escape sequences from their arguments.
    ^mkdir $directory
    ^touch $file
    equal (ownership foreign $file) null
    ownership require-regular $file
    ^chmod 666 $file
    equal (ownership foreign $file) "others can write to it"
    ^rm $file
    let error = error-of { ownership require-regular $file }
    holds ($error.msg =~ "there is no such file" and $error.msg !~ (char --integer 27)) "the error is printable"
}
