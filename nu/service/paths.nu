# Where a project is, and where these commands keep what they have to remember. Nobody is asked for it.

use ../service-http/ownership.nu
use ../service-http/project.nu upward
use ../service-http/trusted.nu

# The `services.toml` that a directory belongs to: `$env.SERVICES_CONFIG`, else the nearest one upward; null without one. It may
# be anybody's: what is not to be trusted alone asks for it.
export def project [directory: any]: nothing -> any {
    let named = $env.SERVICES_CONFIG? | default ""
    if $named != "" { return ($named | settled) }
    let found = upward ($directory | default "/")
    if $found != null { $found | settled }
}

# The same; null where the file that was found may not be used, because somebody else can have written it.
export def usable [directory: any]: nothing -> any {
    let named = $env.SERVICES_CONFIG? | default ""
    if $named != "" { return ($named | settled) }
    let found = upward ($directory | default "/")
    if $found == null or ((ownership foreign $found) != null and not (trusted is-trusted $found)) { return null }
    $found | settled
}

# Links of its directories are resolved; one as the last step is not.
def settled []: string -> string {
    let file = $in | path expand --no-symlink
    $file | path dirname | path expand | path join ($file | path basename)
}

# A file or directory for what may be lost, of one project.
export def cache [kind: string, file: string]: nothing -> string {
    home XDG_CACHE_HOME .cache | path join service-orchestrator $kind ($file | hash md5)
}

# Writes a file that its owner alone can read, whole or not at all.
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
    # So that a power failure leaves this or what was there before.
    try { ^sync --data $fresh }
    mv --force $fresh $file
}

def home [variable: string, below_home: string]: nothing -> string {
    let set = $env | get --optional $variable | default ""
    if ($set | str starts-with "/") { $set } else { home-directory | path join $below_home }
}

# As the environment says, else as Nushell does.
def home-directory []: nothing -> string {
    let set = $env.HOME? | default ""
    if $set != "" { $set } else { $nu | get --optional home-dir | default ($nu | get --optional home-path) }
}
