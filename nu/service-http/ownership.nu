# Whether a services.toml is safe: one that was found, and not named, is used only if no other user can have written it.
#
# The rule is that of `crates/service-api/src/ownership.rs`; `tests/tests/security/ownership.rs` tests both with one table.

use printable.nu

# The size limits of a services.toml and of the files that it names.
const MAX_FILE_SIZE = 16mib
# Commands of Nushell remove control characters from a path, and would find another file or none.
const CONTROL = '\p{Cc}'
# The limit of consecutive links.
const MAX_LINKS = 40

# The user other than this one and root who can have written a file, or who can replace it; null if there is none. Each link on
# the way and its directory are checked as well.
export def foreign [file: string]: nothing -> any {
    let me = me
    mut path = $file
    for _ in 1..$MAX_LINKS {
        let directory = $path | path dirname
        # A path that cannot be inspected cannot be read either; the error is raised when it is read.
        let inside = look ($directory | path expand)
        if $inside == null { return null }
        let why = suspicion $inside $me $directory
        if $why != null { return $why }
        let found = look $path
        if $found == null { return null }
        let place = if $path == $file { null } else { $path }
        match $found.type {
            symlink => {
                if $found.user not-in [$me root "0"] { return (belongs $found.user $place) }
                $path = $directory | path join $found.target
            }
            dir => { $path = $path | path join services.toml }
            _ => { return (suspicion $found $me $place) }
        }
    }
    "too many links lead to it"
}

# The other user who can write to this directory, whether it exists or not; null if there is none.
export def foreign-directory [directory: string]: nothing -> any {
    let me = me
    mut path = $directory
    mut looks = 0
    loop {
        let found = look $path
        if $found != null {
            if $found.type == symlink and $found.user not-in [$me root "0"] { return (belongs $found.user $path) }
            let found = look ($path | path expand)
            # The directory itself is made private when it is used; its parents are not.
            if $path == $directory {
                if $found.user != $me { return (belongs $found.user $path) }
            } else if $looks < 2 {
                let why = suspicion $found $me $path
                if $why != null { return $why }
                $looks = $looks + 1
            }
        }
        if $path in ["/" ""] { return null }
        $path = $path | path dirname
    }
}

# The owner of a directory, if it is neither this user nor root; null if the directory does not exist.
export def stranger [directory: string]: nothing -> any {
    let found = look $directory
    if $found != null and $found.user not-in [(me) root "0"] { $found.user }
}

# An error for anything but a regular file of bounded size: a pipe, a device or an endless file is not read.
export def must-be-regular [file: string]: nothing -> nothing {
    let found = look ($file | path expand)
    let wrong = if $found == null { "there is no such file" } else if $found.type != file { "it is not a regular file" } else if $found.size > $MAX_FILE_SIZE {
        $"it has more than ($MAX_FILE_SIZE)"
    }
    if $wrong != null { error make --unspanned { msg: $"cannot read `($file | printable plain)`: ($wrong)" code: "service::bad_definition" } }
}

# The contents of such a TOML file.
export def read-toml [file: string]: nothing -> any {
    content $file | decode utf-8 | from toml
}

# The contents of such a file.
export def content [file: string]: nothing -> binary {
    must-be-regular $file
    if $file =~ $CONTROL { ^cat -- $file | into binary } else { open --raw $file | into binary }
}

# The user of this Nushell.
def me []: nothing -> string { (look $"/proc/($nu.pid)").user }

def look [path: string]: nothing -> any {
    # A user without a name is a number.
    if $path =~ $CONTROL { return (stat $path) }
    let found = try { ls --long --directory $path | get 0 } catch { return null }
    $found | merge { user: $"($found.user)" group: $"($found.group)" }
}

# The same for a path with control characters; null if there is no such file.
def stat [path: string]: nothing -> any {
    if not ($path | path exists --no-symlink) { return null }
    let said = ^stat --format "%u/%U/%g/%G/%A/%s" -- $path | complete
    if $said.exit_code != 0 { error make --unspanned { msg: $"cannot inspect `($path | printable plain)`: ($said.stderr | printable plain)" } }
    let fields = $said.stdout | str trim | split row "/"
    let name = {|number: string, name: string| if $name == UNKNOWN { $number } else { $name } }
    {
        type: (match ($fields.4 | str substring 0..0) { d => "dir", l => "symlink", "-" => "file", _ => "other" })
        user: (do $name $fields.0 $fields.1)
        group: (do $name $fields.2 $fields.3)
        mode: ($fields.4 | str substring 1..)
        size: ($fields.5 | into filesize)
        target: (if ($fields.4 | str starts-with l) { ^readlink -- $path | str trim --right --char (char newline) })
    }
}

# A directory in which everybody may write, but only owners may replace files, does not endanger its files.
def suspicion [found: record, me: string, place: any]: nothing -> any {
    if $found.user not-in [$me root "0"] { return (belongs $found.user $place) }
    let mode = $found.mode | split chars
    if $found.type == dir and ($mode | last) in [t T] { return null }
    let by_group = $mode.4 == w and not (is-private $found.group $found.user)
    if not ($by_group or $mode.7 == w) { return null }
    if $place == null { "others can write to it" } else { $"others can write to `($place)`" }
}

def belongs [user: string, place: any]: nothing -> string {
    if $place == null { $"it belongs to user ($user)" } else { $"`($place)` belongs to user ($user)" }
}

# Whether a group has no member but its owner, as many systems create one per user: it has the user's name and no members.
def is-private [group: string, user: string]: nothing -> bool {
    if $group != $user { return false }
    let line = open --raw /etc/group | lines | where ($it | str starts-with $"($group):")
    if ($line | is-empty) { return false }
    ($line.0 | split row ":" | get --optional 3 | default "" | split row "," | where $it not-in ["" $user] | is-empty)
}
