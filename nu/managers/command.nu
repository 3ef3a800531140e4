# Services that other programs run. Start, stop and status are command lines of the service.
#
# The manager of services with `manager = "command"`. See docs/managers.md.

use quote.nu

export const CONTRACT = 1

# Runs the service's `start_command`; exit code 0 means that the service runs.
@category service
export def start []: record -> record {
    let service = $in
    run-line start $service $service.start_command
    {state: running}
}

# Runs the service's `stop_command`; exit code 0 means that the service has stopped.
@category service
export def stop []: record -> record {
    let service = $in
    if $service.stop_command? == null {
        error make --unspanned {
            msg: $"cannot stop `($service.name)`: it has no stop_command"
            help: "add a stop_command to the service, or let the orchestrator run the process: manager = \"process\""
        }
    }
    run-line stop $service $service.stop_command
    {state: stopped}
}

# Runs the service's `status_command`: exit code 0 means that the service runs. Without one the state is unknown.
@category service
export def status []: record -> record {
    let service = $in
    if $service.status_command? == null {
        return {state: unknown message: "there is no status_command"}
    }
    let result = run-in-service status $service $service.status_command
    let last_output = $result.stdout + $result.stderr | str trim | lines | last 1 | to text | str trim | quote
    {
        state: (if $result.exit_code == 0 { "running" } else { "stopped" })
        message: (if ($last_output | is-empty) { $"status_command ended with exit code ($result.exit_code)" } else { $last_output })
    }
}

# Runs the `status_command` of each service, concurrently.
@category service
export def "status all" []: table -> table {
    par-each --keep-order {|service|
        let status = try { $service | status } catch {|e| {state: unknown message: $e.msg} }
        $status | insert name $service.name
    }
}

# Runs one command line; an error if the command line fails.
def run-line [verb: string service: record line: string]: nothing -> nothing {
    let result = run-in-service $verb $service $line
    if $result.exit_code != 0 {
        let last_output = $result.stderr | lines | where ($it | str trim | is-not-empty) | last 10
        let failure = $"cannot ($verb) `($service.name)`: `($line)` ended with exit code ($result.exit_code)"
        error make --unspanned {
            msg: ([$failure ($last_output | str join (char newline) | quote)] | where ($it | is-not-empty) | str join (char newline))
            help: $"run `($line)` by hand in ($service.working_dir)"
        }
    }
}

# The output and the exit code of a command line, run by another Nushell in the service's directory and environment.
def run-in-service [verb: string service: record line: string]: nothing -> record {
    if ($service.working_dir | path type) != dir {
        error make --unspanned {
            msg: $"cannot ($verb) `($service.name)`: working directory `($service.working_dir)` does not exist"
            help: "create it, or change working_dir in services.toml"
        }
    }
    cd $service.working_dir
    with-env ($service.env? | default {}) {
        ^$nu.current-exe --no-config-file --no-std-lib -c $line | complete
    }
}
