//! [`Plan`]: a valid configuration, in which every dependency exists and there is no dependency cycle.

mod graph;
mod id;

pub use id::{DependencyEdge, Id};

use crate::config::{Config, Service, Settings, Span};
use crate::name::Name;
use crate::suggest::nearest;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use hashbrown::HashMap;

/// Services, edges and their order.
#[derive(Debug, Clone)]
pub struct Plan {
    settings: Settings,
    services: Vec<Arc<Service>>,
    by_name: HashMap<Name, Id>,
    needs: Vec<Vec<DependencyEdge>>,
    dependents: Vec<Vec<Id>>,
    levels: Vec<u32>,
    order: Vec<Id>,
}

/// An invalid relation between services.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Two services with the same name.
    #[error("service `{name}` is defined twice")]
    Duplicate {
        /// The name.
        name: Name,
        /// The second definition.
        span: Span,
    },
    /// A dependency that does not exist.
    #[error("service `{service}` depends on `{dependency}`, which is not defined")]
    Unknown {
        /// The dependent.
        service: Name,
        /// The missing service.
        dependency: Name,
        /// The place of the dependency.
        span: Span,
        /// The most similar name.
        suggestion: Option<Name>,
    },
    /// A dependency cycle.
    #[error("dependency cycle: {}", Cycle(.edges))]
    Cycle {
        /// Each service of the cycle, with the place of its dependency on the next one.
        edges: Vec<(Name, Span)>,
    },
    /// There are more services than can be numbered.
    #[error("{0} services are more than this program can number")]
    TooMany(usize),
}

/// `a -> b -> c -> a`.
struct Cycle<'a>(&'a [(Name, Span)]);

/// The maximum number of services that a message names, half from each end of the cycle.
const NAMED: usize = 16;

impl fmt::Display for Cycle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left_out = if self.0.len() > NAMED + 1 { self.0.len() - NAMED } else { 0 };
        for (nth, (name, _)) in self.0.iter().enumerate() {
            let named = left_out == 0 || nth < NAMED / 2 || nth >= NAMED / 2 + left_out;
            if named {
                write!(f, "{name} -> ")?;
            } else if nth == NAMED / 2 {
                write!(f, "… {left_out} more … -> ")?;
            }
        }
        self.0.first().map_or(Ok(()), |(first, _)| write!(f, "{first}"))
    }
}

impl Plan {
    /// Validates a configuration and orders it. Reports every unknown dependency, and one cycle of each strongly
    /// connected component.
    pub fn compile(config: Config) -> Result<Self, Vec<PlanError>> {
        let count = config.services.len();
        if u32::try_from(count).is_err() {
            return Err(alloc::vec![PlanError::TooMany(count)]);
        }
        let mut errors = Vec::new();
        let by_name = number(&config.services, &mut errors);
        let needs = resolve(&config.services, &by_name, &mut errors);
        let levels = graph::levels(&needs).unwrap_or_else(|cycles| {
            let path = |cycle: graph::Path| {
                cycle.into_iter().map(|(id, nth)| edge(&config.services, id, nth)).collect()
            };
            errors.extend(cycles.into_iter().map(|cycle| PlanError::Cycle { edges: path(cycle) }));
            Vec::new()
        });
        if !errors.is_empty() {
            return Err(errors);
        }
        let needs: Vec<Vec<DependencyEdge>> =
            needs.into_iter().map(|needs| needs.into_iter().flatten().collect()).collect();
        let mut order: Vec<Id> = numbers(count).collect();
        order.sort_by_key(|id| levels[id.index()]);
        let mut dependents = alloc::vec![Vec::new(); count];
        for (id, need) in order.iter().flat_map(|id| needs[id.index()].iter().map(|need| (*id, need))) {
            dependents[need.on.index()].push(id);
        }
        let services = config.services.into_iter().map(Arc::new).collect();
        Ok(Self { settings: config.settings, services, by_name, needs, dependents, levels, order })
    }

    /// `[orchestrator]`.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The number of services.
    pub fn len(&self) -> usize {
        self.services.len()
    }

    /// Whether there are no services.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// All services, in the order of the file.
    pub fn ids(&self) -> impl Iterator<Item = Id> + use<> {
        numbers(self.services.len())
    }

    /// The service of this name.
    pub fn id(&self, name: &str) -> Option<Id> {
        self.by_name.get(name).copied()
    }

    /// The most similar existing name.
    pub fn suggestion(&self, name: &str) -> Option<&str> {
        nearest(name, self.services.iter().map(|service| &*service.name))
    }

    /// The definition of a service.
    pub fn service(&self, id: Id) -> &Arc<Service> {
        &self.services[id.index()]
    }

    /// The dependencies of a service.
    pub fn dependencies(&self, id: Id) -> &[DependencyEdge] {
        &self.needs[id.index()]
    }

    /// The dependents of a service.
    pub fn dependents(&self, id: Id) -> &[Id] {
        &self.dependents[id.index()]
    }

    /// 0 for a service without dependencies, else one more than the highest level of its dependencies.
    pub fn level(&self, id: Id) -> u32 {
        self.levels[id.index()]
    }

    /// All services, each after its dependencies: by level, then in the order of the file.
    pub fn order(&self) -> &[Id] {
        &self.order
    }

    /// These services and all their dependencies, in start order.
    pub fn with_dependencies(&self, ids: &[Id]) -> Vec<Id> {
        self.reach(ids, |id| self.dependencies(id).iter().map(|need| need.on))
    }

    /// These services and all their dependents, in start order (in reverse for a stop).
    pub fn with_dependents(&self, ids: &[Id]) -> Vec<Id> {
        self.reach(ids, |id| self.dependents(id).iter().copied())
    }

    fn reach<Next: Iterator<Item = Id>>(&self, from: &[Id], next: impl Fn(Id) -> Next) -> Vec<Id> {
        let mut seen = alloc::vec![false; self.len()];
        let mut reached: Vec<Id> = Vec::with_capacity(from.len());
        let mut meet = |reached: &mut Vec<Id>, id: Id| {
            if !core::mem::replace(&mut seen[id.index()], true) {
                reached.push(id);
            }
        };
        for id in from {
            meet(&mut reached, *id);
        }
        let mut at = 0;
        while let Some(id) = reached.get(at).copied() {
            next(id).for_each(|id| meet(&mut reached, id));
            at += 1;
        }
        self.sorted(reached)
    }

    /// These services in start order.
    pub fn sorted(&self, ids: impl IntoIterator<Item = Id>) -> Vec<Id> {
        let mut ids: Vec<Id> = ids.into_iter().collect();
        ids.sort_unstable_by_key(|id| (self.level(*id), *id));
        ids
    }
}

/// The ids of `count` services, in the order of the file.
fn numbers(count: usize) -> impl Iterator<Item = Id> + use<> {
    (0..u32::try_from(count).unwrap_or(u32::MAX)).map(Id)
}

fn number(services: &[Service], errors: &mut Vec<PlanError>) -> HashMap<Name, Id> {
    let mut by_name = HashMap::with_capacity(services.len());
    for (id, service) in numbers(services.len()).zip(services) {
        if by_name.insert(service.name.clone(), id).is_some() {
            errors.push(PlanError::Duplicate { name: service.name.clone(), span: service.span });
        }
    }
    by_name
}

/// The maximum number of unknown dependencies with a suggestion.
const MAX_SUGGESTIONS: usize = 20;

fn resolve(
    services: &[Service],
    by_name: &HashMap<Name, Id>,
    errors: &mut Vec<PlanError>,
) -> Vec<Vec<Option<DependencyEdge>>> {
    let mut helped = 0;
    let mut need_of = |service: &Service, dependency: &crate::config::Dependency| {
        let found = by_name.get(&dependency.name);
        if found.is_none() {
            helped += 1;
            let most = if helped > MAX_SUGGESTIONS { 0 } else { services.len() };
            let others = services.iter().take(most).map(|other| &other.name);
            let others = others.filter(|name| **name != service.name);
            errors.push(PlanError::Unknown {
                service: service.name.clone(),
                dependency: dependency.name.clone(),
                span: dependency.span,
                suggestion: nearest(&dependency.name, others.map(|name| &**name))
                    .and_then(|name| Name::new(name).ok()),
            });
        }
        found.map(|on| DependencyEdge {
            on: *on,
            condition: dependency.condition,
            when_lost: dependency.when_lost,
        })
    };
    services
        .iter()
        .map(|service| service.dependencies.iter().map(|dependency| need_of(service, dependency)).collect())
        .collect()
}

fn edge(services: &[Service], id: Id, nth: usize) -> (Name, Span) {
    let service = &services[id.index()];
    (service.name.clone(), service.dependencies.get(nth).map_or(service.span, |dependency| dependency.span))
}

impl PlanError {
    /// The related places, the most informative one first.
    pub fn spans(&self) -> Vec<Span> {
        match self {
            Self::Duplicate { span, .. } | Self::Unknown { span, .. } => alloc::vec![*span],
            Self::Cycle { edges } => edges.iter().map(|(_, span)| *span).collect(),
            Self::TooMany(_) => Vec::new(),
        }
    }

    /// The remedy, if any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Unknown { suggestion: Some(name), .. } => Some(alloc::format!("did you mean `{name}`?")),
            Self::Unknown { dependency, .. } => {
                Some(alloc::format!("define [services.{dependency}], or remove the dependency"))
            }
            Self::Cycle { .. } => Some("remove one of these dependencies".to_string()),
            Self::Duplicate { .. } => Some("rename one of the two".to_string()),
            Self::TooMany(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Dependency;
    use crate::config::{Condition, WhenLost};
    use alloc::{format, vec};

    fn needing(nth: usize, on: &[usize]) -> Service {
        let name = |nth: usize| Name::new(&format!("s{nth}")).unwrap();
        let mut service = Service::new(name(nth));
        let need = |on: &usize| Dependency {
            name: name(*on),
            span: Span::default(),
            condition: Condition::default(),
            when_lost: WhenLost::default(),
        };
        service.dependencies = on.iter().map(need).collect();
        service
    }

    fn errors(services: Vec<Service>) -> Vec<String> {
        let errors = Plan::compile(Config { services, ..Config::default() }).unwrap_err();
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_long_circle_is_told_from_both_ends() {
        let told = errors((0..5_000).map(|nth| needing(nth, &[(nth + 1) % 5_000])).collect());
        assert_eq!(
            told,
            ["dependency cycle: s0 -> s1 -> s2 -> s3 -> s4 -> s5 -> s6 -> s7 -> \
              … 4984 more … -> s4992 -> s4993 -> s4994 -> s4995 -> s4996 -> s4997 -> s4998 -> s4999 -> s0"]
        );
        let whole = errors((0..17).map(|nth| needing(nth, &[(nth + 1) % 17])).collect());
        assert!(!whole[0].contains('…') && whole[0].ends_with("s16 -> s0"), "{whole:?}");
    }

    #[test]
    fn each_knot_is_told_by_a_circle_of_its_own() {
        // The services form pairs. Each pair is a cycle, and also depends on the first service of the next pair.
        let pair =
            |nth: usize| if nth.is_multiple_of(2) { vec![nth + 1, (nth + 2) % 1_000] } else { vec![nth - 1] };
        let mut services: Vec<Service> = (0..998).map(|nth| needing(nth, &pair(nth))).collect();
        services.extend([needing(998, &[999]), needing(999, &[998])]);
        let told = errors(services);
        assert_eq!(told.len(), 500);
        assert_eq!(told[0], "dependency cycle: s0 -> s1 -> s0");
    }
}
