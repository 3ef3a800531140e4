//! [`Shim`]: a running shim, from the daemon's side.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use service_shim::protocol::Hello;
use service_shim::{
    DroppedLines, Exit, Files, Launch, LaunchFds, LogLimits, OrphanedOutput, PROTOCOL_VERSION, Phase,
    Process, RunRecord, ShimRequest,
};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_service-shim");
/// A time limit far above the duration of any step.
const DEADLINE: Duration = Duration::from_secs(20);

/// A launch of a service in a directory of its own.
pub(crate) struct Prepared {
    pub(crate) directory: TempDir,
    pub(crate) launch: Launch,
}

/// A service that runs this shell script.
pub(crate) fn script(script: &str) -> Prepared {
    program(&["sh", "-c", script])
}

/// A service that runs this program.
pub(crate) fn program(argv: &[&str]) -> Prepared {
    let directory = tempfile::tempdir().unwrap();
    let launch = Launch {
        version: PROTOCOL_VERSION,
        service: "web".into(),
        run: 7,
        directory: directory.path().into(),
        run_directory: directory.path().into(),
        argv: argv.iter().map(ToString::to_string).collect(),
        working_dir: directory.path().into(),
        env: Vec::new(),
        identity: None,
        log: LogLimits { max_size: 1 << 20, max_files: 3 },
        notify: false,
        ready_log: None,
        env_clear: false,
        no_new_privileges: false,
        dropped_lines: DroppedLines::default(),
        limits: service_shim::protocol::RunLimits::default(),
    };
    Prepared { directory, launch }
}

impl Prepared {
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Launch)) -> Self {
        change(&mut self.launch);
        self
    }

    pub(crate) fn start(self) -> Shim {
        self.start_as(Command::new(PROGRAM))
    }

    /// Starts the shim with another command, which is passed by value because it holds the zygote's end of the
    /// connection open.
    pub(crate) fn start_as(self, program: Command) -> Shim {
        let zygote = Zygote::start(program);
        let (connection, orphaned_output) = zygote.shim(&self.launch);
        let files = Files::new(&self.launch.directory).with_run_directory(&self.launch.run_directory);
        Shim { files, connection, orphaned_output, process: None, zygote, _directory: self.directory }
    }
}

/// A zygote process, which ends when this is dropped.
pub(crate) struct Zygote {
    socket: Option<UnixStream>,
    process: Child,
}

impl Zygote {
    pub(crate) fn start(mut program: Command) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(DEADLINE)).unwrap();
        let process = program.stdin(Stdio::from(OwnedFd::from(theirs))).spawn().unwrap();
        let mut hello = String::new();
        BufReader::new(&ours).read_line(&mut hello).unwrap();
        assert_eq!(serde_json::from_str::<Hello>(&hello).unwrap(), Hello { version: PROTOCOL_VERSION });
        Self { socket: Some(ours), process }
    }

    /// Launches a shim.
    pub(crate) fn shim(&self, launch: &Launch) -> (Connection, OrphanedOutput) {
        let mut line = serde_json::to_vec(launch).unwrap();
        line.push(b'\n');
        let (mut stream, orphaned_output) = self.prepare_shim();
        stream.write_all(&line).unwrap();
        (Connection(BufReader::new(stream)), orphaned_output)
    }

    /// Creates a shim that waits for its launch.
    pub(crate) fn prepare_shim(&self) -> (UnixStream, OrphanedOutput) {
        let (launch_fds, stream, orphaned_output) = LaunchFds::create().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        launch_fds.send(self.socket.as_ref().unwrap()).unwrap();
        (stream, orphaned_output)
    }
}

impl Zygote {
    /// Hangs up, as a daemon that has exited.
    pub(crate) fn hang_up(&mut self) {
        self.socket = None;
    }

    /// The daemon's end of the socket.
    pub(crate) fn socket(&self) -> &UnixStream {
        self.socket.as_ref().unwrap()
    }

    /// Kills the zygote.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Zygote {
    /// Hangs up, and waits until the zygote has ended after its last shim.
    fn drop(&mut self) {
        self.socket = None;
        self.process.wait().unwrap();
    }
}

/// One connection to a shim.
pub(crate) struct Connection(BufReader<UnixStream>);

impl Connection {
    pub(crate) fn open(files: &Files) -> Self {
        let stream = files.with_socket_path(|path| UnixStream::connect(path)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// The next record; `None` when the shim has hung up.
    pub(crate) fn record(&mut self) -> Option<RunRecord> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            // The shim hung up without reading everything.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            read => {
                read.unwrap();
                Some(serde_json::from_str(&line).unwrap())
            }
        }
    }

    pub(crate) fn send_line(&mut self, line: &str) {
        self.0.get_mut().write_all(line.as_bytes()).unwrap();
    }

    /// The output that the shim shares; earlier records are skipped.
    pub(crate) fn request_output(&mut self) -> OrphanedOutput {
        self.send_line(&(serde_json::to_string(&ShimRequest::ShareOutput).unwrap() + "\n"));
        let shim = self.0.get_ref();
        std::iter::repeat_with(|| OrphanedOutput::receive(shim, &mut Vec::new()).unwrap())
            .flatten()
            .next()
            .unwrap()
    }

    pub(crate) fn hang_up(&mut self) {
        self.0.get_mut().shutdown(std::net::Shutdown::Both).unwrap();
    }

    pub(crate) fn request_signal(&mut self, signal: Signal) {
        let request_signal = serde_json::to_string(&ShimRequest::Signal(signal as i32)).unwrap();
        self.send_line(&(request_signal + "\n"));
    }
}

pub(crate) struct Shim {
    pub(crate) files: Files,
    pub(crate) connection: Connection,
    pub(crate) orphaned_output: OrphanedOutput,
    process: Option<Process>,
    pub(crate) zygote: Zygote,
    _directory: TempDir,
}

impl Shim {
    /// All records until the shim exits.
    pub(crate) fn records(&mut self) -> Vec<RunRecord> {
        let records: Vec<_> = std::iter::from_fn(|| self.connection.record()).collect();
        assert_eq!(
            self.files.read_record().unwrap().as_ref(),
            records.last(),
            "the file and the socket have the same record"
        );
        assert!(!self.files.socket().exists());
        records
    }

    /// The process of the shim, once it has written its first record.
    pub(crate) fn process(&mut self) -> Process {
        if self.process.is_none() {
            eventually("there is a record", || self.files.read_record().unwrap().is_some());
            self.process = self.files.read_record().unwrap().map(|record| record.shim);
        }
        self.process.unwrap()
    }

    /// Kills the shim and waits until it has exited.
    pub(crate) fn kill(&mut self) {
        let shim = self.process();
        kill(Pid::from_raw(shim.pid.cast_signed()), Signal::SIGKILL).unwrap();
        self.wait();
    }

    /// Waits until the shim has exited.
    pub(crate) fn wait(&mut self) {
        let shim = self.process();
        eventually("the shim has ended", || !shim.is_alive());
    }

    /// Waits for the end of the run and returns the exit of its process.
    pub(crate) fn exit(&mut self) -> Exit {
        match self.records().pop().unwrap().phase {
            Phase::Finished { exit, .. } => exit,
            phase => panic!("the run ended as {phase:?}"),
        }
    }

    /// Waits for the end of the run and returns its log.
    pub(crate) fn output(&mut self) -> Vec<String> {
        self.exit();
        self.lines()
    }

    /// The current lines of the log.
    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.files.tail(usize::MAX, None).unwrap().all().unwrap();
        lines.into_iter().map(|line| format!("{}: {}", line.stream.as_str(), line.text)).collect()
    }

    pub(crate) fn wait_for_line(&self, line: &str) {
        eventually(&format!("the log contains `{line}`"), || self.lines().iter().any(|l| l == line));
    }
}

impl Drop for Shim {
    /// Kills the remaining processes, whatever the result of the test.
    fn drop(&mut self) {
        let Ok(Some(RunRecord { shim, .. })) = self.files.read_record() else { return };
        if let Ok(stream) = self.files.with_socket_path(|path| UnixStream::connect(path)) {
            Connection(BufReader::new(stream)).request_signal(Signal::SIGKILL);
        }
        let deadline = Instant::now() + DEADLINE;
        while shim.is_alive() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "timed out waiting until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
