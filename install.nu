# Installs programs, plugin and modules for one user, from the root of the repository: `nu install.nu`. A second call updates them.
#
# The three programs are copied into a directory on PATH, and the plugin is registered in Nushell. The modules are copied into Nushell's
# `scripts` directory, so that `use service` works in scripts too. A file in the `autoload` directory loads them into each shell.

const ROOT = path self .
const PROGRAMS = [orchestratord service-shim nu_plugin_service]
const PACKAGES = [orchestratord service-shim nu_plugin_service]
const MODULES = [service service-http]
# The first minor version of Nushell that the module `service` supports.
const COMBINED_FROM = 115

# Install or update, or with --uninstall remove; returns a row for each program, module and file.
def main [
    --to: path # the directory for the programs (default: ~/.cargo/bin)
    --from: path # a directory with built programs; without it they are built
    --debug # build without optimisation, which takes less time
    --no-autoload # do not load the module into each shell, only by `use service`
    --uninstall # remove the installed programs, modules and files; running services continue
]: nothing -> table {
    let to = $to | default ($env.CARGO_HOME? | default ($env.HOME | path join .cargo) | path join bin)
    let scripts = $nu.default-config-dir | path join scripts
    let autoload = $nu.default-config-dir | path join autoload service.nu
    let projects = try { ^($to | path join orchestratord) projects | from json | get data } catch { [] }
    if $uninstall {
        let rows = [(unregister)] ++ ($PROGRAMS | each {|name| remove program ($to | path join $name) })
        let rows = $rows ++ ($MODULES | each {|name| remove module ($scripts | path join $name) }) ++ [(remove autoload $autoload)]
        if ($projects | is-not-empty) {
            print --stderr $"Daemons and services of these projects continue: ($projects | get path | str join ', ')"
        }
        return $rows
    }
    let fits = can-load-plugin
    let from = $from | default { build $debug }
    mkdir $to $scripts
    let rows = $PROGRAMS | each {|name| install program ($from | path join $name) ($to | path join $name) }
    let rows = $rows ++ (if $fits { [(register ($to | path join nu_plugin_service))] } else { [] })
    let rows = $rows ++ ($MODULES | each {|name| install module ($ROOT | path join nu $name) ($scripts | path join $name) })
    let rows = $rows ++ (if $no_autoload { [(remove autoload $autoload)] } else { [(write-autoload $autoload $scripts $fits)] })
    print-next-steps $to $fits ($projects | where daemon | length)
    $rows
}

# Whether this Nushell can load the plugin: the minor versions must be the same.
def can-load-plugin []: nothing -> bool {
    (minor (version).version) == (minor (plugin-version))
}

def minor [version: string]: nothing -> string { $version | split row . | first 2 | str join . }

# The version of Nushell that the plugin is built for.
def plugin-version []: nothing -> string {
    open --raw ($ROOT | path join Cargo.lock) | from toml | get package | where name == nu-plugin | get 0.version
}

def build [debug: bool]: nothing -> string {
    cd $ROOT
    let profile = if $debug { [] } else { [--release] }
    ^cargo build --locked ...$profile ...($PACKAGES | each {|name| [--package $name] } | flatten)
    let target = ^cargo metadata --no-deps --format-version 1 | from json | get target_directory
    $target | path join (if $debug { "debug" } else { "release" })
}

# Copies a file or a directory by a rename, so that the copy is complete and a running program keeps its file.
def install [kind: string, source: string, target: string]: nothing -> record {
    if (digest $source) == (digest $target) { return (row $kind $target unchanged) }
    let done = if ($target | path exists) { "updated" } else { "installed" }
    let temporary = $"($target).new"
    rm --force --recursive $temporary
    cp --recursive $source $temporary
    if ($target | path type) == dir { rm --recursive $target }
    mv --force $temporary $target
    row $kind $target $done
}

def remove [kind: string, target: string]: nothing -> record {
    if not ($target | path exists) { return (row $kind $target "absent") }
    rm --recursive $target
    row $kind $target removed
}

# The hash of a file, or of all modules in a directory; null if the path does not exist.
def digest [path: string]: nothing -> any {
    match ($path | path type) {
        file => (open --raw $path | hash sha256)
        dir => (glob $"($path)/**/*.nu" | sort | each {|file| [($file | path relative-to $path) (open --raw $file)] } | to nuon | hash sha256)
        _ => null
    }
}

# Registers the plugin. Nushell caches the commands of a plugin, so each update registers the plugin again.
def register [program: string]: nothing -> record {
    plugin add --plugin-config $nu.plugin-path $program
    row plugin $nu.plugin-path registered
}

def unregister []: nothing -> record {
    let known = try { plugin rm --plugin-config $nu.plugin-path service; true } catch { false }
    row plugin $nu.plugin-path (if $known { "removed" } else { "absent" })
}

# Writes the file that loads the modules into every interactive Nushell.
def write-autoload [file: string, scripts: string, fits: bool]: nothing -> record {
    let front = if $fits { [] } else { [$"use ($scripts | path join service-http | to nuon) *"] }
    # The combined commands need a recent Nushell, because live tables read keys with a time limit.
    let combined = if (version).minor < $COMBINED_FROM { [] } else { [$"use ($scripts | path join service | to nuon)"] }
    let text = ["# Written by install.nu of the service orchestrator; `--uninstall` removes it." ...$front ...$combined ""] | str join "\n"
    if ($file | path exists) and (open --raw $file) == $text { return (row autoload $file unchanged) }
    mkdir ($file | path dirname)
    $text | save --force $file
    row autoload $file written
}

def row [what: string, where: string, done: string]: nothing -> record { { what: $what done: $done where: $where } }

# Prints the next steps.
def print-next-steps [to: string, fits: bool, daemons: int]: nothing -> nothing {
    if not $fits {
        print --stderr $"The plugin is built for Nushell (plugin-version), and this is Nushell (version | get version): the module `service-http` has the same commands."
    }
    if $to not-in ($env.PATH | each { path expand }) { print --stderr $"($to) is not on PATH: add it in config.nu." }
    if $daemons > 0 {
        print --stderr $"($daemons) daemons of the former version still run. `service daemon restart` in a project starts the new version, and services continue."
    }
    let first_commands = if (version).minor < $COMBINED_FROM { "service init, service start --all, service" } else { "service init, service up, help service" }
    print --stderr $"Open a new Nushell, then: ($first_commands)."
}
