# Completion of service names while the user types. A completion has a short time limit, starts no daemon and shows no error.

use client.nu
use ownership.nu
use printable.nu
use project.nu
use remote.nu

# The maximum time for a daemon's answer.
const STATUS_TIMEOUT = 150ms

# All services of the project.
export def all []: nothing -> list { complete-names [] }

# All services; those that can be stopped come first.
export def running []: nothing -> list { complete-names [stopped completed failed] }

# All services; those that can be started come first.
export def idle []: nothing -> list { complete-names [waiting starting ready stopping backoff] }

# The services that no file defines.
export def added []: nothing -> list {
    let span = (metadata $STATUS_TIMEOUT).span
    try {
        let remote = remote connection null $span
        let project = if $remote == null { project null $span }
        let connection = if $remote == null { local-connection $project } else { $remote }
        let services = try { client fetch-within $connection /api/v1/services/list $STATUS_TIMEOUT } catch { client query-offline $project [list] $span }
        $services | where origin != file | get name
    } catch { [] }
}

# All services with their states; services in none of the states `without` come first.
def complete-names [without: list<string>]: nothing -> list {
    try {
        let span = (metadata $without).span
        let remote = remote connection null $span
        let project = if $remote == null { project null $span }
        let connection = if $remote == null { local-connection $project } else { $remote }
        let status = try { client fetch-within $connection /api/v1/services/status $STATUS_TIMEOUT } catch {
            ownership read-toml $project.config | get services | columns | each {|name| { name: $name state: null } }
        }
        let applicable = $status | where state not-in $without
        $applicable ++ ($status | where state in $without) | each {|it| { value: ($it.name | printable plain) description: $it.state } }
    } catch { [] }
}

def local-connection [project: record]: nothing -> record { { socket: (project socket $project) span: (metadata $project).span } }
