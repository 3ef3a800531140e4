# Start, stop and watch the services of a project.
#
# `service init` writes a services.toml, `service start web-app` starts it with all it needs, `service status` shows how
# everything is, `service why web-app` why it is so, `service stop web-app` stops it after what needs it. `service` alone lists
# every command, and `help service start` explains one. Names are words, or come through the pipe; an empty pipe does nothing.

use ../problem.nu

export use add.nu
export use apply.nu
export use check.nu
export use daemon.nu
export use disable.nu
export use enable.nu
export use events.nu
export use graph.nu
export use health.nu
export use history.nu
export use init.nu
export use list.nu
export use logs.nu
export use managers.nu
export use order.nu
export use plan.nu
export use projects.nu
export use remove.nu
export use restart.nu
export use start.nu
export use status.nu
export use stop.nu
export use wait.nu
export use why.nu

# The commands of `nu/service`, which are there once it is used.
const OF_THE_MODULE = [up down watch top tail prompt hook trust paint]

# List the commands; answer a mistyped one with the right one.
@category service
export def main [
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
    let near = $known | get name | str replace "service " ""
        | each {|name| { name: $name far: (if ($name | str starts-with $said) { 0 } else { $name | str distance $said }) } }
        | sort-by far | first
    let hint = if $near.far < 3 { $"did you mean `service ($near.name)`?" } else { "`service` alone lists the subcommands" }
    problem raise {
        code: unknown_subcommand
        message: $"no command `service ($words | str join ' ')`"
        help: $"($hint) \(the system's own tool is `^service`\)"
    } (metadata $words).span
}
