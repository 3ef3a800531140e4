//! [`Containers`]: a real container engine for one project, with its own storage, settings and networks. It has one
//! image: busybox as `localhost/box`, imported from a tar, so that no registry is needed.

use crate::process;
use crate::programs::{Lack, installed, skip, skip_for};
use crate::project::Project;
use nix::sys::signal::Signal;
use std::fs::{self, File, Permissions};
use std::ops::Deref;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Debian's `busybox-static`.
const BUSYBOX: &str = "/bin/busybox";
/// The programs of the image.
const PROGRAMS: [&str; 7] = ["cat", "env", "false", "httpd", "sh", "sleep", "true"];
/// The time limit for a docker daemon to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A container engine. Its manager has the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerEngine {
    /// The test's own docker daemon.
    Docker,
    /// Podman with the test's own settings.
    Podman,
}

impl ContainerEngine {
    /// The name of the program and of the manager.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    fn is_installed(self) -> bool {
        let programs: &[&str] = match self {
            Self::Docker => &["dockerd", "docker", "containerd", "runc", "unshare"],
            Self::Podman => &["podman", "runc"],
        };
        Path::new(BUSYBOX).is_file() && programs.iter().all(|program| installed(program).is_some())
    }
}

/// A project whose services an engine can run. Dropping it stops the services, removes every container and ends the
/// engine.
pub struct Containers {
    project: Project,
    engine: ContainerEngine,
    /// The docker daemon.
    daemon: Option<Child>,
}

impl Deref for Containers {
    type Target = Project;

    fn deref(&self) -> &Project {
        &self.project
    }
}

impl Containers {
    /// Prepares an engine and an image for this project. `None`, after a message, if the engine cannot run here.
    pub fn new(engine: ContainerEngine, project: Project) -> Option<Self> {
        if !engine.is_installed() {
            skip(
                "there is no container engine or no static busybox: install podman, docker.io, runc and busybox-static",
            );
            return None;
        }
        let mut containers = match engine {
            ContainerEngine::Docker => Self::start_docker(project),
            ContainerEngine::Podman => Self::configure_podman(project),
        };
        if let Err(why) = containers.wait_for_daemon().and_then(|()| containers.import_image()) {
            let lack = match engine {
                ContainerEngine::Docker => Lack::Docker,
                ContainerEngine::Podman => Lack::Podman,
            };
            skip_for(lack, &why);
            return None;
        }
        Some(containers)
    }

    fn start_docker(project: Project) -> Self {
        let path = |name: &str| project.path("docker").join(name).display().to_string();
        fs::create_dir_all(project.path("docker")).expect("the directory is ours");
        let log = File::create(project.path("docker/log")).expect("the directory is ours");
        // The daemon has its own mount namespace, so that its mounts disappear with it.
        let daemon = Command::new("unshare")
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
        let project = project.env("DOCKER_HOST", host);
        Self { project, engine: ContainerEngine::Docker, daemon: Some(daemon) }
    }

    fn configure_podman(project: Project) -> Self {
        let path = |name: &str| project.path(name).display().to_string();
        // Limits that root may not raise remain unchanged, because root in a sandbox often lacks this right.
        let settings = format!(
            r#"
            [containers]
            default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
            log_driver = "k8s-file"
            [engine]
            runtime = "runc"
            cgroup_manager = "cgroupfs"
            events_logger = "file"
            lock_type = "file"
            tmp_dir = "{}"
            static_dir = "{}"
            volume_path = "{}"
            [network]
            network_config_dir = "{}"
            "#,
            path("podman/tmp"),
            path("podman/static"),
            path("podman/volumes"),
            path("podman/networks"),
        );
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
            path("podman/root"),
            path("podman/run")
        );
        let (settings, storage) = (
            project.write("podman/containers.conf", &settings).display().to_string(),
            project.write("podman/storage.conf", &storage).display().to_string(),
        );
        // `docker` is a script for podman, which accepts the same arguments.
        let docker = project.write("bin/docker", "#!/bin/sh\nexec podman \"$@\"\n");
        fs::set_permissions(&docker, Permissions::from_mode(0o755)).expect("the file is ours");
        let search = format!("{}:{}", path("bin"), std::env::var("PATH").unwrap_or_default());
        let project = project
            .env("CONTAINERS_CONF", settings)
            .env("CONTAINERS_STORAGE_CONF", storage)
            .env("PATH", search);
        Self { project, engine: ContainerEngine::Podman, daemon: None }
    }

    fn wait_for_daemon(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_TIMEOUT;
        while self.daemon.is_some()
            && !self.run(&["version", "--format", "{{.Server.Version}}"]).status.success()
        {
            let has_ended = self
                .daemon
                .as_mut()
                .is_some_and(|daemon| daemon.try_wait().is_ok_and(|status| status.is_some()));
            if has_ended || Instant::now() > deadline {
                let log = self.project.read("docker/log");
                return Err(log.lines().last().unwrap_or_default().to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn import_image(&self) -> Result<(), String> {
        let image = pack_image(&self.project);
        let image = image.to_str().expect("the path of a temporary directory is UTF-8");
        for arguments in [
            &["import", image, "localhost/box"][..],
            &["run", "--rm", "--network=none", "localhost/box", "/bin/true"],
        ] {
            let output = self.run(arguments);
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned());
            }
        }
        Ok(())
    }

    /// Runs the engine's program in the environment of the project's services.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(Path::new(self.engine.as_str()));
        command.args(arguments).output().expect("the engine's program can be run")
    }

    /// Formats the only container of this service by a Go template.
    #[track_caller]
    pub fn inspect(&self, service: &str, template: &str) -> String {
        let label = format!("--filter=label=service-orchestrator.service={service}");
        let found = self.run(&["ps", "--all", "--quiet", "--no-trunc", &label]);
        let id = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        assert!(!id.is_empty() && !id.contains('\n'), "one container of `{service}`, not: {found:?}");
        let output = self.run(&["inspect", "--format", template, &id]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// Packs busybox, for an engine to import.
fn pack_image(project: &Project) -> PathBuf {
    let bin = project.path("image/bin");
    fs::create_dir_all(&bin).expect("the directory is ours");
    fs::copy(BUSYBOX, bin.join("busybox")).expect("busybox can be read");
    for program in PROGRAMS {
        symlink("busybox", bin.join(program)).expect("the directory is ours");
    }
    let tar = project.path("image.tar");
    let mut command = project.command(Path::new("tar"));
    let packed = command.arg("-C").arg(project.path("image")).arg("-cf").arg(&tar).arg(".").status();
    assert!(packed.is_ok_and(|status| status.success()), "cannot pack an image");
    tar
}

impl Drop for Containers {
    fn drop(&mut self) {
        // The orchestrator ends first, because it would start the containers again.
        self.project.nu("try { service daemon stop --services } catch { try { service daemon stop } }");
        let all = self.run(&["ps", "--all", "--quiet"]);
        let at_once: &[&str] = match self.engine {
            ContainerEngine::Docker => &["rm", "--force", "--volumes"],
            ContainerEngine::Podman => &["rm", "--force", "--volumes", "--time", "0"],
        };
        for id in String::from_utf8_lossy(&all.stdout).lines() {
            self.run(&[at_once, &[id]].concat());
        }
        self.run(&["network", "prune", "--force"]);
        if let Some(daemon) = &mut self.daemon
            && daemon.try_wait().is_ok_and(|status| status.is_none())
        {
            process::signal(daemon.id(), Signal::SIGTERM);
            let _ = daemon.wait();
        }
    }
}
