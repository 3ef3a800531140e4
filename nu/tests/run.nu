# Runs the tests of the Nushell side: `nu nu/tests/run.nu --front plugin`. Each test has a Nushell and a project of its own.
#
# A test is an exported command `test ...` of a file in this directory. Both fronts have to pass the same tests: the plugin, and
# the plain Nushell in `nu/service-http`. A test fails if it raises an error, takes too long, or leaves a process behind.

use recipes.nu

const HERE = path self .
# The limit of one test in seconds, on a machine under load.
const LIMIT = 90
# The first minor version of the composed commands; an older Nushell skips their tests.
const COMPOSED_FROM = 115
const COMPOSED_TESTS = [module.nu since_0_115.nu]

# Run the tests, print a line for each, and fail if any failed.
def main [
    --front: string = plugin # plugin or http
    --programs: path # the directory of orchestratord, service-shim, test_service and nu_plugin_service (default: target/debug)
    --only: string = "" # only tests whose name matches this regular expression
] {
    let programs = $programs | default ($HERE | path join ../../target/debug) | path expand
    let place = mktemp --directory --tmpdir
    let tests = glob ($HERE | path join "*.nu") | where ($it | path basename) not-in [run.nu support.nu recipes.nu]
        | each {|file| tests $file } | flatten
        | append (recipes $"($HERE)/../../docs/nushell.md")
        | where name =~ $only and ((version).minor >= $COMPOSED_FROM or $it.file not-in $COMPOSED_TESTS)
    let results = $tests | enumerate | par-each --threads 4 {|it|
        let result = attempt $it.item $front $programs ($place | path join $"($it.index)")
        print $"(if $result.ok { 'PASS' } else { 'FAIL' }) [($result.took)] nu ($front) ($it.item.file) ($it.item.name)"
        if not $result.ok { print ($result.said | lines | each {|line| $"    ($line)" } | str join "\n") }
        $result
    }
    let failed = $results | where not ok | length
    print $"($results | length) tests of the front `($front)`, ($failed) failed"
    if $failed == 0 { rm --recursive --force $place } else { exit 1 }
}

# The tests of a file, each with the line that runs it.
def tests [file: path]: nothing -> table<file: string, name: string, line: string> {
    let text = open --raw $file
    $text | parse --regex '(?m)^export def "test (?<name>[^"]+)"' | get name | each {|name|
        { file: ($file | path basename) name: $name line: $"use ($file) *; test ($name)" }
    }
}

# Runs one test in its own directory.
def attempt [test: record, front: string, programs: path, place: path]: nothing -> record<ok: bool, took: duration, said: string> {
    let homes = { HOME: home XDG_STATE_HOME: state XDG_RUNTIME_DIR: run XDG_CACHE_HOME: cache XDG_CONFIG_HOME: config }
        | transpose name directory | each {|it| { name: $it.name path: ($place | path join $it.directory) } }
    let project = $place | path join project
    mkdir $project ...$homes.path
    let env_of_test = $homes | reduce --fold {} {|it, all| $all | insert $it.name $it.path } | merge {
        ORCHESTRATORD: ($programs | path join orchestratord)
        SERVICE_SHIM: ($programs | path join service-shim)
        TEST_SERVICE_PROGRAM: ($programs | path join test_service)
        TEST_FRONT: $front
        SERVICES_CONFIG: null
    }
    let root = $HERE | path join ../.. | path expand
    let front_module = if $front == http { $"use ($root)/nu/service-http *; " } else { "" }
    # The composed commands need a recent Nushell.
    let composed = if (version).minor < $COMPOSED_FROM { "" } else { $"use ($root)/nu/service" }
    let modules = $"($front_module)($composed)"
    let plugins = if $front == http { [] } else { [--plugins ($programs | path join nu_plugin_service)] }
    let shell = [$LIMIT $nu.current-exe --no-config-file --no-std-lib ...$plugins --commands]
    let begun = date now
    let result = with-env $env_of_test {
        cd $project
        let result = ^timeout ...$shell $"($modules); use ($HERE)/support.nu *; ($test.line)" | complete
        ^timeout ...$shell $"($modules); try { service daemon stop --services }" | complete | ignore
        $result
    }
    let left = left-behind $place
    let ok = $result.exit_code == 0 and ($left | is-empty)
    let told = if ($left | is-empty) { "" } else { $"left running: ($left | str join ', ')" }
    let said = [$result.stdout $result.stderr $told] | where $it != "" | str join "\n"
    { ok: $ok took: ((date now) - $begun | format-ms) said: $said }
}

def format-ms []: duration -> duration { $in // 1ms * 1ms }

# Ends the processes of a directory that still run after a moment, and returns them.
def left-behind [place: path]: nothing -> list<string> {
    mut left = processes $place
    let deadline = (date now) + 5sec
    while ($left | is-not-empty) and (date now) < $deadline {
        sleep 20ms
        $left = processes $place
    }
    for process in $left { try { kill --force ($process.pid | into int) } }
    $left | each {|it| $"($it.name) ($it.pid)" }
}

# The processes with this directory in their environment.
def processes [place: path]: nothing -> table<pid: string, name: string> {
    let found = ^grep --files-with-matches --text $"XDG_STATE_HOME=($place)/" ...(glob /proc/[0-9]*/environ) | complete
    $found.stdout | lines | each {|file|
        let directory = $file | path dirname
        { pid: ($directory | path basename) name: (try { open --raw ($directory | path join comm) | str trim } catch { "" }) }
    } | where name != ""
}
