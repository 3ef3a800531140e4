//! The cases of the small benches: what the core, the log and the API do most, each prepared once and then done again and
//! again. `benches/cases.rs` times them, `counted` runs them under valgrind, which counts their instructions.

// A bench ends where something is not as it should be.
#![allow(clippy::missing_panics_doc)]

use service_core::change::compare;
use service_core::config::{Condition, Config, Dependency, Service, Span, WhenLost};
use service_core::fleet::{Fleet, Relatives};
use service_core::health::Verdict;
use service_core::service::{Effect, Event, Exit};
use service_core::{Moment, Name, Plan};
use service_shim::cri::{Pen, Stream};
use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

/// Something that is done again and again.
pub struct Case {
    /// What it is called in the table and in the file of counts.
    pub name: &'static str,
    /// Prepares it.
    pub prepare: fn() -> Box<dyn FnMut()>,
    /// Whether its instructions are counted; what is large takes valgrind too long.
    pub counted: bool,
}

/// All of them.
pub const CASES: [Case; 8] = [
    Case { name: "order and levels of 1,000 services, 3,000 edges", prepare: || order(1_000), counted: true },
    Case {
        name: "order and levels of 10,000 services, 30,000 edges",
        prepare: || order(10_000),
        counted: false,
    },
    Case {
        name: "order and levels of 100,000 services, 300,000 edges",
        prepare: || order(100_000),
        counted: false,
    },
    Case { name: "plan and diff of 1,000 services", prepare: || diff(1_000), counted: true },
    Case { name: "plan and diff of 10,000 services", prepare: || diff(10_000), counted: false },
    Case { name: "start, crash, restart and stop of 100 services", prepare: life, counted: true },
    Case { name: "framing of 64 KB of log lines", prepare: framing, counted: true },
    Case { name: "status of 100 services as JSON", prepare: status, counted: true },
];

/// Services that each need three of those before, the same in every run.
fn services(count: usize) -> Vec<Service> {
    let name = |index: usize| Name::new(&format!("service-{index}")).expect("a good name");
    let mut dice: u64 = 0x9e37_79b9_7f4a_7c15;
    (0..count)
        .map(|index| {
            let mut service = Service::new(name(index));
            let mut on = BTreeSet::new();
            while on.len() < index.min(3) {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                on.insert(usize::try_from(dice >> 33).unwrap_or_default() % index);
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

fn order(count: usize) -> Box<dyn FnMut()> {
    let services = services(count);
    Box::new(move || drop(black_box(plan(services.clone()))))
}

/// One in ten is changed, one in ten is gone, and all of them run.
fn diff(count: usize) -> Box<dyn FnMut()> {
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
    Box::new(move || drop(black_box(compare(&present, &known, &plan(new.clone())))))
}

/// Every one comes up, is killed, comes up again, and is stopped.
fn life() -> Box<dyn FnMut()> {
    let plan = Arc::new(plan(services(100)));
    Box::new(move || {
        let mut now = Moment::from_nanos(1_000_000_000_000);
        let mut fleet = Fleet::new(Arc::clone(&plan), 7);
        let all: Vec<_> = plan.ids().collect();
        fleet.start(&all, Relatives::Along, now);
        obey(&mut fleet, &mut now);
        for id in &all {
            let run = fleet.snapshot(*id).run;
            fleet.happened(*id, run, Event::Gone(Exit::Signal(9)), now);
        }
        obey(&mut fleet, &mut now);
        fleet.stop(&all, Relatives::Along, now);
        obey(&mut fleet, &mut now);
        black_box(&fleet);
    })
}

/// Does what the fleet orders, in a world where everything works, until it orders nothing more.
fn obey(fleet: &mut Fleet, now: &mut Moment) {
    loop {
        let orders = fleet.take_orders();
        if orders.is_empty() {
            return;
        }
        *now = now.plus(Duration::from_millis(1));
        for order in orders {
            let event = match order.effect {
                Effect::Spawn => Event::Launched,
                Effect::Probe => Event::Probed(Verdict::Healthy),
                Effect::Listen => Event::Announced,
                Effect::Terminate | Effect::Kill => Event::Gone(Exit::Code(0)),
            };
            fleet.happened(order.id, order.run, event, *now);
        }
        fleet.elapsed(*now);
    }
}

fn framing() -> Box<dyn FnMut()> {
    let lines = vec![[b'x'; 99]; 655];
    let mut out = Vec::with_capacity(128 * 1024);
    Box::new(move || {
        out.clear();
        let pen = Pen::new(jiff::Timestamp::UNIX_EPOCH, Stream::Stdout);
        for line in &lines {
            pen.line(&mut out, black_box(line));
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
