# Commands composed from those of the plugin `service`: `use nu/service` merges them into `service ...`.
#
# Only the plugin talks to the daemon; no name in here may equal one of its commands.

export use up.nu
export use down.nu
export use watch.nu
export use top.nu
export use tail.nu
export use prompt.nu
export use hook.nu
export use trust.nu [main]
export use paint.nu

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
