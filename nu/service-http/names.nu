# Completion of service names while the user types: it has a short limit, starts no daemon and shows no error.

use client.nu
use ownership.nu
use printable.nu
use project.nu
use remote.nu

# The limit for a daemon.
const PATIENCE = 150ms

# All services of the project.
export def all []: nothing -> list { offer [] }

# All services, those that can be stopped first.
export def running []: nothing -> list { offer [stopped completed failed] }

# All services, those that can be started first.
export def idle []: nothing -> list { offer [waiting starting ready stopping backoff] }

# The services that no file defines.
export def added []: nothing -> list {
    let span = (metadata $PATIENCE).span
    try {
        let there = remote way null $span
        let project = if $there == null { project null $span }
        let way = if $there == null { way $project } else { $there }
        let services = try { client peek $way /api/v1/services/list $PATIENCE } catch { client say $project [list] $span }
        $services | where origin != file | get name
    } catch { [] }
}

# All services, the applicable ones first; each with its state as the reason.
def offer [without: list<string>]: nothing -> list {
    try {
        let span = (metadata $without).span
        let there = remote way null $span
        let project = if $there == null { project null $span }
        let way = if $there == null { way $project } else { $there }
        let status = try { client peek $way /api/v1/services/status $PATIENCE } catch {
            ownership read-toml $project.config | get services | columns | each {|name| { name: $name state: null } }
        }
        let fitting = $status | where state not-in $without
        $fitting ++ ($status | where state in $without) | each {|it| { value: ($it.name | printable plain) description: $it.state } }
    } catch { [] }
}

def way [project: record]: nothing -> record { { socket: (project socket $project) span: (metadata $project).span } }
