//! Computes the levels of a dependency graph, or its cycles. Only this file uses petgraph.

use crate::plan::id::{DependencyEdge, Id};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use petgraph::algo::{kosaraju_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

/// A cycle: each member with the number of the edge (in the order of its dependencies) that leads to the next.
pub(super) type Path = Vec<(Id, usize)>;

/// The level of each service, or a shortest cycle of each strongly connected component. Unknown dependencies are
/// ignored.
pub(super) fn levels(needs: &[Vec<Option<DependencyEdge>>]) -> Result<Vec<u32>, Vec<Path>> {
    let graph = build(needs);
    let Ok(sorted) = toposort(&graph, None) else { return Err(cycles(&graph)) };
    let mut levels = alloc::vec![0; needs.len()];
    // An edge leads from a service to its dependency, so dependencies come last in the sort.
    for node in sorted.into_iter().rev() {
        levels[node.index()] =
            graph.neighbors(node).map(|needed| levels[needed.index()] + 1).max().unwrap_or_default();
    }
    Ok(levels)
}

fn build(needs: &[Vec<Option<DependencyEdge>>]) -> DiGraph<(), usize> {
    let edges = needs.iter().map(Vec::len).sum();
    let mut graph = DiGraph::with_capacity(needs.len(), edges);
    for _ in needs {
        graph.add_node(());
    }
    for (from, needs) in needs.iter().enumerate() {
        for (nth, need) in needs.iter().enumerate().filter_map(|(nth, need)| need.map(|need| (nth, need))) {
            graph.add_edge(NodeIndex::new(from), NodeIndex::new(need.on.index()), nth);
        }
    }
    graph
}

/// One cycle of each strongly connected component, beginning with its first member in the file; in the order of the
/// file.
fn cycles(graph: &DiGraph<(), usize>) -> Vec<Path> {
    // Tarjan's algorithm is not used, because it recurses along the longest chain.
    let knots = kosaraju_scc(graph);
    let mut search = CycleSearch {
        knots: alloc::vec![0; graph.node_count()],
        came_by: alloc::vec![None; graph.node_count()],
    };
    for (nth, knot) in knots.iter().enumerate() {
        for node in knot {
            search.knots[node.index()] = nth;
        }
    }
    let firsts = knots.into_iter().filter_map(|knot| {
        let first = knot.iter().copied().min()?;
        (knot.len() > 1 || graph.contains_edge(first, first)).then_some(first)
    });
    let mut firsts: Vec<NodeIndex> = firsts.collect();
    firsts.sort_unstable();
    firsts.into_iter().map(|first| search.cycle(graph, first)).collect()
}

/// Searches for one cycle in each strongly connected component.
struct CycleSearch {
    /// The number of the component of each node.
    knots: Vec<usize>,
    /// The predecessor on the path.
    came_by: Vec<Option<(NodeIndex, usize)>>,
}

impl CycleSearch {
    /// Breadth-first search from `start` along its dependencies, within the component, until `start` is found again.
    /// `start` must be on a cycle.
    fn cycle(&mut self, graph: &DiGraph<(), usize>, start: NodeIndex) -> Path {
        let mut open = VecDeque::from([start]);
        while let (Some(node), None) = (open.pop_front(), self.came_by[start.index()]) {
            for edge in graph.edges(node) {
                let to = edge.target();
                let inside = self.knots[to.index()] == self.knots[start.index()];
                if inside && self.came_by[to.index()].is_none() {
                    self.came_by[to.index()] = Some((node, *edge.weight()));
                    open.push_back(to);
                }
            }
        }
        let mut path = Vec::new();
        let mut at = start;
        while let Some((from, nth)) = self.came_by[at.index()] {
            path.push((id(from), nth));
            at = from;
            if at == start {
                break;
            }
        }
        path.reverse();
        // The cycle begins with its first member in the file.
        let first = path.iter().enumerate().min_by_key(|(_, (id, _))| *id).map_or(0, |(at, _)| at);
        path.rotate_left(first);
        path
    }
}

fn id(node: NodeIndex) -> Id {
    Id(u32::try_from(node.index()).expect("petgraph numbers nodes with u32"))
}
