# `service up`: everything this project has, in one word.

use caller.nu
use names.nu

# Start the named services, or all of the project, each after what it needs.
#
# Answers when they are ready or have failed, with one row for each.
@category service
@search-terms start all compose
@example "bring the whole project up" { service up }
@example "bring one service up, with what it needs" { service up web-app }
export def "service up" [
    ...names: string@"names idle" # services; all of the project if none is named
]: nothing -> table {
    # Not around the start itself, whose rows come one by one.
    caller (metadata $names).span { service list ...$names | ignore }
    if ($names | is-empty) { service start --all } else { service start ...$names }
}
