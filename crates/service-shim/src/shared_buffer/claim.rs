//! The claim of a launch, in the shared buffer: whether a shim has begun it or the daemon has withdrawn it.
//!
//! A launch may lie in the socket of a zygote that was killed, or in a frozen shim. Without a claim the daemon could
//! not know whether such a launch will begin: a second launch might run the service twice, and waiting might never end.
//! A shim therefore claims the launch immediately before it creates the service's process. The daemon withdraws the
//! launch before it launches again, and before it stops a service that may not have begun. Claim and withdrawal are one
//! atomic step on the same number, so exactly one of them succeeds, and both sides know which.

use super::{SIZE_BYTES, SharedBuffer};
use crate::process::Process;
use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

/// The offsets of the claim and of the shim that holds the launch, in the first page.
const CLAIM_OFFSET: usize = 800;
const HOLDER_OFFSET: usize = 808;
/// The values of the claim: the launch is open, a shim has claimed it, or the daemon has withdrawn it.
const CLAIM_OPEN: u64 = 0;
const CLAIM_TAKEN: u64 = 1;
const CLAIM_WITHDRAWN: u64 = 2;
/// The length of the first page.
const LENGTH_BYTES: usize = 4096;

impl SharedBuffer {
    /// Records that this shim holds the launch. Must be called before any step that can block.
    pub fn set_holder(&self, shim: Process) {
        // SAFETY: the holder lies within the first page of the map, aligned; no other process writes it.
        unsafe {
            let place = self.map.as_mut_ptr().add(HOLDER_OFFSET).cast::<[u64; 2]>();
            place.write_volatile([shim.pid.into(), shim.start_time]);
        }
    }

    /// Claims the launch. If it returns `false`, the launch was withdrawn and must not begin.
    pub fn claim(&self) -> bool {
        decide(&self.map, CLAIM_TAKEN).is_ok()
    }
}

/// Withdraws a launch: no shim will begin it. A second withdrawal also succeeds. Returns the shim that holds the
/// launch, if any.
///
/// # Errors
/// The launch may have begun.
pub fn withdraw(memory: &File) -> Result<Option<Process>, MayHaveBegun> {
    let map = map(memory).map_err(|_| MayHaveBegun)?;
    match decide(&map, CLAIM_WITHDRAWN) {
        Ok(()) | Err(CLAIM_WITHDRAWN) => Ok(holder(memory)),
        Err(_) => Err(MayHaveBegun),
    }
}

/// A launch that cannot be withdrawn: a shim has claimed it, or the memory cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MayHaveBegun;

/// The shim that holds the launch, if any.
pub fn holder(memory: &File) -> Option<Process> {
    let mut error_text = [0; 16];
    memory.read_exact_at(&mut error_text, HOLDER_OFFSET as u64).ok()?;
    let [pid, start_time] =
        [0, 8].map(|at| u64::from_ne_bytes(std::array::from_fn(|byte| error_text[at + byte])));
    let pid = u32::try_from(pid).ok().filter(|pid| *pid != 0)?;
    Some(Process { pid, start_time })
}

fn decide(map: &MmapRaw, word: u64) -> Result<(), u64> {
    // SAFETY: the claim lies within the map, aligned, and every process accesses it atomically.
    let claim = unsafe { AtomicU64::from_ptr(map.as_mut_ptr().add(CLAIM_OFFSET).cast()) };
    claim.compare_exchange(CLAIM_OPEN, word, Ordering::AcqRel, Ordering::Acquire).map(drop)
}

fn map(memory: &File) -> io::Result<MmapRaw> {
    if memory.metadata()?.len() != SIZE_BYTES as u64 {
        return Err(io::Error::other("unsupported shared-buffer version"));
    }
    MmapOptions::new().len(LENGTH_BYTES).map_raw(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLDER_OFFSET: Process = Process { pid: 7, start_time: 9 };

    fn shared_buffer() -> (File, SharedBuffer) {
        let memory = File::from(SharedBuffer::create().unwrap());
        let shared_buffer = SharedBuffer::open(&memory).unwrap();
        (memory, shared_buffer)
    }

    #[test]
    fn what_was_claimed_cannot_be_withdrawn() {
        let (memory, shared_buffer) = shared_buffer();
        assert!(shared_buffer.claim());
        assert_eq!(withdraw(&memory), Err(MayHaveBegun));
    }

    #[test]
    fn what_was_withdrawn_cannot_be_claimed_and_names_the_shim_that_has_it() {
        let (memory, shared_buffer) = shared_buffer();
        assert_eq!(withdraw(&memory), Ok(None));
        shared_buffer.set_holder(HOLDER_OFFSET);
        assert!(!shared_buffer.claim());
        assert_eq!((withdraw(&memory), holder(&memory)), (Ok(Some(HOLDER_OFFSET)), Some(HOLDER_OFFSET)));
    }

    #[test]
    fn exactly_one_of_two_succeeds_however_they_meet() {
        for _ in 0..500 {
            let (memory, shared_buffer) = shared_buffer();
            let (taken, given) = std::thread::scope(|scope| {
                let taken = scope.spawn(|| withdraw(&memory).is_ok());
                let given = shared_buffer.claim();
                (taken.join().unwrap(), given)
            });
            assert_ne!(taken, given);
        }
    }
}
