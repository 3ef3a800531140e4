# `service daemon status`, `stop` and `restart`.

use ../across.nu
use ../client.nu
use ../problem.nu
use ../project.nu
use ../remote.nu
use ../rows.nu

# Show the daemon of the project, without starting it. Without a daemon, `running` is false.
@category service
export def "service daemon status" [
    --config (-c): path # the services.toml to use
]: any -> any {
    let projects = across $in $config --about-daemon
    if $projects != null { return (across in-each $projects --about-daemon {|path| null | service daemon status --config $path }) }
    let span = (metadata $config).span
    let connection = client any-running $config $span
    if $connection == null { return (rows no-daemon (project $config $span)) }
    rows daemon (client fetch $connection /api/v1/daemon)
}

# Stop the daemon of the project; its services keep running.
@category service
export def "service daemon stop" [
    --config (-c): path # the services.toml to use
    --services # stop the services first
]: any -> any {
    let projects = across $in $config --about-daemon
    if $projects != null { return (across in-each $projects --about-daemon {|path| null | service daemon stop --config $path --services=$services }) }
    let span = (metadata $config).span
    let running = client any-running $config $span
    # Services may run without a daemon.
    let connection = if $running == null and $services and (project has-services-running $config $span) { client connect $config $span } else {
        client require-running $config $span
    }
    rows daemon (client stop-daemon $connection { services: $services })
}

# Replace the daemon of the project by a new one; no service is restarted.
@category service
export def "service daemon restart" [
    --config (-c): path # the services.toml to use
]: any -> any {
    let projects = across $in $config --about-daemon
    if $projects != null { return (across in-each $projects --about-daemon {|path| null | service daemon restart --config $path }) }
    let span = (metadata $config).span
    if (remote connection $config $span) != null {
        problem raise { code: remote message: "cannot restart the daemon of another machine: it cannot be started from here"
            help: "run it there, or name a project of this machine with `--config`" } $span
    }
    client stop-daemon (client require-running $config $span) {} | ignore
    rows daemon (client fetch (client connect $config $span) /api/v1/daemon)
}
