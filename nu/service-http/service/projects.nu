# `service projects`.

use ../client.nu

# A daemon that does not answer within this hangs.
const PATIENCE = 500ms

# List every project of yours that something runs of, or whose file is gone.
#
# Rows can be piped into `service status`, `stop --all`, `logs`, `daemon stop` and others. With --prune, what is left of
# projects whose file is gone and of which nothing runs is removed, with logs and events, and the rows say what was.
# `daemon` is running, hangs or none; without an answer `up` counts the services that are kept all the same.
@category service
@search-terms all machine daemons ps
export def "service projects" [
    --long (-l) # with the socket of the daemon and the directory of the state
    --prune # remove the state of projects whose file is gone and of which nothing runs
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
        }
    }
    if $long { $rows } else { $rows | each {|row| $row | reject socket state_dir } }
}

# What runs all the same; null where a container engine did not answer.
def up [trace: record]: nothing -> any {
    if $trace.containers == null { null } else { $trace.kept + $trace.managed + $trace.containers }
}
