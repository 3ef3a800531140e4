# Completion of service names, while the user types: short patience, no daemon started, no error shown.

use client.nu
use project.nu
use remote.nu

# All of the project.
export def all []: nothing -> list { offer [] }

# Those that a stop means something for.
export def running []: nothing -> list { offer [stopped completed failed] }

# Those that a start means something for.
export def idle []: nothing -> list { offer [waiting starting ready stopping backoff] }

def offer [without: list<string>]: nothing -> list {
    try {
        let span = (metadata $without).span
        let there = remote way null $span
        let project = if $there == null { project null $span }
        let way = $there | default { { socket: (project socket $project) } }
        let status = try { client peek $way /api/v1/services/status } catch {
            open --raw $project.config | from toml | get services | columns | each {|name| { name: $name state: unknown } }
        }
        let fitting = $status | where state not-in $without
        (if ($fitting | is-empty) { $status } else { $fitting }) | get name
    } catch { [] }
}
