# Finds the services.toml of a call and the socket of its daemon, as the plugin does.

use launch.nu
use ownership.nu
use problem.nu
use trusted.nu

const FOLDER = "service-orchestrator"

# The first line of a new services.toml outside of any project.
const OWN_FILE_HEADER = "# Services outside any project: `service run` and `service add` use this file.\n"

# The project, in this order: `config`; `$env.SERVICES_CONFIG`; the nearest services.toml upward; the user's own services.toml. With
# --anywhere the user's own file is created if necessary. A project without its file is found by its path if its state exists, and
# upward if its daemon or its services run.
export def main [
    config: any
    span: record
    --anywhere
]: nothing -> record<config: string, state: string, record: string, log: string, trusted_hash: any> {
    let pwd = $env.PWD
    # Nushell cannot inspect files from a directory that is gone.
    cd /
    let pwd_exists = ($pwd | path type) == dir
    let named = $config | default ($env.SERVICES_CONFIG? | default "") | str replace --regex '^~' (home-directory | default "~")
    if $named != "" and not $pwd_exists and not ($named | str starts-with "/") { directory-is-gone $pwd $span }
    let path = if $named != "" { $pwd | path join $named } else { find-upward $pwd $pwd_exists $span }
    let path = if $path == null and $pwd_exists { find-own-file $anywhere } else { $path }
    if $path == null and not $pwd_exists { directory-is-gone $pwd $span }
    let here = $pwd | path join services.toml
    if $path == null and ($here | path type) == dir {
        problem raise { code: no_project message: $"`($here)` is a directory, not a file"
            help: "rename it, then run `service init`, which writes a services.toml here; or name one with `--config`" } $span
    }
    if $path == null {
        problem raise { code: no_project message: $"no services.toml in `($pwd)` or above it"
            help: "`service init` writes a services.toml here; or name one with `--config` or $env.SERVICES_CONFIG" } $span
    }
    let nested = $path | path join services.toml
    let candidates = if ($path | path type) == dir { [$nested $path] } else { [$path $nested] }
    let existing = $candidates | where {|file| is-file $file }
    # A project without its file defines no service. Its running services can be stopped, regardless of the directory's owner.
    let risk = if $named == "" and ($existing | is-not-empty) { ownership foreign $existing.0 }
    let hash = if $risk != null { trusted hash-if-trusted $existing.0 }
    if $risk != null and $hash == null {
        problem raise { code: untrusted_file message: $"cannot use `($path)`: ($risk)"
            help: "it defines commands to run: read it, then run `service trust`, or name it with `--config` or $env.SERVICES_CONFIG; `chmod go-w` restricts your own file" } $span
    }
    let with_state = $candidates | where {|file| (state (resolve-directories $file) | path type) == dir }
    let file = $existing ++ $with_state | get --optional 0
    if $file == null {
        problem raise { code: no_project message: $"cannot read `($candidates.0)`: there is no such file"
            help: "name an existing file with `--config`, or create one here" } $span
    }
    let file = resolve-directories $file
    let state = state $file
    {
        config: $file
        state: $state
        record: ($state | path join orchestratord.json)
        log: ($state | path join orchestratord.log)
        # The trust applies to the content of the file.
        trusted_hash: $hash
    }
}

# The existing directory of the shell.
export def current-directory [span: record]: nothing -> string {
    let pwd = $env.PWD
    cd /
    if ($pwd | path type) != dir { directory-is-gone $pwd $span }
    $pwd
}

def directory-is-gone [pwd: string, span: record]: nothing -> error {
    problem raise { code: no_project message: $"the current directory is gone: `($pwd)`"
        help: "change to another directory, or name a services.toml by its whole path with `--config`" } $span
}

def state [file: string]: nothing -> string {
    let states = home XDG_STATE_HOME .local/state
    if $states == null {
        problem raise { code: internal message: "cannot find the state directory: neither HOME nor XDG_STATE_HOME is set"
            help: "set XDG_STATE_HOME to a directory of your own" } (metadata $file).span
    }
    $states | path join $FOLDER (slug $file)
}

# Resolves links in the directories of a path, as far as these exist, and keeps the last component.
export def resolve-directories [file: string]: nothing -> string {
    resolve-existing ($file | path dirname) | path join ($file | path basename)
}

def resolve-existing [directory: string]: nothing -> string {
    if $directory in ["/" ""] or ($directory | path exists) { return ($directory | path expand) }
    resolve-existing ($directory | path dirname) | path join ($directory | path basename)
}

# The socket that the daemon has recorded; null if there is none.
export def socket [project: record]: nothing -> any {
    cd /
    try { open --raw $project.record | from json | get ready.socket } catch { null }
}

# The nearest services.toml from a directory upward.
export def upward [from: string]: nothing -> any {
    mut directory = $from
    loop {
        let file = $directory | path join services.toml
        if (is-file $file) { return $file }
        if $directory in ["/" ""] { return null }
        $directory = $directory | path dirname
    }
}

# Whether a file exists, behind links; a directory of that name does not count.
def is-file [file: string]: nothing -> bool {
    # `path type` fails for a path below a file.
    let type: any = try { $file | path type } catch { null }
    let type: any = if $type == symlink { $file | path expand | path type } else { $type }
    $type not-in [null dir symlink]
}

# The nearest project upward. If the shell's directory is gone, only a project without its file is found.
def find-upward [pwd: string, pwd_exists: bool, span: record]: nothing -> any {
    mut directory = $pwd
    loop {
        let file = $directory | path join services.toml
        let is_file = is-file $file
        if $pwd_exists and $is_file { return $file }
        if not $is_file and (is-running (state (resolve-directories $file)) $span) { return $file }
        if $directory in ["/" ""] { return null }
        $directory = $directory | path dirname
    }
}

# Whether a daemon or services of the project with this state directory run.
def is-running [state: string, span: record]: nothing -> bool {
    if ($state | path type) != dir { return false }
    find-summaries $state $span | any {|it| $it.daemon or (has-services $it) }
}

# Whether services of the project may run.
export def has-services-running [config: any, span: record]: nothing -> bool {
    find-summaries (main $config $span | get state) $span | any {|it| has-services $it }
}

def find-summaries [state: string, span: record]: nothing -> list {
    cd /
    let projects = try { ^(launch program $span) projects | complete | get stdout | from json | get data } catch { [] }
    $projects | where state_dir == $state
}

def has-services [summary: record]: nothing -> bool { $summary.kept > 0 or $summary.managed > 0 or $summary.containers != 0 }

def find-own-file [create: bool]: nothing -> any {
    let settings = home XDG_CONFIG_HOME .config
    if $settings == null { return null }
    let file = $settings | path join $FOLDER services.toml
    if not ($file | path exists) {
        if not $create { return null }
        mkdir ($file | path dirname)
        $OWN_FILE_HEADER | save $file
    }
    $file
}

# The directory of an XDG variable; null if the home directory is unknown.
def home [variable: string, below_home: string]: nothing -> any {
    let set = $env | get --optional $variable | default ""
    if ($set | str starts-with "/") { return $set }
    let home = home-directory
    if $home != null { $home | path join $below_home }
}

# The home directory from the environment, or else from Nushell.
def home-directory []: nothing -> any {
    let known = [$env.HOME? ($nu | get --optional home-dir) ($nu | get --optional home-path)]
    $known | where {|home| ($home | default "" | str starts-with "/") } | get --optional 0
}

# A readable and unique name: the directory's name, and a hash of the file's path.
export def slug [path: string]: nothing -> string {
    let folder = $path | path dirname | path basename | str replace --all --regex '[^A-Za-z0-9_-]' '' | str substring 0..<20
    $"($folder)-(fnv1a $path)"
}

# FNV-1a of 64 bits, in two halves: Nushell's integers have a sign and do not wrap.
export def fnv1a [text: string]: nothing -> string {
    let bytes = $text | encode utf-8 | encode hex | parse --regex '(?<byte>..)' | get byte | into int --radix 16
    let half = 0x100000000
    let hash = $bytes | reduce --fold { high: 0xcbf29ce4 low: 0x84222325 } {|byte, hash|
        # A multiplication by 0x100000001b3, which is 2^40 + 0x1b3.
        let low = ($hash.low | bits xor $byte)
        let product = $low * 0x1b3
        let high = $hash.high * 0x1b3 + $product // $half + $low * 0x100
        { high: ($high mod $half) low: ($product mod $half) }
    }
    [$hash.high $hash.low]
    | each {|half| $half | format number | get lowerhex | str replace 0x "" | fill --alignment right --character "0" --width 8 }
    | str join
}
