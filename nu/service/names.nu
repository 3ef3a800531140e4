# Completion of service names, while the user types: no daemon is started for it, nobody waits long, and no error is shown.

use ../service-http/ownership.nu
use ../service-http/printable.nu
use paths.nu

# How long a daemon may take; after that the file says what there is.
const PATIENCE = 150ms

# All of the project.
export def all []: nothing -> list { offer [] }

# Those that a start means something for first.
export def idle []: nothing -> list { offer [waiting starting ready stopping backoff] }

# All of them, those that fit first; with their state, which tells why the others do not.
def offer [without: list<string>]: nothing -> list {
    let status = asked | default { written }
    let fitting = $status | where state not-in $without
    $fitting ++ ($status | where state in $without) | each {|it| { value: ($it.name | printable plain) description: $it.state } }
}

# What a running daemon says; null where none runs, or none answers in time.
def asked []: nothing -> any {
    let here = job id
    # An answer that comes too late is nobody's.
    let tag = random int
    let asking = job spawn {
        let status = try { service status --no-start --quiet | select name state } catch { null }
        $status | job send $here --tag $tag
    }
    let status = try { job recv --tag $tag --timeout $PATIENCE } catch { null }
    try { job kill $asking }
    $status
}

# What the file says.
def written []: nothing -> table<name: string, state: any> {
    try {
        ownership read-toml (paths usable $env.PWD) | get services | columns | each {|name| { name: $name state: null } }
    } catch { [] }
}
