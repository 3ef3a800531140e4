# The paths of projects, and of the files that these commands store. None of it needs a daemon.

use ../service-http/ownership.nu
use ../service-http/project.nu upward
use ../service-http/trusted.nu

# The `services.toml` of a directory: `$env.SERVICES_CONFIG`, or else the nearest one upward; null if there is none. It may
# belong to another user, so only commands that do not execute it use this.
export def project [directory: any]: nothing -> any {
    let named = $env.SERVICES_CONFIG? | default ""
    if $named != "" { return ($named | settled) }
    let found = upward ($directory | default "/")
    if $found != null { $found | settled }
}

# The same; null if another user can have written the file.
export def usable [directory: any]: nothing -> any {
    let named = $env.SERVICES_CONFIG? | default ""
    if $named != "" { return ($named | settled) }
    let found = upward ($directory | default "/")
    if $found == null or ((ownership foreign $found) != null and not (trusted is-trusted $found)) { return null }
    $found | settled
}

# Resolves links of the directories, but not of the last component.
def settled []: string -> string {
    let file = $in | path expand --no-symlink
    $file | path dirname | path expand | path join ($file | path basename)
}

# A cache file or directory of one project.
export def cache [kind: string, file: string]: nothing -> string {
    home XDG_CACHE_HOME .cache | path join service-orchestrator $kind ($file | hash md5)
}

# Writes a file that only its owner can read, atomically.
export def keep [file: string]: string -> nothing {
    let text = $in
    let fresh = $"($file).(random chars --length 8)"
    let directory = $file | path dirname
    if not ($directory | path exists) {
        mkdir $directory
        ^chmod 700 $directory
    }
    touch $fresh
    ^chmod 600 $fresh
    $text | save --raw --force $fresh
    # After a power failure the file has the old or the new content.
    try { ^sync --data $fresh }
    mv --force $fresh $file
}

def home [variable: string, below_home: string]: nothing -> string {
    let set = $env | get --optional $variable | default ""
    if ($set | str starts-with "/") { $set } else { home-directory | path join $below_home }
}

# From the environment, or else from Nushell.
def home-directory []: nothing -> string {
    let set = $env.HOME? | default ""
    if $set != "" { $set } else { $nu | get --optional home-dir | default ($nu | get --optional home-path) }
}
