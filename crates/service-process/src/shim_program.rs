//! The path of the program `service-shim`.

use service_api::{Code, Problem};
use std::path::{Path, PathBuf};

/// The program `service-shim`: `$SERVICE_SHIM`; without it the one beside this program, one directory up (tests and
/// examples of cargo), or on `PATH`.
pub fn find_shim() -> Result<PathBuf, Problem> {
    const NAME: &str = "service-shim";
    if let Some(named) = std::env::var_os("SERVICE_SHIM").map(PathBuf::from) {
        return if is_program(&named) {
            Ok(named)
        } else {
            let message = format!("cannot run `{}`, which $SERVICE_SHIM names", named.display());
            Err(Problem::new(Code::Internal, message).help("correct $SERVICE_SHIM, or unset it"))
        };
    }
    let exe = std::env::current_exe().unwrap_or_default();
    let beside = exe.ancestors().skip(1).take(2).map(|dir| dir.join(NAME));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&path).map(|dir| dir.join(NAME)).collect();
    beside.chain(on_path).find(|path| is_program(path)).ok_or_else(|| {
        Problem::new(Code::Internal, format!("cannot find the program `{NAME}`"))
            .help("install it beside orchestratord, or name it in $SERVICE_SHIM")
    })
}

fn is_program(path: &Path) -> bool {
    path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}
