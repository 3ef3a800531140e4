# `service` itself: its help is a manual, without arguments it lists the commands, and a mistyped subcommand gets a suggestion.

use problem.nu

# The names of these commands in other programs.
const MEANT = { ps: status ls: list rm: remove kill: stop }

# The commands of the module `nu/service`.
const OF_THE_MODULE = [up down watch top tail prompt hook trust paint]

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
#   service start web-app        starts it after its dependencies, each as soon as its own are ready
#   service status               shows state, health, uptime and memory of all services
#   service logs web-app         shows its output; --follow also new lines
#   service stop database        stops it after its dependents
#   service restart database     restarts it with its running dependents
#
# When something is wrong
#   service why web-app          explains its state, with the command that helps
#   service check                shows errors and warnings of services.toml
#   service events --since 1hr   shows the events of the last hour
#   service health               runs every health check now
#
# In a script
#   service wait web-app --timeout 30sec     waits until it is ready, or cannot become ready
#   service status | where health == unhealthy | service restart
#   try { service start web-app } catch {|e| if $e.details.code == service::start_failed { ... } }
#
# After a change of services.toml
#   service plan; service apply  show the changes; make them, and roll back on failure
#
# Names are words, or come through the pipe: strings, or rows with a `name`. An empty pipe does nothing. Rows tell of failures
# in `error`; if all that was named failed, the command fails with a code: service::not_found, timeout, start_failed ...
#
# The daemon of the project starts with the first command that needs it. Services outlive the daemon and the shell.
# The system's own program of this name is `^service`.
@category service
@search-terms daemon supervisor orchestrator systemctl background
@example "start a service with what it needs, and look at it" "service start web-app; service status"
@example "what is wrong, and what would help" "service status | where status == failed | each {|it| service why $it.name } | select summary help"
export def service [
    ...words: string # a subcommand
]: any -> any {
    ignore # the item of a closure
    let known = help commands | where name =~ "^service " | select name description
    if ($words | is-empty) { return $known }
    let said = $words | first
    if $said in $OF_THE_MODULE {
        problem raise {
            code: unknown_subcommand
            message: $"no command `service ($said)` yet: it belongs to the module"
            help: "say `use service` after this module, in a Nushell from 0.115 on"
        } (metadata $words).span
    }
    let near = $MEANT | get --optional $said | default {
        $known | get name | str replace "service " ""
        | each {|name| { name: $name far: (distance $said $name) } }
        | where far != null | sort-by far | get --optional 0.name
    }
    let hint = if $near != null { $"did you mean `service ($near)`?" } else { "`service` alone lists the subcommands" }
    problem raise {
        code: unknown_subcommand
        message: $"no command `service ($words | str join ' ')`"
        help: $"($hint) \(the system's own tool is `^service`\)"
    } (metadata $words).span
}

# The number of letters in which it differs from a name; null if it differs too much or is a prefix.
def distance [said: string, name: string]: nothing -> any {
    if ($name | str starts-with $said) { return 0 }
    # Longer words are not compared.
    let said = $said | str substring 0..<65
    let name = $name | split row " " | first
    let far = if ($said | split chars | sort) == ($name | split chars | sort) { 1 } else { $name | str distance $said }
    if $far <= ([($said | str length) ($name | str length)] | math max) // 3 { $far }
}
