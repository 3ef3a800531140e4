# Completion of service names, while the user types: no daemon is started for it, nobody waits long, and no error is shown.

use ../service-http/ownership.nu
use place.nu

# How long a daemon may take; after that the file says what there is.
const PATIENCE = 150ms

# All of the project.
export def all []: nothing -> list<string> { offer [] }

# Those that a start means something for; all if there are none.
export def idle []: nothing -> list<string> { offer [waiting starting ready stopping backoff] }

def offer [without: list<string>]: nothing -> list<string> {
    let status = asked | default { written }
    let fitting = $status | where state not-in $without
    (if ($fitting | is-empty) { $status } else { $fitting }) | get name
}

# What a running daemon says; null where none runs, or none answers in time.
def asked []: nothing -> any {
    let here = job id
    # An answer that comes too late is nobody's.
    let tag = random int
    let asking = job spawn {
        let status = try { service status --no-start | select name state } catch { null }
        $status | job send $here --tag $tag
    }
    let status = try { job recv --tag $tag --timeout $PATIENCE } catch { null }
    try { job kill $asking }
    $status
}

# What the file says.
def written []: nothing -> table<name: string, state: string> {
    try {
        ownership read-toml (place usable $env.PWD) | get services | columns | each {|name| { name: $name state: unknown } }
    } catch { [] }
}
