# `service daemon status`, `stop` and `restart`.

use ../client.nu
use ../problem.nu
use ../remote.nu
use ../rows.nu

# Show the daemon of the project, without starting it.
@category service
export def "service daemon status" [
    --config (-c): path # the services.toml to use
]: any -> record {
    ignore # the item of a closure
    let way = client must-run $config (metadata $config).span
    rows daemon (client ask $way /api/v1/daemon)
}

# Stop the daemon of the project; its services keep running.
@category service
export def "service daemon stop" [
    --config (-c): path # the services.toml to use
    --services # stop the services first
]: any -> record {
    ignore # the item of a closure
    let way = client must-run $config (metadata $config).span
    rows daemon (client end $way { services: $services })
}

# Replace the daemon of the project by a new one; no service is restarted.
@category service
export def "service daemon restart" [
    --config (-c): path # the services.toml to use
]: any -> record {
    ignore # the item of a closure
    let span = (metadata $config).span
    if (remote way $config $span) != null {
        problem raise { code: remote message: "cannot restart the daemon of another machine: nobody could start it from here"
            help: "run it there, or name a project of this machine with `--config`" } $span
    }
    client end (client must-run $config $span) {} | ignore
    rows daemon (client ask (client connect $config $span) /api/v1/daemon)
}
