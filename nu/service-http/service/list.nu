# `service list`.

use ../across.nu
use ../client.nu
use ../names.nu
use ../problem.nu
use ../rows.nu
use ../selector.nu

# List the definitions of the project's services.
#
# The command starts no daemon.
@category service
@search-terms definitions show ls
export def "service list" [
    ...names: string@"names all" # the services; or pipe in names, or rows with a `name` column
    --config (-c): path # the services.toml to use
]: any -> table {
    let piped = $in
    let projects = across $piped $config
    if $projects != null {
        return (across in-each $projects {|path| null | service list ...$names --config $path })
    }
    let span = selector mark $names $piped (metadata $names).span
    let selected = selector $names $piped $config $span
    if (selector selects-nothing $selected) { return [] }
    let all = client read $config $span /api/v1/services/list {} [list]
    if $selected == null { return ($all | rows service) }
    let missing = $selected | where $it not-in $all.name
    if ($missing | is-not-empty) { raise-unknown $missing.0 $all $span }
    $selected | each {|name| $all | where name == $name | first } | rows service
}

def raise-unknown [name: string, all: list, span: record]: nothing -> error {
    # No service has a name of more than 64 characters.
    let compared = $name | str substring 0..<65
    let suggestion = $all | get name | sort-by {|known| likeness $known $compared } | first
    let help = if ($suggestion | str distance $compared) < 3 { $"did you mean `($suggestion)`?" } else { "`service list` shows all" }
    problem raise { code: not_found message: $"there is no service `($name)`" help: $help } $span
}

# Lower values are more similar; a different first letter counts as a difference of its own.
def likeness [known: string, name: string]: nothing -> int {
    let same = ($known | str substring 0..0) == ($name | str substring 0..0)
    ($known | str distance $name) * 2 + (if $same { 0 } else { 1 })
}
