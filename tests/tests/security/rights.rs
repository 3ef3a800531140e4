//! The privileges and variables of the daemon's user that a service gets, and that another user does not get.

use service_tests::{Project, ServiceTable, skip};

/// A project of services that run as `nobody`. Only root can start a process as another user.
fn as_nobody(services: &str) -> Option<Project> {
    if !nix::unistd::geteuid().is_root() {
        skip("only root can start a service as another user");
        return None;
    }
    Project::new(services)
}

fn said(project: &Project, service: &str) -> Vec<String> {
    project.value(&format!("try {{ service start {service} | ignore }}"));
    let lines = project.value(&format!("service logs {service}"));
    lines.column("line")
}

#[test]
fn another_user_can_open_its_own_outputs() {
    let Some(project) = as_nobody(
        "[services.says]\nuser = \"nobody\"\nshell = \"sh\"\noneshot = true\n\
         start_command = \"echo x > /dev/stdout; echo y > /dev/stderr\"\n\
         [services.checked]\nuser = \"nobody\"\nstart_command = \"TEST_SERVICE\"\nready = { timeout = \"20s\" }\n\
         health_check_endpoint = \"exec:sh -c 'echo x > /dev/stdout'\"",
    ) else {
        return;
    };
    let mut said = said(&project, "says");
    said.sort();
    assert_eq!(said, ["x", "y"]);
    assert_eq!(project.value("service start checked | get ok.0"), true);
}

#[test]
fn another_user_has_an_environment_of_its_own() {
    let Some(project) = as_nobody(
        "[services.nobody]\nuser = \"nobody\"\nstart_command = \"env\"\noneshot = true\n\
         [services.passed]\nuser = \"nobody\"\npass_env = [\"OF_ROOT\"]\nstart_command = \"env\"\noneshot = true\n\
         [services.cleared]\nenv_clear = true\nstart_command = \"env\"\noneshot = true\nenv = { MINE = \"1\" }\n\
         [services.checked]\nuser = \"nobody\"\nstart_command = \"TEST_SERVICE\"\nready = { timeout = \"20s\" }\n\
         health_check_endpoint = \"exec:sh -c 'test -z $OF_ROOT$XDG_STATE_HOME'\"",
    ) else {
        return;
    };
    let project =
        project.env("OF_ROOT", "secret").env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/0/bus");
    let nobody = said(&project, "nobody");
    let foreign = |line: &&String| ["OF_ROOT=", "XDG_", "DBUS_"].iter().any(|name| line.starts_with(name));
    assert_eq!(nobody.iter().find(foreign), None);
    for name in ["PATH=", "HOME=", "USER=nobody", "LOGNAME=nobody", "SHELL=", "SERVICE_RUN_ID="] {
        assert_eq!(nobody.iter().filter(|line| line.starts_with(name)).count(), 1, "{name} in {nobody:?}");
    }
    assert!(said(&project, "passed").contains(&"OF_ROOT=secret".to_owned()));
    let cleared = said(&project, "cleared");
    assert_eq!(cleared.iter().find(foreign), None);
    assert!(cleared.contains(&"MINE=1".to_owned()), "{cleared:?}");
    assert_eq!(project.value("service start checked | get ok.0"), true);
}

#[test]
fn another_user_has_a_session_keyring_of_its_own() {
    let Some(project) = as_nobody(
        "[services.keys]\nuser = \"nobody\"\nstart_command = \"cat /proc/keys\"\noneshot = true\n\
         [services.own]\nstart_command = \"cat /proc/keys\"\noneshot = true",
    ) else {
        return;
    };
    let name = format!("service-tests-{}", std::process::id());
    if !add_key(&name) || std::fs::read_to_string("/proc/keys").is_err() {
        return skip("the kernel has no keyrings");
    }
    let sees = |service| said(&project, service).iter().any(|line| line.contains(&name));
    assert!(sees("own"), "the key is in the session");
    assert!(!sees("keys"));
}

/// Adds a key to a session keyring of this thread and its children.
#[expect(unsafe_code, reason = "there is no other way to add_key(2) than the number of the call")]
fn add_key(name: &str) -> bool {
    use nix::libc;
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    const OF_THE_SESSION: libc::c_int = -3;
    let name = std::ffi::CString::new(name).expect("it has no NUL");
    // SAFETY: without a name, keyctl takes no pointer.
    let joined =
        unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
    if joined < 0 {
        return false;
    }
    // SAFETY: all strings end with NUL, and the payload has one byte.
    let key = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            name.as_ptr(),
            c"x".as_ptr(),
            1_usize,
            OF_THE_SESSION,
        )
    };
    key > 0
}

#[test]
fn another_user_gains_no_rights_by_executing_a_program_unless_it_is_allowed() {
    let status = "start_command = \"grep NoNewPrivs /proc/self/status\"\noneshot = true\n";
    let Some(project) = as_nobody(&format!(
        "[services.user]\nuser = \"nobody\"\n{status}[services.allowed]\nuser = \"nobody\"\nno_new_privileges = false\n{status}\
         [services.own]\n{status}[services.asked]\nno_new_privileges = true\n{status}"
    )) else {
        return;
    };
    for (service, bit) in [("user", "1"), ("allowed", "0"), ("own", "0"), ("asked", "1")] {
        assert_eq!(said(&project, service), [format!("NoNewPrivs:\t{bit}")], "{service}");
    }
}

#[test]
fn the_umask_of_the_shell_is_not_that_of_services_and_checks() {
    let Some(project) = Project::new(
        "[services.mask]\nshell = \"sh\"\nstart_command = \"umask\"\noneshot = true\n\
         [services.checked]\nstart_command = \"TEST_SERVICE\"\nready = { timeout = \"20s\" }\n\
         health_check_endpoint = \"exec:sh -c 'test $(umask) = 0022'\"",
    ) else {
        return;
    };
    // The next line starts a shell, which starts the daemon with this umask.
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    assert_eq!(said(&project, "mask"), ["0022"]);
    assert_eq!(project.value("service start checked | get ok.0"), true);
}

#[test]
fn what_marks_a_run_cannot_be_set() {
    for name in ["SERVICE_RUN_ID", "SERVICE_CALL_ID", "NOTIFY_SOCKET"] {
        let Some(project) = Project::new(&format!(
            "[services.web]\nstart_command = \"TEST_SERVICE\"\nenv = {{ {name} = \"x\" }}"
        )) else {
            return;
        };
        let refused = project.nu("service start web");
        assert!(
            !refused.success && refused.stderr.contains(&format!("`{name}` cannot be set")),
            "{refused:?}"
        );
        project.define("[services.web]\nstart_command = \"TEST_SERVICE\"\nenv_file = \".env\"");
        project.write(".env", &format!("{name}=x\n"));
        let refused = project.nu("service start web");
        assert!(!refused.success && refused.stderr.contains(name), "{refused:?}");
    }
}
