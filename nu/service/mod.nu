# Commands composed from those of the plugin `service`: `use nu/service` merges them into `service ...`.
#
# Only the plugin talks to the daemon; no name in here may equal one of its commands.

use up.nu *
use down.nu *
use watch.nu *
use top.nu *
use tail.nu *
use prompt.nu *
use hook.nu ["service hook"]
use trust.nu *
use paint.nu *

# Each command is defined by its whole name, which its help, its errors and `nu --mcp` say then; `use nu/service` puts `service`
# before what is exported, so that is an alias without it.

# Start the named services, or all of the project, each after what it needs.
export alias up = service up

# Stop all services of the project, dependents first, then its daemon.
export alias down = service down

# Show how services are, again and again in the same place, until `q` or ctrl-c.
export alias watch = service watch

# Show running services by what they use of processors or memory, most first, until `q` or ctrl-c.
export alias top = service top

# Print the last lines of services and then what they write, each service in a colour of its own, until ctrl-c.
export alias tail = service tail

# Say how the project is, as `3/4 up, db failing`, for the prompt: from a snapshot, in less than 5 ms.
export alias prompt = service prompt

# Give the hook that starts what is marked `auto = true` when one enters a project's directory, and stops it on leaving.
export alias hook = service hook

# Trust the services.toml of this project, as long as it stays as it is.
export alias trust = service trust

# Give the part of `color_config` that shows states in colour: green, yellow, red, grey.
export alias paint = service paint

# Without the plugin `service ...` would be the program of that name in /usr/sbin.
export-env {
    if (which "service status" | is-empty) {
        error make --unspanned {
            msg: "cannot use these commands: there is no `service status` to build on"
            code: "service::no_front"
            help: "`plugin use service` first (or, in a Nushell that it is not built for, `use nu/service-http *`)"
        }
    }
}
