# Commands that combine the plugin's commands: `use nu/service` merges them into `service ...`.
#
# Only the plugin sends requests to the daemon. No name here may equal a command of the plugin.

use up.nu *
use down.nu *
use watch.nu *
use top.nu *
use tail.nu *
use prompt.nu *
use hook.nu ["service hook"]
use trust.nu *
use paint.nu *

# Each command is defined by its whole name, so that help, errors and `nu --mcp` show this name. `use nu/service` puts `service`
# before exported names, so the exported alias is the name without `service`.

# Start the named services, or all of the project, after their dependencies.
export alias up = service up

# Stop all services of the project, dependents first, then its daemon.
export alias down = service down

# Show a live table of service states, until `q` or ctrl-c.
export alias watch = service watch

# Show a live table of running services by CPU or memory use, until `q` or ctrl-c.
export alias top = service top

# Print the last log lines of services, and new ones as they are written, in one colour for each service, until ctrl-c.
export alias tail = service tail

# Return a summary of the project for the prompt, such as `3/4 up, db failing`: from a snapshot, in less than 5 ms.
export alias prompt = service prompt

# Return the hook that starts services with `auto = true` when a shell enters the project's directory, and stops them when it leaves.
export alias hook = service hook

# Trust the present content of the project's services.toml.
export alias trust = service trust

# Return the part of `color_config` that shows states in colour: green, yellow, red, grey.
export alias paint = service paint

# Without the plugin, `service ...` calls the program /usr/sbin/service.
export-env {
    if (which "service status" | is-empty) {
        error make --unspanned {
            msg: "cannot use these commands: the command `service status` is missing"
            code: "service::no_front"
            help: "call `plugin use service` first (or `use nu/service-http *`, in a Nushell of another version)"
        }
    }
}
