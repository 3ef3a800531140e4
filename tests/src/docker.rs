//! [`Docker`]: a real docker engine for one project, with directories and a socket of its own, and the image of
//! [`Podman`](crate::Podman).

use crate::podman::{BUSYBOX, image};
use crate::process;
use crate::programs::{Lack, installed, skip, skip_for};
use crate::project::Project;
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::ops::Deref;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long the engine may take to come up.
const COMES_WITHIN: Duration = Duration::from_secs(30);

/// A project whose services docker can run. Dropping it stops them, removes every container and ends the engine.
pub struct Docker {
    project: Project,
    engine: Child,
}

impl Deref for Docker {
    type Target = Project;

    fn deref(&self) -> &Project {
        &self.project
    }
}

impl Docker {
    /// An engine and an image for this project. `None`, said aloud, where it cannot run.
    pub fn of(project: Project) -> Option<Self> {
        let needed = ["dockerd", "docker", "containerd", "runc", "unshare"];
        if !Path::new(BUSYBOX).is_file() || needed.map(installed).iter().any(Option::is_none) {
            skip("there is no docker engine or static busybox: install docker.io and busybox-static");
            return None;
        }
        let path = |name: &str| project.path("docker").join(name).display().to_string();
        fs::create_dir_all(project.path("docker")).expect("the directory is ours");
        let log = File::create(project.path("docker/log")).expect("the directory is ours");
        // In a mount namespace of its own, what it mounts goes with it.
        let engine = Command::new("unshare")
            .args(["--mount", "dockerd", "--storage-driver=vfs", "--iptables=false", "--bridge=none"])
            .arg(format!("--host=unix://{}", path("socket")))
            .arg(format!("--data-root={}", path("data")))
            .arg(format!("--exec-root={}", path("run")))
            .arg(format!("--pidfile={}", path("pid")))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the file is ours"))
            .stderr(log)
            .spawn()
            .expect("unshare can be run");
        let host = format!("unix://{}", path("socket"));
        let mut docker = Self { project: project.env("DOCKER_HOST", host), engine };
        if let Err(why) = docker.comes_up() {
            skip_for(Lack::Docker, &why);
            return None;
        }
        Some(docker)
    }

    fn comes_up(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + COMES_WITHIN;
        while !self.docker(&["version", "--format", "{{.Server.Version}}"]).status.success() {
            let ended = self.engine.try_wait().is_ok_and(|ended| ended.is_some());
            if ended || Instant::now() > deadline {
                let log = self.project.read("docker/log");
                return Err(log.lines().last().unwrap_or_default().to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let image = image(&self.project);
        let image = image.to_str().expect("a temporary directory has a name that can be said");
        for words in [
            &["import", image, "localhost/box"][..],
            &["run", "--rm", "--network=none", "localhost/box", "/bin/true"],
        ] {
            let tried = self.docker(words);
            if !tried.status.success() {
                return Err(String::from_utf8_lossy(&tried.stderr).into_owned());
            }
        }
        Ok(())
    }

    /// Runs docker as the project's services are run.
    pub fn docker(&self, words: &[&str]) -> Output {
        self.project.command(Path::new("docker")).args(words).output().expect("docker can be run")
    }

    /// What a template says of the only container that has this label.
    #[track_caller]
    pub fn inspect(&self, service: &str, template: &str) -> String {
        let label = format!("--filter=label=service-orchestrator.service={service}");
        let found = self.docker(&["ps", "--all", "--quiet", "--no-trunc", &label]);
        let id = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        assert!(!id.is_empty() && !id.contains('\n'), "one container of `{service}`, not: {found:?}");
        let said = self.docker(&["inspect", "--format", template, &id]);
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // First who would start them again.
        self.project.nu("try { service daemon stop --services } catch { try { service daemon stop } }");
        let all = self.docker(&["ps", "--all", "--quiet"]);
        for id in String::from_utf8_lossy(&all.stdout).lines() {
            self.docker(&["rm", "--force", "--volumes", id]);
        }
        if self.engine.try_wait().is_ok_and(|ended| ended.is_none()) {
            process::signal(self.engine.id(), Signal::SIGTERM);
            let _ = self.engine.wait();
        }
    }
}
