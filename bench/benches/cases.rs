//! Times the cases. `cargo bench --package service-bench`.

use service_bench::CASES;

fn main() {
    divan::main();
}

#[divan::bench(args = CASES.iter().map(|case| case.name))]
fn case(bencher: divan::Bencher, name: &str) {
    let Some(case) = CASES.iter().find(|case| case.name == name) else { return };
    let mut act = (case.prepare)();
    bencher.bench_local(&mut act);
}
