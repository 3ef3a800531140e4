//! s6: one `s6-supervise` for each service below `s6-svscan`. A start is a scan of the directory with all services. s6
//! has no dependencies.

use crate::harness::{Instance, Place, ServiceSpec, System};
use crate::systems::program::{ChildGuard, version};
use service_tests::installed;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) struct S6;

impl System for S6 {
    fn name(&self) -> &'static str {
        "s6"
    }

    fn version(&self) -> Option<String> {
        installed("s6-svscan")?;
        let said =
            Command::new("dpkg-query").args(["--show", "--showformat=${Version}", "s6"]).output().ok()?;
        Some(String::from_utf8_lossy(&said.stdout).into_owned())
            .filter(|text| !text.is_empty())
            .or_else(|| version("s6-svscan", "-V"))
            .or(Some(String::new()))
    }

    fn set_up(&self, services: &[ServiceSpec], place: &Place) -> Option<Box<dyn Instance>> {
        let directory = place.directory.as_path();
        if services.iter().any(|service| !service.needs.is_empty() || service.check.is_some()) {
            return None;
        }
        let (definitions, scan) = (directory.join("services"), directory.join("scan"));
        fs::create_dir_all(&scan).ok()?;
        for service in services {
            let definition = definitions.join(&service.name);
            fs::create_dir_all(&definition).ok()?;
            let words = service.command.join(" ");
            let interpreter =
                installed("execlineb").map_or("/bin/sh".to_owned(), |path| format!("{} -P", path.display()));
            let exec = if interpreter == "/bin/sh" { "exec " } else { "" };
            script(&definition.join("run"), &format!("#!{interpreter}\n{exec}{words}\n"))?;
            if service.output.is_some() {
                script(&definition.join("finish"), "#!/bin/sh\nexit 125\n")?;
                fs::create_dir(definition.join("log")).ok()?;
                fs::create_dir_all(directory.join("logs")).ok()?;
                let logger =
                    format!("#!/bin/sh\nexec s6-log s268435455 n10 {}\n", kept(directory, service).display());
                script(&definition.join("log/run"), &logger)?;
            }
        }
        let process = Command::new(installed("s6-svscan")?)
            .arg(&scan)
            .env("BENCH_INSTANCE", directory.join("s6"))
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        service_tests::eventually("s6-svscan listens", || {
            scan.join(".s6-svscan/control").exists().then_some(())
        });
        Some(Box::new(Scan {
            directory: directory.to_owned(),
            definitions,
            scanned: scan,
            control: installed("s6-svscanctl")?,
            process: ChildGuard(process),
        }))
    }
}

fn script(path: &Path, text: &str) -> Option<()> {
    fs::write(path, text).ok()?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).ok()
}

/// The directory of s6-log for this service.
fn kept(directory: &Path, service: &ServiceSpec) -> PathBuf {
    directory.join("logs").join(&service.name)
}

struct Scan {
    directory: PathBuf,
    definitions: PathBuf,
    scanned: PathBuf,
    control: PathBuf,
    process: ChildGuard,
}

impl Scan {
    /// Runs a command, which may fail because the process has already exited.
    fn run(&self, what: &str) {
        let mut command = Command::new(&self.control);
        let _ = command.arg(what).arg(&self.scanned).stderr(Stdio::null()).status();
    }
}

impl Instance for Scan {
    fn start(&mut self) {
        for entry in fs::read_dir(&self.definitions).into_iter().flatten().flatten() {
            let _ = symlink(entry.path(), self.scanned.join(entry.file_name()));
        }
        self.run("-a");
    }

    fn stop(&mut self) {
        self.run("-t");
    }

    fn log(&self, service: &ServiceSpec) -> Option<PathBuf> {
        Some(kept(&self.directory, service).join("current"))
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.run("-t");
        service_tests::eventually("s6 is down", || match self.process.0.try_wait() {
            Ok(Some(_)) => Some(()),
            _ => None,
        });
    }
}
