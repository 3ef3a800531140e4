//! What must be fast. The bounds leave room for a debug build on a busy machine; the figures are printed.

use service_tests::{Project, ServiceTable, free_port};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

#[test]
fn twenty_services_in_a_chain_start_in_little_more_than_the_sum_of_their_own_waits() {
    let ports: Vec<u16> = (0..20).map(|_| free_port()).collect();
    let mut services = String::new();
    for (n, port) in ports.iter().enumerate() {
        let needs = if n == 0 { String::new() } else { format!("\"s{}\"", n - 1) };
        write!(
            services,
            "[services.s{n}]\nstart_command = \"TEST_SERVICE wait 50 listen {port}\"\n\
             health_check_endpoint = \"tcp://127.0.0.1:{port}\"\ndependencies = [{needs}]\n"
        )
        .unwrap();
    }
    let Some(project) = Project::new(&services) else { return };
    project.value("service status"); // starts the daemon, which is not what is measured
    let begun = Instant::now();
    let rows = project.value("service start s19");
    let took = begun.elapsed();
    println!("20 services in a chain, each listening after 50 ms: {took:?}");
    assert_eq!(rows.column("name").len(), 20);
    assert!(took < Duration::from_secs(4), "took {took:?}");
}

#[test]
fn the_status_of_a_hundred_running_services_comes_at_once() {
    let mut services = String::new();
    for n in 0..100 {
        writeln!(services, "[services.s{n}]\nstart_command = \"sleep 1000\"").unwrap();
    }
    let Some(project) = Project::new(&services) else { return };
    assert!(project.value("service start --all").column("ok").iter().all(|ok| ok == "true"));
    let median = "1..20 | each { null | timeit { service status } } | math median | into int";
    let took = Duration::from_nanos(project.value(median).as_u64().unwrap());
    println!("`service status` of 100 running services, median of 20 in one shell: {took:?}");
    assert!(took < Duration::from_millis(200), "took {took:?}");
}
