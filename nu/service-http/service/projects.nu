# `service projects`.

use ../client.nu

# A daemon that does not answer within this hangs.
const PATIENCE = 500ms

# List every project of yours that something runs of.
#
# `daemon` is running, hangs or none; without an answer `up` counts the services that are kept all the same.
@category service
@search-terms all machine daemons ps
export def "service projects" []: any -> table {
    ignore # the item of a closure
    let span = (metadata $PATIENCE).span
    client program-says [projects] $span | par-each --keep-order {|trace|
        let status = if $trace.socket? == null { null } else {
            try { client peek { socket: $trace.socket span: $span } /api/v1/services/status $PATIENCE } catch { null }
        }
        {
            path: $trace.path?
            daemon: (if $status != null { "running" } else if $trace.daemon { "hangs" } else { "none" })
            services: (if $status == null { null } else { $status | length })
            up: (if $status == null { $trace.kept } else { $status | where status == running | length })
            failed: (if $status == null { null } else { $status | where status == failed | length })
            pid: $trace.pid?
            socket: $trace.socket?
            state_dir: $trace.state_dir
        }
    }
}
