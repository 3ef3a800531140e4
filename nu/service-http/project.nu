# Which services.toml is meant, and where its daemon is: the same answer as the plugin's.

use ownership.nu
use problem.nu
use trusted.nu

const FOLDER = "service-orchestrator"

# What a services.toml of the user's own begins with.
const OWN = "# Services of no project in particular: whatever `service run` and `service add` are told outside of one.\n"

# The project: `config` if given, else `$env.SERVICES_CONFIG`, else the nearest services.toml upward, else the user's own,
# which is written if need be where a project is needed and no file.
export def main [
    config: any
    span: record
    --anywhere
]: nothing -> record<config: string, state: string, record: string, log: string, trusted_hash: any> {
    let named = $config | default ($env.SERVICES_CONFIG? | default "")
    let path = if $named != "" { $named } else { upward $env.PWD | default { users-own $anywhere } }
    if $path == null {
        problem raise { code: no_project message: $"no services.toml in `($env.PWD)` or above it"
            help: "`service init` writes a services.toml here; or name one with `--config` or $env.SERVICES_CONFIG" } $span
    }
    let why = if $named == "" { ownership foreign $path }
    let hash = if $why != null { trusted hash-if-trusted $path }
    if $why != null and $hash == null {
        problem raise { code: untrusted_file message: $"cannot use `($path)`: ($why)"
            help: "it says what runs here: read it, then say `service trust`, or name it with `--config` or $env.SERVICES_CONFIG; what is yours is closed to others by `chmod go-w`" } $span
    }
    let path = $path | path expand
    let path = if ($path | path type) == dir { $path | path join services.toml } else { $path }
    if ($path | path type) in [null dir] {
        problem raise { code: no_project message: $"cannot read `($path)`: there is no such file"
            help: "name an existing file with `--config`, or write one here" } $span
    }
    let state = home XDG_STATE_HOME .local/state | path join $FOLDER (slug $path)
    {
        config: $path
        state: $state
        record: ($state | path join orchestratord.json)
        log: ($state | path join orchestratord.log)
        # The content is what is trusted, and not the file.
        trusted_hash: $hash
    }
}

# Where the daemon listens, as it has written down itself; null where none has.
export def socket [project: record]: nothing -> any {
    try { open --raw $project.record | from json | get ready.socket } catch { null }
}

# The nearest services.toml from a directory upward.
export def upward [from: string]: nothing -> any {
    mut directory = $from
    loop {
        let file = $directory | path join services.toml
        let type: any = $file | path type
        let type: any = if $type == symlink { $file | path expand | path type } else { $type }
        if $type not-in [null dir] { return $file }
        if $directory in ["/" ""] { return null }
        $directory = $directory | path dirname
    }
}

def users-own [make: bool]: nothing -> any {
    let file = home XDG_CONFIG_HOME .config | path join $FOLDER services.toml
    if not ($file | path exists) {
        if not $make { return null }
        mkdir ($file | path dirname)
        $OWN | save $file
    }
    $file
}

def home [variable: string, below_home: string]: nothing -> string {
    let set = $env | get --optional $variable | default ""
    if ($set | str starts-with "/") { $set } else { $env.HOME | path join $below_home }
}

# A name that a person recognises and no other project has: the directory's name, and a hash of the file's path.
export def slug [path: string]: nothing -> string {
    let folder = $path | path dirname | path basename | str replace --all --regex '[^A-Za-z0-9_-]' '' | str substring 0..<20
    $"($folder)-(fnv1a $path)"
}

# FNV-1a of 64 bits, in two halves: a number of Nushell has a sign and does not wrap.
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
