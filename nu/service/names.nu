# Completion of service names while the user types: it has a short limit, starts no daemon and shows no error.

use ../service-http/ownership.nu
use ../service-http/printable.nu
use paths.nu

# The limit for a daemon; after it the names come from the file.
const PATIENCE = 150ms

# All services of the project.
export def all []: nothing -> list { offer [] }

# All services, those that can be started first.
export def idle []: nothing -> list { offer [waiting starting ready stopping backoff] }

# All services, the applicable ones first; each with its state as the reason.
def offer [without: list<string>]: nothing -> list {
    let status = asked | default { written }
    let fitting = $status | where state not-in $without
    $fitting ++ ($status | where state in $without) | each {|it| { value: ($it.name | printable plain) description: $it.state } }
}

# The services and states of a running daemon; null if none runs, or none answers in time.
def asked []: nothing -> any {
    let here = job id
    # A late answer has another tag and is ignored.
    let tag = random int
    let asking = job spawn {
        let status = try { service status --no-start --quiet | select name state } catch { null }
        $status | job send $here --tag $tag
    }
    let status = try { job recv --tag $tag --timeout $PATIENCE } catch { null }
    try { job kill $asking }
    $status
}

# The services of the file.
def written []: nothing -> table<name: string, state: any> {
    try {
        ownership read-toml (paths usable $env.PWD) | get services | columns | each {|name| { name: $name state: null } }
    } catch { [] }
}
