# `service` itself. Its help is a manual. Without arguments it lists the commands. The error of a mistyped subcommand has a suggestion.

use problem.nu

# Names of these commands in other programs, for suggestions.
const ALIASES = { ps: status ls: list rm: remove kill: stop }

# The commands of the module `nu/service`.
const MODULE_COMMANDS = [up down watch top tail prompt hook trust paint]

# Start, stop and watch the services of a project.
#
# A project is a directory with a services.toml, found from the current directory upward (or --config, or
# $env.SERVICES_CONFIG). `service init` writes one:
#
#   [services.database]
#   start_command = "postgres -D data"
#   health_check_endpoint = "tcp://127.0.0.1:5432"
#
#   [services.web-app]
#   start_command = "shop --port 8080"
#   dependencies = ["database"]
#
# Every day
#   service start web-app        starts web-app after its dependencies
#   service status               shows state, health, uptime and memory of all services
#   service logs web-app         shows the output of web-app; --follow also shows new lines
#   service stop database        stops database after its dependents
#   service restart database     restarts database with its running dependents
#
# After a failure
#   service why web-app          explains the state of web-app, and suggests a remedy
#   service check                shows errors and warnings of services.toml
#   service events --since 1hr   shows the events of the last hour
#   service health               runs every health check now
#
# In a script
#   service wait web-app --timeout 30sec     waits until web-app is ready or has failed
#   service status | where health == unhealthy | service restart
#   try { service start web-app } catch {|e| if $e.details.code == service::start_failed { ... } }
#
# After a change of services.toml
#   service plan                 shows the changes
#   service apply                makes the changes, and rolls back on failure
#
# Names are arguments, or piped input: strings, or rows with a `name`. An empty pipe selects no service. A failed row has the reason
# in `error`. If every named service failed, the command fails with a code: service::not_found, timeout, start_failed ...
#
# The daemon of the project starts with the first command that needs it. Services outlive the daemon and the shell.
# `^service` calls the system's own program of this name.
@category service
@search-terms daemon supervisor orchestrator systemctl background
@example "start a service with its dependencies, and show the states" "service start web-app; service status"
@example "the causes and remedies of all failures" "service status | where status == failed | each {|it| service why $it.name } | select summary help"
export def service [
    ...words: string # a subcommand
]: any -> any {
    ignore # the item of a closure
    let known = help commands | where name =~ "^service " | select name description
    if ($words | is-empty) { return $known }
    let subcommand = $words | first
    if $subcommand in $MODULE_COMMANDS {
        problem raise {
            code: unknown_subcommand
            message: $"no command `service ($subcommand)` yet: it belongs to the module"
            help: "call `use service` after this module, in Nushell 0.115 or later"
        } (metadata $words).span
    }
    let suggestion = $ALIASES | get --optional $subcommand | default {
        $known | get name | str replace "service " ""
        | each {|name| { name: $name edits: (edit-distance $subcommand $name) } }
        | where edits != null | sort-by edits | get --optional 0.name
    }
    let hint = if $suggestion != null { $"did you mean `service ($suggestion)`?" } else { "`service` alone lists the subcommands" }
    problem raise {
        code: unknown_subcommand
        message: $"no command `service ($words | str join ' ')`"
        help: $"($hint) \(the system's own tool is `^service`\)"
    } (metadata $words).span
}

# The number of letters in which a subcommand differs from a name: 0 for a prefix, null for a large difference.
def edit-distance [subcommand: string, name: string]: nothing -> any {
    if ($name | str starts-with $subcommand) { return 0 }
    # Longer words are not compared.
    let subcommand = $subcommand | str substring 0..<65
    let name = $name | split row " " | first
    let edits = if ($subcommand | split chars | sort) == ($name | split chars | sort) { 1 } else { $name | str distance $subcommand }
    if $edits <= ([($subcommand | str length) ($name | str length)] | math max) // 3 { $edits }
}
