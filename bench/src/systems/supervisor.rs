//! supervisor, controlled over XML-RPC. supervisor has no dependencies.

use crate::harness::{Instance, Place, ServiceSpec, System, log_in};
use crate::systems::program::{ChildGuard, version};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

pub(crate) struct Supervisor;

impl System for Supervisor {
    fn name(&self) -> &'static str {
        "supervisor"
    }

    fn version(&self) -> Option<String> {
        version("supervisord", "--version")
    }

    fn set_up(&self, services: &[ServiceSpec], place: &Place) -> Option<Box<dyn Instance>> {
        let directory = place.directory.as_path();
        if services.iter().any(|service| !service.needs.is_empty() || service.check.is_some()) {
            return None;
        }
        let at = directory.display();
        let mut text = format!(
            "[unix_http_server]\nfile={at}/socket\n[supervisord]\nnodaemon=true\nlogfile={at}/supervisord.log\npidfile={at}/pid\n\
             childlogdir={at}\nminfds=8192\n[rpcinterface:supervisor]\n\
             supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        );
        for service in services {
            let again = service.output.is_none();
            let (name, command) = (&service.name, service.command.join(" "));
            let _ = write!(
                text,
                "[program:{name}]\ncommand={command}\nautostart=false\nautorestart={again}\nstartsecs=0\n\
                 stdout_logfile={at}/{name}.log\nstdout_logfile_maxbytes=0\n"
            );
        }
        let config = directory.join("supervisord.conf");
        fs::write(&config, text).ok()?;
        let process = Command::new(service_tests::installed("supervisord")?)
            .arg("--configuration")
            .arg(&config)
            .env("BENCH_INSTANCE", directory.join("supervisor"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let socket = directory.join("socket");
        service_tests::eventually("supervisord listens", || UnixStream::connect(&socket).ok());
        Some(Box::new(Rpc { directory: directory.to_owned(), socket, process: ChildGuard(process) }))
    }
}

struct Rpc {
    directory: PathBuf,
    socket: PathBuf,
    process: ChildGuard,
}

impl Rpc {
    fn call(&self, method: &str, arguments: &str) -> String {
        let body = format!(
            "<?xml version='1.0'?><methodCall><methodName>{method}</methodName><params>{arguments}</params></methodCall>"
        );
        let mut stream = UnixStream::connect(&self.socket).expect("supervisord listens");
        let length = body.len();
        write!(
            stream,
            "POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .expect("supervisord reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("supervisord answers");
        assert!(answer.contains("<methodResponse>") && !answer.contains("<fault>"), "{answer}");
        answer
    }
}

const AT_ONCE: &str = "<param><value><boolean>0</boolean></value></param>";

impl Instance for Rpc {
    fn start(&mut self) {
        self.call("supervisor.startAllProcesses", AT_ONCE);
    }

    fn stop(&mut self) {
        self.call("supervisor.stopAllProcesses", AT_ONCE);
    }

    fn status(&mut self) -> bool {
        !self.call("supervisor.getAllProcessInfo", "").is_empty()
    }

    fn log(&self, service: &ServiceSpec) -> Option<PathBuf> {
        Some(log_in(&self.directory, service))
    }
}

impl Drop for Rpc {
    fn drop(&mut self) {
        self.call("supervisor.shutdown", "");
        service_tests::eventually("supervisord is down", || self.process.0.try_wait().ok().flatten());
    }
}
