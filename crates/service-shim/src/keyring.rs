//! The session keyring: where Kerberos, CIFS and fscrypt keep keys. Whoever becomes another user leaves it behind.

use nix::errno::Errno;
use nix::libc;

/// `KEYCTL_JOIN_SESSION_KEYRING` of keyctl(2).
const JOIN_SESSION_KEYRING: libc::c_int = 1;

/// Goes on with a new, empty session keyring. It allocates nothing, so it may be called between fork and exec.
#[expect(unsafe_code, reason = "there is no other way to keyctl(2) than the number of the call")]
pub fn join_own() -> nix::Result<()> {
    // SAFETY: without a name it takes no pointer.
    let joined =
        unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
    match Errno::result(joined) {
        // Where there are no keyrings, or a container forbids to ask for them, no key can be read either.
        Err(Errno::ENOSYS | Errno::EPERM | Errno::EACCES) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}
