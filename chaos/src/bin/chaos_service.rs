//! A service that records its own runs: each run writes its beginning, its readiness and its exit to a file outside of
//! the state directory (its *book*), and counts the lines that it has written.
//!
//! `chaos-service BOOKS NAME WORD...`; the words set its behaviour: `deaf`, `children`, `work=MS`, `fail=N`,
//! `crash=MS`, `lines=MS`, `long`, `warm=MS`, `ready=log|notify|socket`, `bad`. While a file `calm` exists in BOOKS it
//! does not crash, and while `quiet` exists it writes no lines.

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::setsid;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, exit};
use std::sync::Mutex;
use std::thread::{self, park, sleep};
use std::time::Duration;

/// The maximum length of a line.
const MAX_LINE_BYTES: u64 = 65_000;
/// The number of runs whose lines a service can count.
const ROOM: u64 = 1 << 24;

/// One run, and its book.
struct Run {
    books: PathBuf,
    name: String,
    number: u64,
    book: File,
    words: Vec<String>,
    /// Held by the first thread that ends the run, so that only this thread records the end.
    over: Mutex<()>,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(books), Some(name)) = (arguments.next(), arguments.next()) else {
        eprintln!("chaos-service BOOKS NAME WORD...");
        exit(2);
    };
    let words: Vec<String> = arguments.collect();
    let books = PathBuf::from(books);
    match words.first().map(String::as_str) {
        Some("detach") => detach(&books, &name),
        Some("child") => stay(&books, &name),
        _ => run(books, name, words),
    }
}

fn run(books: PathBuf, name: String, words: Vec<String>) -> ! {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.thread_block().expect("a signal can be blocked");
    let id = std::env::var("SERVICE_RUN_ID").unwrap_or_default();
    let number = id.rsplit_once('#').and_then(|(_, run)| run.parse().ok()).unwrap_or(0);
    let book = books.join(format!("{name}.book"));
    let book = OpenOptions::new().create(true).append(true).open(book).expect("books can be written");
    let run = Run { books, name, number, book, words, over: Mutex::new(()) };
    run.note(&format!("begin {}", started(std::process::id())));
    let alone = run.lock("lock", libc::F_WRLCK);
    if alone.is_none() {
        run.note("twice itself");
        exit(90);
    }
    if run.lock("tree", libc::F_WRLCK).is_none() {
        run.note("twice children");
        exit(91);
    }
    if run.has("children") {
        run.spawn_child();
    }
    if run.has("bad") {
        run.end(9);
    }
    // The run is leaked, because its lock must be held as long as the process exists.
    let run: &'static Run = Box::leak(Box::new(run));
    run.write_lines();
    run.get_ready();
    if let Some(work) = run.number_of("work") {
        sleep(Duration::from_millis(work));
        let fails = run.number_of("fail").is_some_and(|each| run.number.is_multiple_of(each));
        run.end(if fails && !run.is_there("calm") { 5 } else { 0 });
    }
    if let Some(time) = run.number_of("crash") {
        thread::spawn(move || run.crash(Duration::from_millis(time * (1 + run.number % 5) / 3)));
    }
    while !matches!(signals.wait(), Ok(Signal::SIGTERM)) || run.has("deaf") {}
    run.end(if run.number.is_multiple_of(2) { 0 } else { 3 });
}

impl Run {
    fn has(&self, word: &str) -> bool {
        self.words.iter().any(|had| had == word)
    }

    fn value_of(&self, key: &str) -> Option<&str> {
        self.words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    fn number_of(&self, key: &str) -> Option<u64> {
        self.value_of(key)?.parse().ok()
    }

    fn is_there(&self, name: &str) -> bool {
        self.books.join(name).exists()
    }

    /// Writes one line to the book, in one write.
    fn note(&self, what: &str) {
        let line = format!("{} {} {} {what}\n", now(), self.number, std::process::id());
        (&self.book).write_all(line.as_bytes()).expect("books can be written");
    }

    fn end(&self, code: i32) -> ! {
        let _over = self.over.lock();
        self.note(&format!("end {code}"));
        exit(code);
    }

    /// A kernel lock that can be queried without acquiring it.
    fn lock(&self, which: &str, kind: i32) -> Option<File> {
        lock(&self.books, &self.name, which, kind)
    }

    fn spawn_child(&self) {
        let child = idle(&self.books, &self.name, "detach").status();
        assert!(child.is_ok_and(|status| status.success()), "a child can be started");
    }

    fn get_ready(&self) {
        let mut warm = self.number_of("warm").unwrap_or(0);
        while warm > 0 {
            sleep(Duration::from_millis(warm.min(20)));
            warm = warm.saturating_sub(20);
        }
        self.note("ready");
        match self.value_of("ready") {
            Some("log") => println!("READY {}", self.number),
            Some("notify") => {
                let socket = std::env::var("NOTIFY_SOCKET").expect("a service that notifies has a socket");
                let address = match socket.strip_prefix('@') {
                    Some(name) => SocketAddr::from_abstract_name(name),
                    None => SocketAddr::from_pathname(&socket),
                };
                let sent =
                    address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(b"READY=1\n", &address));
                if sent.is_err() {
                    self.end(92);
                }
            }
            Some("socket") => {
                let path = self.books.join(format!("{}.sock", self.name));
                // A former run may have left the socket file.
                let _ = std::fs::remove_file(&path);
                let listener = UnixListener::bind(path).expect("the path is free");
                thread::spawn(move || listener.incoming().for_each(drop));
            }
            _ => (),
        }
    }

    /// Writes numbered lines, and counts each after it is written completely.
    fn write_lines(&'static self) {
        let Some(pause) = self.number_of("lines") else { return };
        let counts = self.books.join(format!("{}.counts", self.name));
        let counts = OpenOptions::new().create(true).truncate(false).write(true).open(counts);
        let counts = counts.expect("books can be written");
        thread::spawn(move || {
            for n in 1_u64.. {
                while self.is_there("quiet") {
                    sleep(Duration::from_millis(20));
                }
                let long = self.has("long") && (n + self.number).is_multiple_of(23);
                let length = if long { MAX_LINE_BYTES - n % 1000 } else { n * 7 % 90 };
                let filler =
                    "abcdefghijklmnopqrstuvwxyz".bytes().cycle().skip(usize::try_from(n % 26).unwrap_or(0));
                let filler: Vec<u8> = filler.take(usize::try_from(length).unwrap_or(0)).collect();
                let text = String::from_utf8_lossy(&filler);
                let line = format!("{} {n} {length} {text} .\n", self.number);
                if std::io::stdout().lock().write_all(line.as_bytes()).is_err() {
                    self.note("mute");
                    return;
                }
                if self.number < ROOM {
                    counts.write_all_at(&n.to_le_bytes(), self.number * 8).expect("books can be written");
                }
                sleep(Duration::from_millis(pause));
            }
        });
    }

    fn crash(&self, after: Duration) {
        sleep(after);
        while self.is_there("calm") {
            sleep(Duration::from_millis(100));
        }
        self.end(i32::try_from(self.number % 7).unwrap_or(0));
    }
}

/// Acquires an open file description lock, which ends with the last process that has it open.
fn lock(books: &Path, name: &str, which: &str, kind: i32) -> Option<File> {
    let path = books.join(format!("{name}.{which}"));
    let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).ok()?;
    let wanted = libc::flock {
        l_type: i16::try_from(kind).ok()?,
        l_whence: i16::try_from(libc::SEEK_SET).ok()?,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&wanted)).ok()?;
    Some(file)
}

/// Leaves the session of the service, and its parent.
fn detach(books: &Path, name: &str) -> ! {
    setsid().expect("a fresh child leads no group");
    idle(books, name, "child").spawn().expect("a child can be started");
    exit(0);
}

/// Sleeps until it is killed.
fn stay(books: &Path, name: &str) -> ! {
    // The service has blocked the signal, and this child has inherited the mask.
    SigSet::from(Signal::SIGTERM).thread_unblock().expect("a signal can be unblocked");
    let _held = lock(books, name, "tree", libc::F_RDLCK);
    loop {
        park();
    }
}

fn idle(books: &Path, name: &str, what: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a program knows its own path"));
    command.arg(books).arg(name).arg(what).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Nanoseconds of the monotonic clock.
fn now() -> i64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}

/// The start time of a process in ticks, which is unique together with the pid.
fn started(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    fields.split(' ').nth(19).and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}
