//! A hundred services with an HTTP check every second. No other system in the distribution has HTTP checks.

use crate::harness::{ServiceSpec, System};
use crate::workloads::sandbox::Sandbox;
use crate::workloads::workload::{Figure, Goal, Row, Workload};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(20);
const SETTLES: Duration = Duration::from_secs(3);
const EVERY: Duration = Duration::from_secs(1);

pub(super) const CHECKS: Workload = Workload {
    name: "checks",
    rows: &[Row { name: "100 HTTP checks a second: CPU in 20 s", unit: "s", goal: Goal::AtMost(0.3) }],
    run: checks,
};

fn checks(system: &dyn System) -> Option<Vec<Figure>> {
    // The same in every round: each has a thread, and threads count where processes are bounded.
    static SERVED: LazyLock<Vec<u16>> = LazyLock::new(|| (0..100).map(|_| serve()).collect());
    let sandbox = Sandbox::new();
    let checked = |index: usize| {
        let port = SERVED[index];
        ServiceSpec {
            check: Some((format!("http://127.0.0.1:{port}/"), EVERY)),
            ..sandbox.service(index, &["alive"])
        }
    };
    let services: Vec<ServiceSpec> = (0..100).map(checked).collect();
    let mut instance = sandbox.set_up(system, &services)?;
    instance.start();
    sandbox.ready.wait_for(100);
    std::thread::sleep(SETTLES);
    let before = sandbox.used();
    std::thread::sleep(WINDOW);
    let cpu = sandbox.used().cpu.saturating_sub(before.cpu).as_secs_f64();
    Some(vec![(CHECKS.rows[0].name, cpu)])
}

/// A web server that always answers 200, until this process ends.
fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = listener.local_addr().expect("a listener has an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    port
}

fn answer(stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line == "\r\n" {
            reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
    }
}
