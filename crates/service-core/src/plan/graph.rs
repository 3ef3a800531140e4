//! The one file that names petgraph: levels of a graph of needs, or the circle in it.

use super::{Id, Need};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use petgraph::algo::{kosaraju_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

/// Each member with the number of the edge (in the order of its needs) that leads to the next.
pub(super) type Circle = Vec<(Id, usize)>;

/// The level of each service, or of each knot of services that all need each other a shortest circle through its first.
pub(super) fn levels(needs: &[Vec<Need>]) -> Result<Vec<u32>, Vec<Circle>> {
    let graph = build(needs);
    let sorted = toposort(&graph, None).map_err(|_| circles(&graph))?;
    let mut levels = alloc::vec![0; needs.len()];
    // An edge leads from a service to what it needs, so what is needed comes last in the sort.
    for node in sorted.into_iter().rev() {
        levels[node.index()] =
            graph.neighbors(node).map(|needed| levels[needed.index()] + 1).max().unwrap_or_default();
    }
    Ok(levels)
}

fn build(needs: &[Vec<Need>]) -> DiGraph<(), usize> {
    let edges = needs.iter().map(Vec::len).sum();
    let mut graph = DiGraph::with_capacity(needs.len(), edges);
    for _ in needs {
        graph.add_node(());
    }
    for (from, needs) in needs.iter().enumerate() {
        for (nth, need) in needs.iter().enumerate() {
            graph.add_edge(NodeIndex::new(from), NodeIndex::new(need.on.index()), nth);
        }
    }
    graph
}

/// One circle of each knot, in the order of the file.
fn circles(graph: &DiGraph<(), usize>) -> Vec<Circle> {
    let is_knot = |nodes: &Vec<NodeIndex>| nodes.len() > 1 || graph.contains_edge(nodes[0], nodes[0]);
    let knots = kosaraju_scc(graph).into_iter().filter(is_knot);
    let mut firsts: Vec<NodeIndex> = knots.filter_map(|nodes| nodes.into_iter().min()).collect();
    firsts.sort_unstable();
    firsts.into_iter().map(|first| circle(graph, first)).collect()
}

/// Breadth first from `start` along its needs until it is met again. `start` is known to be on a circle.
fn circle(graph: &DiGraph<(), usize>, start: NodeIndex) -> Circle {
    let mut came_by = alloc::vec![None; graph.node_count()];
    let mut open = VecDeque::from([start]);
    while let (Some(node), None) = (open.pop_front(), came_by[start.index()]) {
        for edge in graph.edges(node) {
            let to = edge.target();
            if came_by[to.index()].is_none() {
                came_by[to.index()] = Some((node, *edge.weight()));
                open.push_back(to);
            }
        }
    }
    let mut path = Vec::new();
    let mut at = start;
    while let Some((from, nth)) = came_by[at.index()] {
        path.push((id(from), nth));
        at = from;
        if at == start {
            break;
        }
    }
    path.reverse();
    // Told from the member that comes first in the file.
    let first = path.iter().enumerate().min_by_key(|(_, (id, _))| *id).map_or(0, |(at, _)| at);
    path.rotate_left(first);
    path
}

fn id(node: NodeIndex) -> Id {
    Id(u32::try_from(node.index()).expect("petgraph numbers nodes with u32"))
}
