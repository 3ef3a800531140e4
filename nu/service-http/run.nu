# `service run`, defined by its whole name, because `run` is a keyword of Nushell that no module may export.

use client.nu
use definition.nu
use problem.nu
use project.nu
use action.nu

# Run one command line as a supervised service outside the file.
#
# The service is transient: it is deleted five minutes after its end (`forget_transient` in services.toml), except with --keep.
# Nushell reserves the name `env`, so variables are set only with -e.
@category service
@search-terms systemd-run transient background job nohup spawn
export def "service run" [
    ...command: oneof<string, bool> # a command line as one string, or as words after `--`
    --config (-c): path # the services.toml to use
    --name (-n): string # name of the service (default: from the program, made unique)
    -e: record # environment variables
    --working-dir (-C): directory # working directory (default: the current one)
    --restart: string@policies # restart policy (default: on-failure, and no with --oneshot)
    --health: string # target of the health check: http://, tcp://, exec: and so on
    --memory-limit: filesize # maximum memory
    --shell: string # the shell that runs the command line, such as sh
    --oneshot # the command does its work and exits: wait for the exit
    --keep (-k) # keep its definition until `service remove`
    --no-wait # return as soon as the action is under way
    --timeout (-t): duration # how long to wait; the service continues after that
]: any -> table {
    ignore # the item of a closure
    let span = (metadata $command).span
    if ($command | is-empty) {
        problem raise { code: no_command message: "missing command line"
            help: "give a command line as one string, or as words after `--`" } $span
    }
    let limit = action milliseconds $timeout $span
    let words = $command | each { into string }
    let keys = {
        name: $name
        env: $e
        working_dir: (if $working_dir == null { project current-directory $span } else { project current-directory $span | path join $working_dir })
        restart: $restart
        health_check_endpoint: $health
        memory_limit: $memory_limit
        shell: $shell
        oneshot: (if $oneshot { true } else { null })
        start_command: (if ($words | length) == 1 { $words.0 } else { $words })
    }
    let given = $keys | columns | where {|key| ($keys | get $key) != null }
    let body = { services: [($keys | select ...$given | definition $span)] transient: (not $keep) }
    let connection = client connect $config $span --anywhere
    let added = client post $connection /api/v1/services/add $body | first
    let request = { names: [$added.name] wait: (not $no_wait) timeout_ms: $limit }
    action send $connection start /api/v1/services/start $request false
}

def policies []: nothing -> list<string> { [no on-failure always unless-stopped] }
