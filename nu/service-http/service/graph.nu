# `service graph`.

use ../client.nu
use ../names.nu
use ../rows.nu
use ../selector.nu

const FORMATS = [tree mermaid dot]

# Show the dependency graph with the state of each service.
#
# The command starts no daemon.
@category service
@search-terms dependencies tree mermaid dot graphviz draw
export def "service graph" [
    ...names: string@"names all" # the services; or pipe in names, or rows with a `name` column
    --config (-c): path # the services.toml to use
    --format (-f): string@formats # draw the graph: `tree` for the terminal, `mermaid` or `dot` for documents
]: any -> any {
    let piped = $in
    let span = selector mark $names $piped (metadata $names).span
    let selected = selector $names $piped $config $span
    if (selector selects-nothing $selected) { return (if $format == null { [] } else { "" }) }
    let query = { names: (selector joined $selected) format: $format }
    let words = [graph] ++ (if $format == null { [] } else { [--format $format] }) ++ ($selected | default [])
    let found = client read $config $span /api/v1/graph $query $words
    if $format == null { $found | rows node } else { $found }
}

def formats []: nothing -> list<string> { $FORMATS }
