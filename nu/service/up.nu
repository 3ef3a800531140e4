# `service up`: everything this project has, in one word.

# Start the named services, or all of the project, each after what it needs.
#
# Answers when they are ready or have failed, with one row for each.
@category service
@search-terms start all compose
@example "bring the whole project up" { service up }
@example "bring one service up, with what it needs" { service up web-app }
export def main [
    ...names: string # services; all of the project if none is named
]: nothing -> table {
    if ($names | is-empty) { service start --all } else { service start ...$names }
}
