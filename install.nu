# Installs everything for one user, from the root of the repository: `nu install.nu`. Doing it again updates.
#
# Three programs go to a directory on PATH, the plugin into Nushell's registry, the modules to its `scripts` directory
# (so that `use service` works in scripts too), and a line that loads them to its `autoload` directory.

const ROOT = path self .
const PROGRAMS = [orchestratord service-shim nu_plugin_service]
const PACKAGES = [orchestratord service-shim nu_plugin_service]
const MODULES = [service service-http]
# The first minor version of Nushell that the module `service` has been tried with.
const COMPOSED_FROM = 115

# Install, or update, or with --uninstall remove; a row for each thing that was touched.
def main [
    --to: path # where the programs go (default: ~/.cargo/bin)
    --from: path # programs that are built already, instead of building them
    --debug # build without optimisation, which is quicker
    --no-autoload # load the module only where `use service` says so
    --uninstall # remove what this has installed; services that run go on
]: nothing -> table {
    let to = $to | default ($env.CARGO_HOME? | default ($env.HOME | path join .cargo) | path join bin)
    let scripts = $nu.default-config-dir | path join scripts
    let autoload = $nu.default-config-dir | path join autoload service.nu
    let projects = try { ^($to | path join orchestratord) projects | from json | get data } catch { [] }
    if $uninstall {
        let rows = [(forget)] ++ ($PROGRAMS | each {|name| remove program ($to | path join $name) })
        let rows = $rows ++ ($MODULES | each {|name| remove module ($scripts | path join $name) }) ++ [(remove autoload $autoload)]
        if ($projects | is-not-empty) {
            print --stderr $"Daemons and services go on, of: ($projects | get path | str join ', ')"
        }
        return $rows
    }
    let fits = fits
    let from = $from | default { build $debug }
    mkdir $to $scripts
    let rows = $PROGRAMS | each {|name| place program ($from | path join $name) ($to | path join $name) }
    let rows = $rows ++ (if $fits { [(register ($to | path join nu_plugin_service))] } else { [] })
    let rows = $rows ++ ($MODULES | each {|name| place module ($ROOT | path join nu $name) ($scripts | path join $name) })
    let rows = $rows ++ (if $no_autoload { [(remove autoload $autoload)] } else { [(load $autoload $scripts $fits)] })
    advise $to $fits ($projects | where daemon | length)
    $rows
}

# Whether the plugin can be loaded into this Nushell: the minor versions have to be the same.
def fits []: nothing -> bool {
    (minor (version).version) == (minor (wanted))
}

def minor [version: string]: nothing -> string { $version | split row . | first 2 | str join . }

# The version of Nushell that the plugin is built for.
def wanted []: nothing -> string {
    open --raw ($ROOT | path join Cargo.lock) | from toml | get package | where name == nu-plugin | get 0.version
}

def build [debug: bool]: nothing -> string {
    cd $ROOT
    let profile = if $debug { [] } else { [--release] }
    ^cargo build --locked ...$profile ...($PACKAGES | each {|name| [--package $name] } | flatten)
    let target = ^cargo metadata --no-deps --format-version 1 | from json | get target_directory
    $target | path join (if $debug { "debug" } else { "release" })
}

# Copies a file or a directory, whole or not at all: a program that runs at this moment is not touched.
def place [kind: string, source: string, target: string]: nothing -> record {
    if (digest $source) == (digest $target) { return (row $kind $target unchanged) }
    let done = if ($target | path exists) { "updated" } else { "installed" }
    let fresh = $"($target).new"
    rm --force --recursive $fresh
    cp --recursive $source $fresh
    if ($target | path type) == dir { rm --recursive $target }
    mv --force $fresh $target
    row $kind $target $done
}

def remove [kind: string, target: string]: nothing -> record {
    if not ($target | path exists) { return (row $kind $target "not there") }
    rm --recursive $target
    row $kind $target removed
}

# What a file, or all that is in a directory, comes to; null where there is none.
def digest [path: string]: nothing -> any {
    match ($path | path type) {
        file => (open --raw $path | hash sha256)
        dir => (glob $"($path)/**/*.nu" | sort | each {|file| [($file | path relative-to $path) (open --raw $file)] } | to nuon | hash sha256)
        _ => null
    }
}

# Nushell keeps the commands of a plugin in its registry, so this is done again after each update.
def register [program: string]: nothing -> record {
    plugin add --plugin-config $nu.plugin-path $program
    row plugin $nu.plugin-path registered
}

def forget []: nothing -> record {
    let known = try { plugin rm --plugin-config $nu.plugin-path service; true } catch { false }
    row plugin $nu.plugin-path (if $known { "removed" } else { "not there" })
}

# The file that loads the modules into every interactive Nushell.
def load [file: string, scripts: string, fits: bool]: nothing -> record {
    let front = if $fits { [] } else { [$"use ($scripts | path join service-http | to nuon) *"] }
    # What is composed needs a Nushell of its own time: its live tables read keys with a time limit.
    let composed = if (version).minor < $COMPOSED_FROM { [] } else { [$"use ($scripts | path join service | to nuon)"] }
    let text = ["# Written by install.nu of the service orchestrator; `--uninstall` removes it." ...$front ...$composed ""] | str join "\n"
    if ($file | path exists) and (open --raw $file) == $text { return (row autoload $file unchanged) }
    mkdir ($file | path dirname)
    $text | save --force $file
    row autoload $file written
}

def row [what: string, where: string, done: string]: nothing -> record { { what: $what done: $done where: $where } }

# What is left to do.
def advise [to: string, fits: bool, daemons: int]: nothing -> nothing {
    if not $fits {
        print --stderr $"The plugin is built for Nushell (wanted), this is (version | get version): the same commands come over HTTP instead, from `service-http`."
    }
    if $to not-in ($env.PATH | each { path expand }) { print --stderr $"($to) is not on PATH: add it in config.nu." }
    if $daemons > 0 {
        print --stderr $"($daemons) daemons of before still run; `service daemon restart` in a project changes to the new one, and its services run on."
    }
    let begin = if (version).minor < $COMPOSED_FROM { "service init, service start --all, service" } else { "service init, service up, help service" }
    print --stderr $"Open a new Nushell, then: ($begin)."
}
