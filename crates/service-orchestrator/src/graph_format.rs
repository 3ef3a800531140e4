//! Draws the graph: as a tree for the terminal, and as Mermaid or DOT for documents.

use service_api::view::{Dependency, Node};
use service_api::{Code, Problem};
use std::collections::HashSet;
use std::fmt::Write;

/// The preferred maximum width of a tree.
const WIDTH: usize = 80;

type Draw = fn(&[Node]) -> String;

/// The formats of a graph.
const FORMATS: [(&str, Draw); 3] = [("tree", tree), ("mermaid", mermaid), ("dot", dot)];

/// The graph in one of the formats.
///
/// # Errors
/// [`Code::BadRequest`] for an unknown format.
pub fn draw(format: &str, nodes: &[Node]) -> Result<String, Problem> {
    let found = FORMATS.iter().find(|(name, _)| *name == format);
    found.map(|(_, draw)| draw(nodes)).ok_or_else(|| {
        Problem::new(Code::BadRequest, format!("cannot draw a graph as `{format}`"))
            .help("`tree`, `mermaid` or `dot`; without a format it is a table")
    })
}

/// A tree from services without dependents down to their dependencies, with states. The dependencies of a service with
/// several dependents are drawn only at its first occurrence.
fn tree(nodes: &[Node]) -> String {
    // If the tree is too wide, the indents are narrower.
    let drawn =
        (1..=3).rev().map(|step| Tree { nodes, step, drawn: HashSet::new(), text: String::new() }.draw());
    let mut drawn = drawn.collect::<Vec<_>>().into_iter();
    let first = drawn.next().unwrap_or_default();
    drawn.fold(first, |best, next| if widest(&best) > WIDTH { next } else { best })
}

fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or_default()
}

struct Tree<'a> {
    nodes: &'a [Node],
    step: usize,
    drawn: HashSet<&'a str>,
    text: String,
}

impl<'a> Tree<'a> {
    fn draw(mut self) -> String {
        // Roots with the longest chain of dependencies come first.
        let mut roots: Vec<&Node> = self.nodes.iter().filter(|node| node.dependents.is_empty()).collect();
        roots.sort_by_key(|node| std::cmp::Reverse(node.level));
        for root in roots {
            self.node(root, None, "", "");
        }
        self.text
    }

    /// Draws a node. `lead` is the text before the node itself, `below` the text before its dependencies.
    fn node(&mut self, node: &'a Node, edge: Option<&Dependency>, lead: &str, below: &str) {
        let new = self.drawn.insert(&node.name);
        let mut line = format!("{lead}{}  {} {}", node.name, mark(&node.state), node.state);
        if let Some(edge) = edge.and_then(unusual) {
            let _ = write!(line, "  ({edge})"); // writing to a string cannot fail
        }
        if !new {
            line.push_str("  ↑ see above");
        }
        self.text.push_str(&line);
        self.text.push('\n');
        if !new {
            return;
        }
        let needs: Vec<_> =
            node.dependencies.iter().filter_map(|edge| Some((edge, self.find(&edge.name)?))).collect();
        for (nth, (edge, need)) in needs.iter().enumerate() {
            let (branch, rest) = if nth + 1 == needs.len() { ('└', ' ') } else { ('├', '│') };
            let lead = format!("{below}{}", self.limb(branch, '─'));
            let below = format!("{below}{}", self.limb(rest, ' '));
            self.node(need, Some(edge), &lead, &below);
        }
    }

    fn limb(&self, first: char, fill: char) -> String {
        let fill = fill.to_string().repeat(self.step.saturating_sub(2));
        let space = if self.step > 1 { " " } else { "" };
        format!("{first}{fill}{space}")
    }

    fn find(&self, name: &str) -> Option<&'a Node> {
        self.nodes.iter().find(|node| node.name == name)
    }
}

fn mark(state: &str) -> char {
    match state {
        "ready" => '●',
        "starting" | "stopping" => '◐',
        "waiting" => '◌',
        "backoff" => '↻',
        "completed" => '✓',
        "failed" => '✗',
        "stopped" => '○',
        _ => '?',
    }
}

/// The label of an edge; `None` if all values are defaults.
fn unusual(edge: &Dependency) -> Option<String> {
    (edge.condition != "ready" || edge.when_lost != "keep").then(|| label(edge))
}

fn label(edge: &Dependency) -> String {
    match edge.when_lost.as_str() {
        "keep" => edge.condition.clone(),
        when_lost => format!("{}, {when_lost} when lost", edge.condition),
    }
}

/// A Mermaid flowchart. Nodes are numbered, because a name such as `end` is a keyword of Mermaid.
fn mermaid(nodes: &[Node]) -> String {
    let mut text = String::from("flowchart TD\n");
    for (number, node) in nodes.iter().enumerate() {
        let _ = writeln!(text, "    n{number}[\"{}\"]", quoted(&node.name, "#quot;"));
    }
    for (number, edge, need) in edges(nodes) {
        let _ = writeln!(text, "    n{number} -->|\"{}\"| n{need}", quoted(&label(edge), "#quot;"));
    }
    text
}

/// A Graphviz graph.
fn dot(nodes: &[Node]) -> String {
    let name = |node: &Node| format!("\"{}\"", quoted(&node.name.replace('\\', "\\\\"), "\\\""));
    let mut text = String::from("digraph services {\n    node [shape=box];\n");
    for node in nodes {
        let _ = writeln!(text, "    {};", name(node));
    }
    for (number, edge, need) in edges(nodes) {
        let label = quoted(&label(edge), "\\\"");
        let _ = writeln!(text, "    {} -> {} [label=\"{label}\"];", name(&nodes[number]), name(&nodes[need]));
    }
    text.push_str("}\n");
    text
}

fn edges(nodes: &[Node]) -> impl Iterator<Item = (usize, &Dependency, usize)> {
    let find = |name: &str| nodes.iter().position(|node| node.name == name);
    nodes.iter().enumerate().flat_map(move |(number, node)| {
        node.dependencies.iter().filter_map(move |edge| Some((number, edge, find(&edge.name)?)))
    })
}

fn quoted(text: &str, quote: &str) -> String {
    text.replace('"', quote)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(text: &str) -> Dependency {
        let mut words = text.split(' ');
        let mut word = |usual: &str| words.next().unwrap_or(usual).to_owned();
        Dependency { name: word(""), condition: word("ready"), when_lost: word("keep") }
    }

    /// A graph from the dependencies of each service, in start order.
    fn graph(services: &[(&str, &[&str])]) -> Vec<Node> {
        let needs = |of: &[&str], name: &str| of.iter().any(|text| edge(text).name == name);
        let mut nodes: Vec<Node> = Vec::new();
        for (name, dependencies) in services {
            let below =
                nodes.iter().filter(|node| needs(dependencies, &node.name)).map(|node| node.level + 1);
            nodes.push(Node {
                name: (*name).into(),
                level: below.max().unwrap_or_default(),
                dependencies: dependencies.iter().map(|text| edge(text)).collect(),
                dependents: services
                    .iter()
                    .filter(|(_, of)| needs(of, name))
                    .map(|(name, _)| (*name).into())
                    .collect(),
                state: "ready".into(),
            });
        }
        nodes
    }

    const DIAMOND: [(&str, &[&str]); 5] = [
        ("disk", &[]),
        ("db", &["disk"]),
        ("api", &["db healthy restart"]),
        ("jobs", &["db"]),
        ("web", &["api", "jobs completed"]),
    ];

    #[test]
    fn a_diamond_is_drawn_once_and_named_after_that() {
        let drawn = "\
web  ● ready
├─ api  ● ready
│  └─ db  ● ready  (healthy, restart when lost)
│     └─ disk  ● ready
└─ jobs  ● ready  (completed)
   └─ db  ● ready  ↑ see above
";
        assert_eq!(tree(&graph(&DIAMOND)), drawn);
        assert_eq!(tree(&[]), "");
    }

    #[test]
    fn a_deep_graph_takes_narrower_steps_to_stay_within_the_terminal() {
        let names: Vec<String> = (0..40).map(|number| format!("service-{number}")).collect();
        let needs: Vec<Vec<&str>> = (0..40)
            .map(|number| if number > 0 { vec![names[number - 1].as_str()] } else { vec![] })
            .collect();
        let services: Vec<(&str, &[&str])> =
            names.iter().map(String::as_str).zip(needs.iter().map(Vec::as_slice)).collect();
        let drawn = tree(&graph(&services));
        assert_eq!(drawn.lines().count(), 40);
        assert!(widest(&drawn) <= WIDTH, "{drawn}");
    }

    #[test]
    fn documents_have_every_edge_with_its_condition() {
        let nodes = graph(&[("end", &[]), ("a\"b", &["end healthy restart"])]);
        assert_eq!(
            mermaid(&nodes),
            "flowchart TD\n    n0[\"end\"]\n    n1[\"a#quot;b\"]\n    n1 -->|\"healthy, restart when lost\"| n0\n"
        );
        assert_eq!(
            dot(&nodes),
            "digraph services {\n    node [shape=box];\n    \"end\";\n    \"a\\\"b\";\n    \
             \"a\\\"b\" -> \"end\" [label=\"healthy, restart when lost\"];\n}\n"
        );
    }
}
