# Completion of service names while the user types. A completion has a short time limit, starts no daemon and shows no error.

use ../service-http/ownership.nu
use ../service-http/printable.nu
use paths.nu

# The maximum time for a daemon's answer; after it the names come from the file.
const STATUS_TIMEOUT = 150ms

# All services of the project.
export def all []: nothing -> list { complete-names [] }

# All services; those that can be started come first.
export def idle []: nothing -> list { complete-names [waiting starting ready stopping backoff] }

# All services with their states; services in none of the states `without` come first.
def complete-names [without: list<string>]: nothing -> list {
    let status = query-daemon | default { read-file }
    let applicable = $status | where state not-in $without
    $applicable ++ ($status | where state in $without) | each {|it| { value: ($it.name | printable plain) description: $it.state } }
}

# The services and states of a running daemon; null if none runs, or none answers in time.
def query-daemon []: nothing -> any {
    let own_job = job id
    # A late answer has another tag and is ignored.
    let tag = random int
    let query_job = job spawn {
        let status = try { service status --no-start --quiet | select name state } catch { null }
        $status | job send $own_job --tag $tag
    }
    let status = try { job recv --tag $tag --timeout $STATUS_TIMEOUT } catch { null }
    try { job kill $query_job }
    $status
}

# The services of the file.
def read-file []: nothing -> table<name: string, state: any> {
    try {
        ownership read-toml (paths trusted-project $env.PWD) | get services | columns | each {|name| { name: $name state: null } }
    } catch { [] }
}
