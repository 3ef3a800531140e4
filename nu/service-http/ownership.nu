# The ownership rule: a services.toml that was found, and not named, is used only if no other user can have written it.
#
# `crates/service-api/src/ownership.rs` implements the same rule; `tests/tests/security/ownership.rs` tests both implementations with one table.

use printable.nu

# The size limits of a services.toml and of the files that it names.
const MAX_FILE_SIZE = 16mib
# Nushell's commands remove control characters from a path, so such a path needs external programs.
const CONTROL_CHARACTER = '\p{Cc}'
# The maximum number of consecutive links.
const MAX_LINKS = 40

# Describes how a user other than this one and root can have written or can replace a file; null if no other user can. Each link on
# the way and its directory are checked as well.
export def foreign [file: string]: nothing -> any {
    let user = current-user
    mut path = $file
    for _ in 1..$MAX_LINKS {
        let directory = $path | path dirname
        # A path that cannot be inspected cannot be read either; the error is raised when it is read.
        let parent = file-status ($directory | path expand)
        if $parent == null { return null }
        let risk = find-risk $parent $user $directory
        if $risk != null { return $risk }
        let found = file-status $path
        if $found == null { return null }
        let shown_path = if $path == $file { null } else { $path }
        match $found.type {
            symlink => {
                if $found.user not-in [$user root "0"] { return (describe-owner $found.user $shown_path) }
                $path = $directory | path join $found.target
            }
            dir => { $path = $path | path join services.toml }
            _ => { return (find-risk $found $user $shown_path) }
        }
    }
    "too many links lead to it"
}

# Describes how another user can write to this directory, which may not exist yet; null if no other user can.
export def foreign-directory [directory: string]: nothing -> any {
    let user = current-user
    mut path = $directory
    mut inspected = 0
    loop {
        let found = file-status $path
        if $found != null {
            if $found.type == symlink and $found.user not-in [$user root "0"] { return (describe-owner $found.user $path) }
            let found = file-status ($path | path expand)
            # The directory itself becomes private at its first use; its parents do not.
            if $path == $directory {
                if $found.user != $user { return (describe-owner $found.user $path) }
            } else if $inspected < 2 {
                let risk = find-risk $found $user $path
                if $risk != null { return $risk }
                $inspected = $inspected + 1
            }
        }
        if $path in ["/" ""] { return null }
        $path = $path | path dirname
    }
}

# The owner of a directory, if it is neither this user nor root; null if the directory does not exist.
export def foreign-owner [directory: string]: nothing -> any {
    let found = file-status $directory
    if $found != null and $found.user not-in [(current-user) root "0"] { $found.user }
}

# An error for anything but a regular file of bounded size: a pipe, a device or an endless file is not read.
export def require-regular [file: string]: nothing -> nothing {
    let found = file-status ($file | path expand)
    let reason = if $found == null { "there is no such file" } else if $found.type != file { "it is not a regular file" } else if $found.size > $MAX_FILE_SIZE {
        $"it has more than ($MAX_FILE_SIZE)"
    }
    if $reason != null { error make --unspanned { msg: $"cannot read `($file | printable plain)`: ($reason)" code: "service::bad_definition" } }
}

# The parsed content of a regular TOML file.
export def read-toml [file: string]: nothing -> any {
    content $file | decode utf-8 | from toml
}

# The content of a regular file.
export def content [file: string]: nothing -> binary {
    require-regular $file
    if $file =~ $CONTROL_CHARACTER { ^cat -- $file | into binary } else { open --raw $file | into binary }
}

# The user of this Nushell.
def current-user []: nothing -> string { (file-status $"/proc/($nu.pid)").user }

def file-status [path: string]: nothing -> any {
    # A user without a name is a number.
    if $path =~ $CONTROL_CHARACTER { return (file-status-by-stat $path) }
    let found = try { ls --long --directory $path | get 0 } catch { return null }
    $found | merge { user: $"($found.user)" group: $"($found.group)" }
}

# The status of a path with control characters; null if there is no such file.
def file-status-by-stat [path: string]: nothing -> any {
    if not ($path | path exists --no-symlink) { return null }
    let output = ^stat --format "%u/%U/%g/%G/%A/%s" -- $path | complete
    if $output.exit_code != 0 { error make --unspanned { msg: $"cannot inspect `($path | printable plain)`: ($output.stderr | printable plain)" } }
    let fields = $output.stdout | str trim | split row "/"
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

# Describes why another user can write to a file or directory. The sticky bit of a directory protects its files.
def find-risk [found: record, user: string, shown_path: any]: nothing -> any {
    if $found.user not-in [$user root "0"] { return (describe-owner $found.user $shown_path) }
    let mode = $found.mode | split chars
    if $found.type == dir and ($mode | last) in [t T] { return null }
    let by_group = $mode.4 == w and not (is-private $found.group $found.user)
    if not ($by_group or $mode.7 == w) { return null }
    if $shown_path == null { "others can write to it" } else { $"others can write to `($shown_path)`" }
}

def describe-owner [user: string, shown_path: any]: nothing -> string {
    if $shown_path == null { $"it belongs to user ($user)" } else { $"`($shown_path)` belongs to user ($user)" }
}

# Whether a group is the private group of a user: it has the user's name and no other member.
def is-private [group: string, user: string]: nothing -> bool {
    if $group != $user { return false }
    let line = open --raw /etc/group | lines | where ($it | str starts-with $"($group):")
    if ($line | is-empty) { return false }
    ($line.0 | split row ":" | get --optional 3 | default "" | split row "," | where $it not-in ["" $user] | is-empty)
}
