//! The session keyring, which holds keys of Kerberos, CIFS and fscrypt. A process that switches to another user must
//! leave the keyring.

use nix::errno::Errno;
use nix::libc;

/// `KEYCTL_JOIN_SESSION_KEYRING` of keyctl(2).
const JOIN_SESSION_KEYRING: libc::c_int = 1;

/// Joins a new, empty session keyring. Allocates nothing, so it may be called between fork and exec.
#[expect(unsafe_code, reason = "libc has no function for keyctl(2)")]
pub fn join_own() -> nix::Result<()> {
    // SAFETY: without a name, keyctl takes no pointer.
    let joined =
        unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
    match Errno::result(joined) {
        // Without keyrings, or in a container that forbids keyctl, no key can be read either.
        Err(Errno::ENOSYS | Errno::EPERM | Errno::EACCES) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}
