# The paths of projects, and of the files that these commands store. No function here needs a daemon.

use ../service-http/ownership.nu
use ../service-http/project.nu upward
use ../service-http/trusted.nu

# The `services.toml` of a directory: `$env.SERVICES_CONFIG`, or else the nearest file upward; null if there is none. The file may
# belong to another user, so callers must not run its commands.
export def project [directory: any]: nothing -> any {
    let named = $env.SERVICES_CONFIG? | default ""
    if $named != "" { return ($named | resolve-directories) }
    let found = upward ($directory | default "/")
    if $found != null { $found | resolve-directories }
}

# The `services.toml` of a directory, as above; null if another user can have written an untrusted file.
export def trusted-project [directory: any]: nothing -> any {
    let named = $env.SERVICES_CONFIG? | default ""
    if $named != "" { return ($named | resolve-directories) }
    let found = upward ($directory | default "/")
    if $found == null or ((ownership foreign $found) != null and not (trusted is-trusted $found)) { return null }
    $found | resolve-directories
}

# Resolves links in the directories of a path, and keeps the last component.
def resolve-directories []: string -> string {
    let file = $in | path expand --no-symlink
    $file | path dirname | path expand | path join ($file | path basename)
}

# A cache file or directory of one project.
export def cache [kind: string, file: string]: nothing -> string {
    home XDG_CACHE_HOME .cache | path join service-orchestrator $kind ($file | hash md5)
}

# Writes a file that only its owner can read, atomically.
export def save-private [file: string]: string -> nothing {
    let text = $in
    let temporary = $"($file).(random chars --length 8)"
    let directory = $file | path dirname
    if not ($directory | path exists) {
        mkdir $directory
        ^chmod 700 $directory
    }
    touch $temporary
    ^chmod 600 $temporary
    $text | save --raw --force $temporary
    # After a power failure the file has the old or the new content.
    try { ^sync --data $temporary }
    mv --force $temporary $file
}

def home [variable: string, below_home: string]: nothing -> string {
    let configured = $env | get --optional $variable | default ""
    if ($configured | str starts-with "/") { $configured } else { home-directory | path join $below_home }
}

# From the environment, or else from Nushell.
def home-directory []: nothing -> string {
    let configured = $env.HOME? | default ""
    if $configured != "" { $configured } else { $nu | get --optional home-dir | default ($nu | get --optional home-path) }
}
