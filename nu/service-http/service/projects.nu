# `service projects`.

use ../client.nu

# The limit for a daemon's answer.
const PATIENCE = 500ms

# List your projects with running services or without a file.
#
# The rows can be piped into `service status`, `stop --all`, `logs`, `daemon stop` and others. --prune deletes the state, logs
# and events of projects without a file and without running services; the rows are the deleted projects. `daemon` is running,
# hangs or none; without a daemon `up` counts the services under a shim.
@category service
@search-terms all machine daemons ps
export def "service projects" [
    --long (-l) # also show the socket of the daemon, the state directory, and what cannot be read there
    --prune # delete the state of projects without a file and without running services
]: any -> table {
    ignore # the item of a closure
    let span = (metadata $PATIENCE).span
    if $prune {
        return (client program-says [projects --prune] $span | each {|it|
            { path: $it.path size: ($it.size | into filesize) removed: ($it.error? == null) error: $it.error? state_dir: $it.state_dir }
        })
    }
    let rows = client program-says [projects] $span | par-each --keep-order {|trace|
        let status = if $trace.socket? == null { null } else {
            try { client peek { socket: $trace.socket span: $span } /api/v1/services/status $PATIENCE } catch { null }
        }
        {
            path: $trace.path?
            file: $trace.file?
            daemon: (if $status != null { "running" } else if $trace.daemon { "hangs" } else { "none" })
            services: (if $status == null { null } else { $status | length })
            up: (if $status == null { up $trace } else { $status | where status == running | length })
            failed: (if $status == null { null } else { $status | where status == failed | length })
            pid: $trace.pid?
            socket: $trace.socket?
            state_dir: $trace.state_dir
            note: $trace.note?
        }
    }
    if $long { $rows } else { $rows | each {|row| $row | reject socket state_dir note } }
}

# The services that run without a daemon; null if a container engine did not answer.
def up [trace: record]: nothing -> any {
    if $trace.containers == null { null } else { $trace.kept + $trace.managed + $trace.containers }
}
