# The trusted files: a file with one row per services.toml, which `service trust` writes and `crates/service-api/src/trust.rs`
# reads too. The format is JSON, which is also NUON.

use ownership.nu

# The path of the store.
export def store []: nothing -> string {
    let configured = $env.XDG_STATE_HOME? | default ""
    let home = [$env.HOME? ($nu | get --optional home-dir) ($nu | get --optional home-path)]
        | where {|home| ($home | default "" | str starts-with "/") }
    let states = if ($configured | str starts-with "/") { $configured } else if ($home | is-not-empty) { $home.0 | path join .local/state } else {
        error make --unspanned { msg: "cannot find the state directory: neither HOME nor XDG_STATE_HOME is set"
            code: "service::internal" help: "set XDG_STATE_HOME to a directory of your own" }
    }
    $states | path join service-orchestrator trusted.nuon
}

# The rows of the store; none if the file belongs to another user.
export def rows []: nothing -> list<any> {
    let store = try { store } catch { null }
    if $store == null or not ($store | path exists) or (ownership foreign $store) != null { return [] }
    try {
        ownership require-regular $store
        open --raw $store | from nuon
    } catch { [] }
}

# The hash of a services.toml: of its content, and of the manager modules that it names.
export def digest [file: string]: nothing -> record<hash: string, modules: list<string>> {
    let own = hash-of $file
    let services = try { ownership read-toml $file | get services | values } catch { [] }
    let managers = $services | each {|service| try { $service.manager } } | where ($it | describe) == string
    let modules = $managers | where ($it | path parse | get extension) == nu | uniq | sort
    if ($modules | is-empty) { return { hash: $own modules: [] } }
    let lines = $modules | each {|module| $"($module) (hash-of ($file | path dirname | path join $module))" }
    { hash: ([$own ...$lines] | str join "\n" | hash sha256) modules: $modules }
}

def hash-of [file: string]: nothing -> string {
    ownership content $file | hash sha256
}

# The trusted hash of this file; null if the file is not trusted or has changed.
export def hash-if-trusted [file: string]: nothing -> any {
    let file = $file | path dirname | path expand | path join ($file | path basename)
    let row = rows | where file == $file
    if ($row | is-empty) or (try { (digest $file).hash } catch { null }) != $row.0.hash { return null }
    $row.0.hash
}

# Whether this file is trusted with its current content.
export def is-trusted [file: string]: nothing -> bool { (hash-if-trusted $file) != null }
