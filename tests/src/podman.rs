//! [`Podman`]: a real podman for one project, with storage, settings and networks of its own, and one image: busybox as
//! `localhost/box`, imported from a tar, so that no registry is asked.

use crate::programs::{Lack, installed, skip, skip_for};
use crate::project::Project;
use std::fs;
use std::ops::Deref;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

/// Debian's `busybox-static`.
pub(crate) const BUSYBOX: &str = "/bin/busybox";

/// The programs that images of ours have.
const PROGRAMS: [&str; 7] = ["cat", "env", "false", "httpd", "sh", "sleep", "true"];

/// A project whose services podman can run. Dropping it stops them and removes every container.
pub struct Podman {
    project: Project,
}

impl Deref for Podman {
    type Target = Project;

    fn deref(&self) -> &Project {
        &self.project
    }
}

impl Podman {
    /// Settings and an image for this project. `None`, said aloud, where podman cannot run it.
    pub fn of(project: Project) -> Option<Self> {
        if !Path::new(BUSYBOX).is_file() || ["podman", "runc"].map(installed).iter().any(Option::is_none) {
            skip("there is no podman, runc or static busybox: install podman, runc and busybox-static");
            return None;
        }
        let path = |name: &str| project.path(name).display().to_string();
        // What root may not raise is left as it is: in a sandbox it often lacks that right.
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
        // Whoever asks for docker gets podman, which understands the same words.
        let docker = project.write("bin/docker", "#!/bin/sh\nexec podman \"$@\"\n");
        fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).expect("the file is ours");
        let search = format!("{}:{}", path("bin"), std::env::var("PATH").unwrap_or_default());
        let project = project
            .env("CONTAINERS_CONF", settings)
            .env("CONTAINERS_STORAGE_CONF", storage)
            .env("PATH", search);
        let podman = Self { project };
        let image = image(&podman.project);
        let image = image.to_str().expect("a temporary directory has a name that can be said");
        let words_of_all: [&[&str]; 3] = [
            &["import", "--quiet", image, "localhost/box"],
            &["run", "--detach", "--name=try", "localhost/box", "/bin/true"],
            &["rm", "--force", "--time=0", "try"],
        ];
        for words in words_of_all {
            let tried = podman.podman(words);
            if !tried.status.success() {
                skip_for(Lack::Podman, &String::from_utf8_lossy(&tried.stderr));
                return None;
            }
        }
        Some(podman)
    }

    /// Runs podman as the project's services are run.
    pub fn podman(&self, words: &[&str]) -> Output {
        self.command(Path::new("podman")).args(words).output().expect("podman can be run")
    }

    /// What a template says of the only container that has this label.
    #[track_caller]
    pub fn inspect(&self, service: &str, template: &str) -> String {
        let label = format!("--filter=label=service-orchestrator.service={service}");
        let found = self.podman(&["ps", "--all", "--quiet", "--no-trunc", &label]);
        let id = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        assert!(!id.is_empty() && !id.contains('\n'), "one container of `{service}`, not: {found:?}");
        let said = self.podman(&["inspect", "--format", template, &id]);
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    }
}

/// Packs busybox, for an engine to import.
pub(crate) fn image(project: &Project) -> PathBuf {
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

impl Drop for Podman {
    fn drop(&mut self) {
        // First who would start them again.
        self.nu("try { service daemon stop --services } catch { try { service daemon stop } }");
        self.podman(&["rm", "--all", "--force", "--time", "0"]);
        self.podman(&["network", "prune", "--force"]);
    }
}
