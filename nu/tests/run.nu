# Runs the tests of the Nushell side: `nu nu/tests/run.nu --front plugin`. Each test has a Nushell and a project of its own.
#
# A test is an exported command `test ...` of a file in this directory. Both fronts must pass the same tests: the plugin, and
# the plain front in `nu/service-http`. A test fails if it raises an error, takes too long, or leaves a process running.

use recipes.nu

const HERE = path self .
# The maximum time of one test in seconds, on a machine under load.
const TIMEOUT_SECONDS = 90
# The first minor version of the combined commands; an older Nushell skips their tests.
const COMBINED_FROM = 115
const COMBINED_TESTS = [module.nu since_0_115.nu]

# Run the tests, print a line for each, and fail if any failed.
def main [
    --front: string = plugin # plugin or http
    --programs: path # the directory of orchestratord, service-shim, test_service and nu_plugin_service (default: target/debug)
    --only: string = "" # only tests whose name matches this regular expression
] {
    let programs = $programs | default ($HERE | path join ../../target/debug) | path expand
    let directory = mktemp --directory --tmpdir
    let tests = glob ($HERE | path join "*.nu") | where ($it | path basename) not-in [run.nu support.nu recipes.nu]
        | each {|file| tests $file } | flatten
        | append (recipes $"($HERE)/../../docs/nushell.md")
        | where name =~ $only and ((version).minor >= $COMBINED_FROM or $it.file not-in $COMBINED_TESTS)
    let results = $tests | enumerate | par-each --threads 4 {|it|
        let result = run-test $it.item $front $programs ($directory | path join $"($it.index)")
        print $"(if $result.ok { 'PASS' } else { 'FAIL' }) [($result.took)] nu ($front) ($it.item.file) ($it.item.name)"
        if not $result.ok { print ($result.output | lines | each {|line| $"    ($line)" } | str join "\n") }
        $result
    }
    let failed = $results | where not ok | length
    print $"($results | length) tests of the front `($front)`, ($failed) failed"
    if $failed == 0 { rm --recursive --force $directory } else { exit 1 }
}

# The tests of a file, each with the line that runs it.
def tests [file: path]: nothing -> table<file: string, name: string, line: string> {
    let text = open --raw $file
    $text | parse --regex '(?m)^export def "test (?<name>[^"]+)"' | get name | each {|name|
        { file: ($file | path basename) name: $name line: $"use ($file) *; test ($name)" }
    }
}

# Runs one test in its own directory.
def run-test [test: record, front: string, programs: path, directory: path]: nothing -> record<ok: bool, took: duration, output: string> {
    let homes = { HOME: home XDG_STATE_HOME: state XDG_RUNTIME_DIR: run XDG_CACHE_HOME: cache XDG_CONFIG_HOME: config }
        | transpose name directory | each {|it| { name: $it.name path: ($directory | path join $it.directory) } }
    let project = $directory | path join project
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
    # The combined commands need a recent Nushell.
    let combined = if (version).minor < $COMBINED_FROM { "" } else { $"use ($root)/nu/service" }
    let modules = $"($front_module)($combined)"
    let plugins = if $front == http { [] } else { [--plugins ($programs | path join nu_plugin_service)] }
    let shell = [$TIMEOUT_SECONDS $nu.current-exe --no-config-file --no-std-lib ...$plugins --commands]
    let started = date now
    let result = with-env $env_of_test {
        cd $project
        let result = ^timeout ...$shell $"($modules); use ($HERE)/support.nu *; ($test.line)" | complete
        ^timeout ...$shell $"($modules); try { service daemon stop --services }" | complete | ignore
        $result
    }
    let leftovers = end-leftovers $directory
    let ok = $result.exit_code == 0 and ($leftovers | is-empty)
    let note = if ($leftovers | is-empty) { "" } else { $"left running: ($leftovers | str join ', ')" }
    let output = [$result.stdout $result.stderr $note] | where $it != "" | str join "\n"
    { ok: $ok took: ((date now) - $started | format-ms) output: $output }
}

def format-ms []: duration -> duration { $in // 1ms * 1ms }

# Ends the processes of a directory that still run after five seconds, and returns them.
def end-leftovers [directory: path]: nothing -> list<string> {
    mut leftovers = processes $directory
    let deadline = (date now) + 5sec
    while ($leftovers | is-not-empty) and (date now) < $deadline {
        sleep 20ms
        $leftovers = processes $directory
    }
    for process in $leftovers { try { kill --force ($process.pid | into int) } }
    $leftovers | each {|it| $"($it.name) ($it.pid)" }
}

# The processes with this directory in their environment.
def processes [directory: path]: nothing -> table<pid: string, name: string> {
    let found = ^grep --files-with-matches --text $"XDG_STATE_HOME=($directory)/" ...(glob /proc/[0-9]*/environ) | complete
    $found.stdout | lines | each {|file|
        let directory = $file | path dirname
        { pid: ($directory | path basename) name: (try { open --raw ($directory | path join comm) | str trim } catch { "" }) }
    } | where name != ""
}
