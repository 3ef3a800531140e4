# `service projects`.

use ../client.nu

# The maximum time for a daemon's answer.
const STATUS_TIMEOUT = 500ms

# List your projects with running services or without a file.
#
# The rows can be piped into `service status`, `stop --all`, `logs`, `daemon stop` and others. `daemon` is running, hangs or none. Without a
# daemon `up` counts the services that run under a shim. --prune deletes the state, logs and events of projects without a file and
# without running services, and returns the deleted projects.
@category service
@search-terms all machine daemons ps
export def "service projects" [
    --long (-l) # also show the socket of the daemon, the state directory, and what cannot be read there
    --prune # delete the state of projects without a file and without running services
]: any -> table {
    ignore # the item of a closure
    let span = (metadata $STATUS_TIMEOUT).span
    if $prune {
        return (client run-program [projects --prune] $span | each {|it|
            { path: $it.path size: ($it.size | into filesize) removed: ($it.error? == null) error: $it.error? state_dir: $it.state_dir }
        })
    }
    let rows = client run-program [projects] $span | par-each --keep-order {|summary|
        let status = if $summary.socket? == null { null } else {
            try { client fetch-within { socket: $summary.socket span: $span } /api/v1/services/status $STATUS_TIMEOUT } catch { null }
        }
        {
            path: $summary.path?
            file: $summary.file?
            daemon: (if $status != null { "running" } else if $summary.daemon { "hangs" } else { "none" })
            services: (if $status == null { null } else { $status | length })
            up: (if $status == null { up $summary } else { $status | where status == running | length })
            failed: (if $status == null { null } else { $status | where status == failed | length })
            pid: $summary.pid?
            socket: $summary.socket?
            state_dir: $summary.state_dir
            note: $summary.note?
        }
    }
    if $long { $rows } else { $rows | each {|row| $row | reject socket state_dir note } }
}

# The services that run without a daemon; null if a container engine did not answer.
def up [summary: record]: nothing -> any {
    if $summary.containers == null { null } else { $summary.kept + $summary.managed + $summary.containers }
}
