//! The cases of the small benches: the most frequent operations of the core, the log and the API. Each case is prepared
//! once and then repeated. `benches/cases.rs` times the cases; `counted` runs them under valgrind, which counts their
//! instructions.

// A bench panics if a result is unexpected.
#![allow(clippy::missing_panics_doc)]

pub mod growing;

use service_core::change::{Change, compare};
use service_core::config::{Condition, Config, Dependency, Service, Span, WhenLost};
use service_core::fleet::{Fleet, Propagate};
use service_core::health::ProbeResult;
use service_core::service::{Effect, Event, Exit, Presence};
use service_core::{Moment, Name, Plan};
use service_shim::cri::{RecordWriter, Stream};
use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An operation that is repeated.
pub struct Case {
    /// The name in the file of counts.
    pub name: &'static str,
    /// Prepares the operation.
    pub prepare: fn() -> Box<dyn FnMut()>,
}

/// All cases.
pub const CASES: [Case; 5] = [
    Case { name: "order and levels of 1,000 services", prepare: || again(services(1_000), plan) },
    Case {
        name: "plan and diff of 1,000 services",
        prepare: || again(Changed::new(1_000), Changed::compare),
    },
    Case { name: "start, crash, restart and stop of 100 services", prepare: life },
    Case { name: "framing of 64 KB of log lines", prepare: framing },
    Case { name: "status of 100 services as JSON", prepare: status },
];

/// The duration of ordering this many services with three dependencies each.
pub fn order(count: usize) -> Duration {
    timed(services(count), plan)
}

/// The duration of compiling a plan of this many services and comparing it with the running ones.
pub fn difference(count: usize) -> Duration {
    timed(Changed::new(count), Changed::compare)
}

fn timed<In, Out>(input: In, act: impl Fn(In) -> Out) -> Duration {
    let begun = Instant::now();
    let done = black_box(act(input));
    let took = begun.elapsed();
    drop(done);
    took
}

fn again<In: Clone + 'static, Out>(input: In, act: impl Fn(In) -> Out + 'static) -> Box<dyn FnMut()> {
    Box::new(move || drop(black_box(act(input.clone()))))
}

/// Services with three dependencies among the previous ones, the same in every run.
fn services(count: usize) -> Vec<Service> {
    let name = |index: usize| Name::new(&format!("service-{index}")).expect("a good name");
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    (0..count)
        .map(|index| {
            let mut service = Service::new(name(index));
            let mut on = BTreeSet::new();
            while on.len() < index.min(3) {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                on.insert(usize::try_from(random >> 33).unwrap_or_default() % index);
            }
            service.dependencies = on.into_iter().map(|on| need(name(on))).collect();
            service
        })
        .collect()
}

fn need(name: Name) -> Dependency {
    Dependency {
        name,
        span: Span::default(),
        condition: Condition::default(),
        when_lost: WhenLost::default(),
    }
}

fn plan(services: Vec<Service>) -> Plan {
    Plan::compile(Config { services, ..Config::default() }).expect("a good plan")
}

/// A plan in which all services run, one in ten has changed, and one in ten was removed.
#[derive(Clone)]
struct Changed {
    present: Arc<BTreeMap<Name, Arc<Service>>>,
    known: Arc<BTreeSet<Name>>,
    new: Vec<Service>,
}

impl Changed {
    fn new(count: usize) -> Self {
        let old = services(count);
        let present = old.iter().map(|service| (service.name.clone(), Arc::new(service.clone()))).collect();
        let known = old.iter().map(|service| service.name.clone()).collect();
        let gone: BTreeSet<Name> = old.iter().step_by(10).map(|service| service.name.clone()).collect();
        let mut new: Vec<Service> = old.into_iter().filter(|service| !gone.contains(&service.name)).collect();
        for (index, service) in new.iter_mut().enumerate() {
            service.dependencies.retain(|need| !gone.contains(&need.name));
            if index % 10 == 0 {
                service.start_command.text = "another".to_owned();
            }
        }
        Self { present: Arc::new(present), known: Arc::new(known), new }
    }

    fn compare(self) -> Vec<Change> {
        compare(&self.present, &self.known, &plan(self.new))
    }
}

/// The case in which every service starts, is killed, starts again, and is stopped.
fn life() -> Box<dyn FnMut()> {
    let plan = Arc::new(plan(services(100)));
    Box::new(move || {
        let mut now = Moment::from_nanos(1_000_000_000_000);
        let mut fleet = Fleet::new(Arc::clone(&plan), 7);
        let all: Vec<_> = plan.ids().collect();
        fleet.start(&all, Propagate::Yes, now);
        obey(&mut fleet, &mut now);
        for id in &all {
            let run = fleet.snapshot(*id).run;
            fleet.handle_event(*id, run, Event::TreeExited(Exit::Signal(9)), now);
        }
        obey(&mut fleet, &mut now);
        fleet.stop(&all, Propagate::Yes, now);
        obey(&mut fleet, &mut now);
        black_box(&fleet);
    })
}

/// Simulates the effects of the fleet, all of which succeed, until there are none.
fn obey(fleet: &mut Fleet, now: &mut Moment) {
    loop {
        let orders = fleet.take_effects();
        if orders.is_empty() {
            return;
        }
        *now = now.plus(Duration::from_millis(1));
        for order in orders {
            let event = match order.effect {
                Effect::Spawn => Event::Launched,
                Effect::Probe => Event::Probed(ProbeResult::Success),
                Effect::CheckPresence => Event::PresenceChecked(Presence::Absent),
                Effect::WatchReadiness => Event::ReadyNotified,
                Effect::Terminate | Effect::Kill => Event::TreeExited(Exit::Code(0)),
            };
            fleet.handle_event(order.id, order.run, event, *now);
        }
        fleet.handle_timeouts(*now);
    }
}

fn framing() -> Box<dyn FnMut()> {
    let lines = vec![[b'x'; 99]; 655];
    let mut out = Vec::with_capacity(128 * 1024);
    Box::new(move || {
        out.clear();
        let writer = RecordWriter::new(jiff::Timestamp::UNIX_EPOCH, Stream::Stdout);
        for line in &lines {
            writer.write_line(&mut out, black_box(line));
        }
        black_box(&out);
    })
}

fn status() -> Box<dyn FnMut()> {
    let row = |index: u32| service_api::view::Status {
        name: format!("service-{index}"),
        status: "running".to_owned(),
        state: "ready".to_owned(),
        health: "healthy".to_owned(),
        pid: Some(10_000 + index),
        uptime_ms: Some(f64::from(index) * 1234.567),
        memory: Some(u64::from(index) << 20),
        restarts: index,
        details: None,
    };
    let rows: Vec<_> = (0..100).map(row).collect();
    Box::new(move || drop(black_box(serde_json::to_vec(&rows))))
}
