//! `service-chaos`: thirty services in a random graph and six independent ones, eight clients, faults in every process
//! and in the machine, and a judge. A round injects faults for some time, waits until no transition is pending, and
//! judges. `cargo xtask chaos` runs this program.
//!
//! The same seed yields the same graph and the same sequence of requests and faults; their timing varies.

mod ask;
mod books;
mod calm;
mod chance;
mod client;
mod fault_injector;
mod graph;
mod judge;
mod power;
mod processes;
mod project;

use calm::Rest;
use client::{CLIENTS, Promises};
use fault_injector::Trouble;
use judge::Judge;
use project::Project;
use std::error::Error;
use std::fs;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

const USAGE: &str =
    "usage: service-chaos [--minutes N] [--seed S] [--without disk,descriptors,read-only,power] [--keep]

  --minutes  how long, 1 unless given; the round that has begun is played to its end
  --seed     which graph, actions and faults
  --without  troubles of the machine that are left out
  --keep     keep the directory also where nothing was found";

/// The time for which a round injects faults.
const DISTURBS: Duration = Duration::from_secs(12);
/// One round in this many ends with a stop of all services.
const STOPS_EACH: u64 = 3;

struct Options {
    time: Duration,
    seed: u64,
    without: Vec<String>,
    keep: bool,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    match play(&options) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let random = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_micros() % 1_000_000;
    let mut options =
        Options { time: Duration::from_mins(1), seed: random.try_into()?, without: Vec::new(), keep: false };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--minutes" => {
                options.time = Duration::from_secs_f64(value()?.parse::<f64>()?.clamp(0.0, 10_000.0) * 60.0);
            }
            "--seed" => options.seed = value()?.parse()?,
            "--without" => options.without = value()?.split(',').map(str::to_owned).collect(),
            "--keep" => options.keep = true,
            _ => return Err(format!("there is no option `{word}`").into()),
        }
    }
    Ok(options)
}

/// Runs rounds until the time is over or a violation is found, and returns the number of violations.
fn play(options: &Options) -> Result<usize, Box<dyn Error>> {
    let programs = std::env::current_exe()?.parent().ok_or("a program lies in a directory")?.to_path_buf();
    let project = Project::new(options.seed, programs)?;
    println!("seed {}, in {}", options.seed, project.root.display());
    let troubles = fault_injector::troubles(&project, &options.without);
    let (promises, mut judge, mut first, mut faults) = (Promises::default(), Judge::default(), None, 0);
    let begin = Instant::now();
    for (round, trouble) in (1..).zip(troubles.into_iter().cycle()) {
        project.round.store(round, Ordering::Relaxed);
        let hits = disturb(&project, &promises, round, trouble);
        faults += hits;
        let is_last = begin.elapsed() > options.time;
        settle(&project, &promises, &mut judge, trouble, &mut first);
        if is_last || round.is_multiple_of(STOPS_EACH) {
            calm::stops_all(&project, &promises);
        }
        println!(
            "round {round} ({}): {hits} faults; so far {:.0?}, {} daemons, {:?}",
            trouble.as_str(),
            begin.elapsed(),
            project.daemons.load(Ordering::Relaxed),
            judge.counts
        );
        if is_last || project.violations() > 0 {
            break;
        }
    }
    calm::goes_down(&project);
    fault_injector::end_all(&project);
    let violations = project.violations();
    println!("seed {}: {faults} faults, {:?}, {violations} violations", options.seed, judge.counts);
    tidy_up(&project, violations > 0 || options.keep);
    Ok(violations)
}

fn disturb(project: &Project, promises: &Promises, round: u64, trouble: Trouble) -> u64 {
    project.log(&format!("round {round}: {}", trouble.as_str()));
    for sign in ["calm", "quiet"] {
        // The files do not exist in the first round.
        let _ = fs::remove_file(project.books().join(sign));
    }
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let over = &over;
            scope.spawn(move || client::play(project, promises, round, client, over));
        }
        let hits = fault_injector::inject_faults(project, round, trouble, DISTURBS);
        over.store(true, Ordering::Relaxed);
        project.log("no more faults are injected");
        hits
    })
}

fn settle(
    project: &Project,
    promises: &Promises,
    judge: &mut Judge,
    trouble: Trouble,
    first: &mut Option<Rest>,
) {
    project.log("calm");
    let sign = |name: &str| fs::write(project.books().join(name), "");
    if let Err(error) = sign("calm") {
        project.violation("calm", &format!("the books cannot be written: {error}"));
    }
    calm::settles(project, promises);
    calm::starts_all(project, promises);
    // From here on no service writes lines.
    let _ = sign("quiet");
    thread::sleep(Duration::from_millis(300));
    judge.judge(project, trouble);
    let rest = calm::is_inactive(project, *first);
    *first = first.or(Some(rest));
    project.forget();
}

/// Removes the files of the run, or prints where they are.
fn tidy_up(project: &Project, keep: bool) {
    if keep {
        // The disk of the state disappears with this process.
        let kept = project.root.join("kept");
        let copied = std::process::Command::new("cp").arg("-r").arg(project.state()).arg(&kept).status();
        println!("kept: {} ({copied:?})", project.root.display());
        return;
    }
    // This process's mounts hide the directories below them.
    let _ = nix::mount::umount2("/proc/sys/kernel/random/boot_id", nix::mount::MntFlags::MNT_DETACH);
    let _ = nix::mount::umount2(&project.state(), nix::mount::MntFlags::MNT_DETACH);
    if let Err(error) = fs::remove_dir_all(&project.root) {
        println!("cannot remove {}: {error}", project.root.display());
    }
}
