//! The cases whose cost may at most double for twice the input, because their input comes from other users. `cargo
//! xtask counts` compares the instructions of each case at a size and at twice that size.

use crate::{need, obey, plan};
use service_api::redact;
use service_config::load;
use service_core::config::{Config, Service};
use service_core::fleet::{Fleet, Progress, Propagate};
use service_core::health::Endpoint;
use service_core::plan::Plan;
use service_core::service::Event;
use service_core::suggest::nearest;
use service_core::{Id, Moment, Name};
use service_host::text::single_line;
use service_http::wants_lines;
use service_probe::describe_dns_answer;
use service_store::journal::pieces_of_starts;
use std::hint::black_box;
use std::sync::Arc;
use tempfile::TempDir;

/// An operation on an input of a given size.
pub struct Growing {
    /// The name of the case.
    pub name: String,
    /// The smaller of the two sizes.
    pub size: usize,
    /// Runs the operation on an input of this size.
    pub act: Box<dyn Fn(usize)>,
}

/// Text that redaction scans: each byte with a meaning, alone and in a context that makes redaction scan further.
const TEXTS: [&str; 50] = [
    "@",
    "a:b@",
    ":",
    "://",
    "://a:b",
    "a://b:c@",
    "http://h:80/@",
    "=",
    "a=",
    "token=",
    "token= ",
    "token=\" ",
    "token=\"\\",
    "--user=a ",
    "-",
    "--",
    "-p ",
    " -u,x",
    " -u \"\"\"",
    " -u '",
    " --token ",
    "mysql ",
    "mysql -p",
    " -p ",
    "docker login -p,",
    "htpasswd -b ",
    "vault login a=\"\\",
    "vault login ",
    "sqlplus -'",
    "sqlplus a/@",
    "xfreerdp /p:",
    "curl -b \"",
    "htpasswd ; -b,",
    "\"",
    "'",
    "`",
    "\\",
    "\n",
    "cookie:\n",
    "\"token\": ",
    "pass: ",
    "eyJ",
    "eyJ-",
    "ghp_",
    "sk-a",
    "Bearer ",
    "basic:",
    "-----BEGIN ",
    "-----BEGIN PRIVATE KEY-----",
    "é",
];

/// All cases.
pub fn all() -> Vec<Growing> {
    let mut all: Vec<Growing> = TEXTS
        .iter()
        .map(|part| {
            grows(format!("redaction of {part:?}"), 16_384, |size| {
                drop(black_box(redact::redact(&part.repeat(size / part.len()))));
            })
        })
        .collect();
    let of = |name: &str, size, act: fn(usize)| grows(name.to_owned(), size, act);
    all.extend([
        of("nothing", 1, |size| {
            black_box(size);
        }),
        of("an answer of a DNS server", 64, |size| {
            assert!(describe_dns_answer(&addresses(size)).len() > 11 * size);
        }),
        of("redaction of an environment", 16_384, environment),
        of("a name that is like none", 16_384, |size| {
            let names: Vec<String> = (0..200).map(|nth| format!("service-{nth}")).collect();
            black_box(nearest(&"a".repeat(size), names.iter().map(String::as_str)));
        }),
        of("a name among many", 256, |size| {
            let names: Vec<String> = (0..size).map(|nth| format!("service-{nth}")).collect();
            black_box(nearest("servise-x", names.iter().map(String::as_str)));
        }),
        of("a chain of services", 512, |size| drop(black_box(plan(chain(size, false))))),
        of("a cycle of services", 512, |size| wrong(chain(size, true))),
        of("cycles in a row", 512, |size| wrong(cycles(size))),
        of("dependencies that do not exist", 512, |size| {
            wrong((0..size).map(|nth| needing(nth, &[size + nth])).collect());
        }),
        of("an endpoint", 16_384, |size| {
            let _ = black_box(Endpoint::parse(&format!("http://h:80/{}", "a/".repeat(size / 2))));
        }),
        of("a file of services", 128, |size| file(&(0..size).map(service).collect::<String>())),
        of("a file with a cycle", 128, |size| {
            let needing = |nth: usize| service(nth) + &format!("dependencies = ['s{}']\n", (nth + 1) % size);
            file(&(0..size).map(needing).collect::<String>());
        }),
        of("a file of unknown keys", 128, |size| {
            file(&(0..size).map(|nth| service(nth) + "prot = 1\n").collect::<String>());
        }),
        of("a file of one long line", 128, |size| {
            let each = |nth: usize| format!("s{nth} = {{ start_command = 'true', prot = 1 }}, ");
            file(&format!(
                "services = {{ {}z = {{ start_command = 'true' }} }}",
                (0..size).map(each).collect::<String>()
            ));
        }),
        of("a file that is not TOML", 4_096, |size| file(&"a = '1'\n[x\n".repeat(size / 8))),
        of("what Accept says", 16_384, |size| {
            black_box(wants_lines(&"text/plain;q=0.1,".repeat(size / 17)));
        }),
        of("what a manager says", 16_384, |size| {
            black_box(single_line(&"\u{1b}[1mred \u{1b}]0;".repeat(size / 13)));
        }),
        of("starts in a journal", 256, starts),
        of("lines of a log", 16_384, |size| {
            let log = "2026-01-01T00:00:00.000000000Z stdout P a\n".repeat(size / 42);
            drop(black_box(service_shim::tail::lines(log.as_bytes())));
        }),
        of("a chain that starts", 128, |size| start(chain(size, false))),
        of("a chain of which the first fails", 128, |size| fail(chain(size, false))),
    ]);
    all
}

fn grows(name: String, size: usize, act: impl Fn(usize) + 'static) -> Growing {
    Growing { name, size, act: Box::new(act) }
}

fn environment(size: usize) {
    let value = |nth: usize| (format!("TOKEN_{nth}"), format!("aaaaaaaa{nth}"));
    let values: Vec<(String, String)> = (0..size / 64).map(value).collect();
    drop(black_box(redact::without(&"a".repeat(size), &values)));
}

/// The response of a DNS server with `count` addresses for the name `a`.
fn addresses(count: usize) -> Vec<u8> {
    let count = u16::try_from(count).expect("no answer has more");
    let mut answer = vec![0, 1, 0x81, 0x80, 0, 1];
    answer.extend(count.to_be_bytes());
    answer.extend([0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1]);
    for nth in 0..count {
        let [high, low] = nth.to_be_bytes();
        // The name is a pointer to the question's name, at byte 12.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 110, 120, 100 + high, low]);
    }
    answer
}

fn needing(nth: usize, on: &[usize]) -> Service {
    let name = |nth: usize| Name::new(&format!("service-{nth}")).expect("a good name");
    let mut service = Service::new(name(nth));
    service.dependencies = on.iter().map(|on| need(name(*on))).collect();
    service
}

fn chain(count: usize, closed: bool) -> Vec<Service> {
    let on = |nth: usize| {
        if nth > 0 {
            vec![nth - 1]
        } else if closed {
            vec![count - 1]
        } else {
            Vec::new()
        }
    };
    (0..count).map(|nth| needing(nth, &on(nth))).collect()
}

/// Pairs that depend on each other, each with an edge to the next pair.
fn cycles(count: usize) -> Vec<Service> {
    let on = |nth: usize| match nth % 2 {
        0 if nth + 2 < count => vec![nth + 1, nth + 2],
        0 => vec![nth + 1],
        _ => vec![nth - 1],
    };
    (0..count).map(|nth| needing(nth, &on(nth))).collect()
}

fn wrong(services: Vec<Service>) {
    let errors = Plan::compile(Config { services, ..Config::default() }).expect_err("it is wrong");
    for error in &errors {
        drop(black_box((error.to_string(), error.help())));
    }
}

fn service(nth: usize) -> String {
    format!(
        "[services.s{nth}]\nstart_command = 'true'\nhealth_check_endpoint = 'tcp://127.0.0.1:{}'\n",
        1024 + nth
    )
}

/// Computes the critical path of `count` consecutive starts of a service.
fn starts(count: usize) {
    let event = |seq: usize, to: &str| {
        format!(
            "{{\"seq\":{seq},\"time\":\"2026-01-01T00:00:00Z\",\"since_boot_ms\":{seq}.0,\"service\":\"web\",\"event\":\"state\",\
             \"from\":null,\"to\":\"{to}\",\"reason\":null,\"run\":{seq}}}\n"
        )
    };
    let text: String =
        (0..count).map(|nth| event(2 * nth + 1, "starting") + &event(2 * nth + 2, "ready")).collect();
    let journal = written("journal.jsonl", &text);
    assert_eq!(pieces_of_starts(&journal.path().join("journal.jsonl")), count);
}

/// Starts all services, one after the other.
fn start(services: Vec<Service>) {
    let (mut fleet, all, mut now) = fleet(services);
    fleet.start(&all, Propagate::Yes, now);
    obey(&mut fleet, &mut now);
    black_box(&fleet);
}

/// Fails the service that all others wait for, and queries the wait progress of each.
fn fail(services: Vec<Service>) {
    let (mut fleet, all, now) = fleet(services);
    fleet.start(&all, Propagate::Yes, now);
    let first = fleet.take_effects()[0];
    fleet.handle_event(first.id, first.run, Event::LaunchFailed("no such program".to_owned()), now);
    let prospects = fleet.prospects();
    let never = all.iter().filter(|id| matches!(prospects.start(**id), Progress::Impossible(_)));
    assert_eq!(never.count(), all.len());
}

fn fleet(services: Vec<Service>) -> (Fleet, Vec<Id>, Moment) {
    let plan = Arc::new(plan(services));
    let all = plan.ids().collect();
    (Fleet::new(plan, 7), all, Moment::from_nanos(1_000_000_000_000))
}

fn written(name: &str, text: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("a place to write to");
    std::fs::write(directory.path().join(name), text).expect("a file");
    directory
}

/// Reads a file like the daemon, and reports its problems like `service check`.
fn file(text: &str) {
    if let Err(problem) = black_box(load::config_from_str(text, "services.toml")) {
        drop(black_box(problem.redacted().to_string()));
    }
    let directory = written("services.toml", text);
    drop(black_box(load::check(&directory.path().join("services.toml"), |_| Vec::new())));
}
