# Finds the services.toml of a call and the socket of its daemon, as the plugin does.

use launch.nu
use ownership.nu
use problem.nu
use trusted.nu

const FOLDER = "service-orchestrator"

# The beginning of a new services.toml of the user's own.
const OWN = "# Services outside any project: `service run` and `service add` use this file.\n"

# The project: `config`, or else `$env.SERVICES_CONFIG`, or else the nearest services.toml upward, or else the user's own, which
# is created where a command needs a project and no file. A project whose file is gone is found by its path while its state
# exists, and upward while its daemon or its services run.
export def main [
    config: any
    span: record
    --anywhere
]: nothing -> record<config: string, state: string, record: string, log: string, trusted_hash: any> {
    let here = $env.PWD
    # Nushell cannot inspect files from a directory that is gone.
    cd /
    let is_here = ($here | path type) == dir
    let named = $config | default ($env.SERVICES_CONFIG? | default "") | str replace --regex '^~' (home-directory | default "~")
    if $named != "" and not $is_here and not ($named | str starts-with "/") { directory-is-gone $here $span }
    let path = if $named != "" { $here | path join $named } else { upward-or-left $here $is_here $span }
    let path = if $path == null and $is_here { users-own $anywhere } else { $path }
    if $path == null and not $is_here { directory-is-gone $here $span }
    if $path == null {
        problem raise { code: no_project message: $"no services.toml in `($here)` or above it"
            help: "`service init` writes a services.toml here; or name one with `--config` or $env.SERVICES_CONFIG" } $span
    }
    let inside = $path | path join services.toml
    let candidates = if ($path | path type) == dir { [$inside $path] } else { [$path $inside] }
    let there = $candidates | where {|file| is-there $file }
    # A project that is gone defines nothing; its running services can be stopped whatever users can write to its directory.
    let why = if $named == "" and ($there | is-not-empty) { ownership foreign $there.0 }
    let hash = if $why != null { trusted hash-if-trusted $there.0 }
    if $why != null and $hash == null {
        problem raise { code: untrusted_file message: $"cannot use `($path)`: ($why)"
            help: "it defines commands to run: read it, then run `service trust`, or name it with `--config` or $env.SERVICES_CONFIG; `chmod go-w` restricts your own file" } $span
    }
    let left = $candidates | where {|file| (state (settled $file) | path type) == dir }
    let file = $there ++ $left | get --optional 0
    if $file == null {
        problem raise { code: no_project message: $"cannot read `($candidates.0)`: there is no such file"
            help: "name an existing file with `--config`, or create one here" } $span
    }
    let file = settled $file
    let state = state $file
    {
        config: $file
        state: $state
        record: ($state | path join orchestratord.json)
        log: ($state | path join orchestratord.log)
        # Trust applies to the content, and not to the file.
        trusted_hash: $hash
    }
}

# The existing directory of the shell.
export def here [span: record]: nothing -> string {
    let here = $env.PWD
    cd /
    if ($here | path type) != dir { directory-is-gone $here $span }
    $here
}

def directory-is-gone [here: string, span: record]: nothing -> error {
    problem raise { code: no_project message: $"the current directory is gone: `($here)`"
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

# A path with the links of its directories resolved, as far as they exist. The last component stays as it is.
export def settled [file: string]: nothing -> string {
    resolved ($file | path dirname) | path join ($file | path basename)
}

def resolved [directory: string]: nothing -> string {
    if $directory in ["/" ""] or ($directory | path exists) { return ($directory | path expand) }
    resolved ($directory | path dirname) | path join ($directory | path basename)
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
        if (is-there $file) { return $file }
        if $directory in ["/" ""] { return null }
        $directory = $directory | path dirname
    }
}

# Whether a file exists, behind links; a directory of that name does not count.
def is-there [file: string]: nothing -> bool {
    # Nothing can exist below a file.
    let type: any = try { $file | path type } catch { null }
    let type: any = if $type == symlink { $file | path expand | path type } else { $type }
    $type not-in [null dir symlink]
}

# The nearest project upward. From a directory that is gone, it can only be a project that is gone.
def upward-or-left [here: string, is_here: bool, span: record]: nothing -> any {
    mut directory = $here
    loop {
        let file = $directory | path join services.toml
        let is_file = is-there $file
        if $is_here and $is_file { return $file }
        if not $is_file and (lives (state (settled $file)) $span) { return $file }
        if $directory in ["/" ""] { return null }
        $directory = $directory | path dirname
    }
}

# Whether a daemon or services of the project with this state directory run.
def lives [state: string, span: record]: nothing -> bool {
    if ($state | path type) != dir { return false }
    traces $state $span | any {|it| $it.daemon or (has-services $it) }
}

# Whether services of the project may run.
export def runs [config: any, span: record]: nothing -> bool {
    traces (main $config $span | get state) $span | any {|it| has-services $it }
}

def traces [state: string, span: record]: nothing -> list {
    cd /
    let projects = try { ^(launch program $span) projects | complete | get stdout | from json | get data } catch { [] }
    $projects | where state_dir == $state
}

def has-services [trace: record]: nothing -> bool { $trace.kept > 0 or $trace.managed > 0 or $trace.containers != 0 }

def users-own [make: bool]: nothing -> any {
    let settings = home XDG_CONFIG_HOME .config
    if $settings == null { return null }
    let file = $settings | path join $FOLDER services.toml
    if not ($file | path exists) {
        if not $make { return null }
        mkdir ($file | path dirname)
        $OWN | save $file
    }
    $file
}

# Null if this user's home is unknown.
def home [variable: string, below_home: string]: nothing -> any {
    let set = $env | get --optional $variable | default ""
    if ($set | str starts-with "/") { return $set }
    let home = home-directory
    if $home != null { $home | path join $below_home }
}

# From the environment, or else from Nushell.
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
        # Times 0x100000001b3, which is 2^40 + 0x1b3.
        let low = ($hash.low | bits xor $byte)
        let product = $low * 0x1b3
        let high = $hash.high * 0x1b3 + $product // $half + $low * 0x100
        { high: ($high mod $half) low: ($product mod $half) }
    }
    [$hash.high $hash.low]
    | each {|half| $half | format number | get lowerhex | str replace 0x "" | fill --alignment right --character "0" --width 8 }
    | str join
}
