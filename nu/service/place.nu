# Where a project is, and where these commands keep what they have to remember. Nobody is asked for it.

# The `services.toml` that a directory belongs to: `$env.SERVICES_CONFIG`, else the nearest one upward; null without one.
export def project [directory: any]: nothing -> any {
    let named = $env.SERVICES_CONFIG? | default ""
    if $named != "" { return ($named | path expand) }
    mut directory = $directory | default "/"
    loop {
        let file = $directory | path join services.toml
        if ($file | path type) in [file symlink] { return ($file | path expand) }
        if $directory in ["/" ""] { return null }
        $directory = $directory | path dirname
    }
}

# A file or directory for what may be lost, of one project.
export def cache [kind: string, file: string]: nothing -> string {
    home XDG_CACHE_HOME .cache | path join service-orchestrator $kind ($file | hash md5)
}

# The file with what its user trusts.
export def trusted []: nothing -> string {
    home XDG_STATE_HOME .local/state | path join service-orchestrator trusted.nuon
}

# Writes a file that its owner alone can read, whole or not at all.
export def keep [file: string]: string -> nothing {
    let text = $in
    let fresh = $"($file).(random chars --length 8)"
    mkdir ($file | path dirname)
    touch $fresh
    ^chmod 600 $fresh
    $text | save --raw --force $fresh
    mv --force $fresh $file
}

def home [variable: string, below_home: string]: nothing -> string {
    let set = $env | get --optional $variable | default ""
    if ($set | str starts-with "/") { $set } else { $env.HOME | path join $below_home }
}
