//! The claim of a launch: whether a shim has begun it, or the daemon has taken it back. It lies in the memory of the desk,
//! which both can see.
//!
//! A launch that was sent may lie in the socket of a zygote that was killed, or in a shim that is frozen. Without a claim the
//! daemon could only guess: to launch again might run a service twice, and to wait might be for ever. So the shim claims the
//! launch immediately before it makes the service's process, and whoever wants to launch again, or to stop what may not have
//! begun, takes it back first. Both are one atomic step on one word, so exactly one of the two succeeds, and it is known which.

use super::{Desk, SIZE};
use crate::process::Process;
use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the claim lies, in the first page: the word that decides, and who has the launch.
const CLAIM: usize = 800;
const SHIM: usize = 808;
/// The word, as long as nobody has decided.
const OPEN: u64 = 0;
const CLAIMED: u64 = 1;
const WITHDRAWN: u64 = 2;
/// The first page.
const LENGTH: usize = 4096;

impl Desk {
    /// Notes that this shim has the launch. To be done before anything is that others could be kept waiting by.
    pub fn introduce(&self, shim: Process) {
        // SAFETY: it lies within the first page of the map, aligned; nobody else writes it.
        unsafe {
            let place = self.map.as_mut_ptr().add(SHIM).cast::<[u64; 2]>();
            place.write_volatile([shim.pid.into(), shim.start_time]);
        }
    }

    /// Claims the launch. `false`: it was withdrawn, and must not begin.
    pub fn claim(&self) -> bool {
        decide(&self.map, CLAIMED).is_ok()
    }
}

/// Takes a launch back: no shim will begin it. To do so twice is no error. Says which shim has it, if one has introduced
/// itself.
///
/// # Errors
/// It may have begun.
pub fn withdraw(memory: &File) -> Result<Option<Process>, MayHaveBegun> {
    let map = map(memory).map_err(|_| MayHaveBegun)?;
    match decide(&map, WITHDRAWN) {
        Ok(()) | Err(WITHDRAWN) => Ok(holder(memory)),
        Err(_) => Err(MayHaveBegun),
    }
}

/// A launch that cannot be taken back: a shim has claimed it, or the memory cannot be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MayHaveBegun;

/// The shim that has the launch, if one has introduced itself.
pub fn holder(memory: &File) -> Option<Process> {
    let mut words = [0; 16];
    memory.read_exact_at(&mut words, SHIM as u64).ok()?;
    let [pid, start_time] = [0, 8].map(|at| u64::from_ne_bytes(std::array::from_fn(|byte| words[at + byte])));
    let pid = u32::try_from(pid).ok().filter(|pid| *pid != 0)?;
    Some(Process { pid, start_time })
}

fn decide(map: &MmapRaw, word: u64) -> Result<(), u64> {
    // SAFETY: it lies within the map, aligned, and everybody who uses it does so atomically.
    let claim = unsafe { AtomicU64::from_ptr(map.as_mut_ptr().add(CLAIM).cast()) };
    claim.compare_exchange(OPEN, word, Ordering::AcqRel, Ordering::Acquire).map(drop)
}

fn map(memory: &File) -> io::Result<MmapRaw> {
    if memory.metadata()?.len() != SIZE as u64 {
        return Err(io::Error::other("it is not a desk of this version"));
    }
    MmapOptions::new().len(LENGTH).map_raw(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIM: Process = Process { pid: 7, start_time: 9 };

    fn desk() -> (File, Desk) {
        let memory = File::from(Desk::make().unwrap());
        let desk = Desk::open(&memory).unwrap();
        (memory, desk)
    }

    #[test]
    fn what_was_claimed_cannot_be_withdrawn() {
        let (memory, desk) = desk();
        assert!(desk.claim());
        assert_eq!(withdraw(&memory), Err(MayHaveBegun));
    }

    #[test]
    fn what_was_withdrawn_cannot_be_claimed_and_names_the_shim_that_has_it() {
        let (memory, desk) = desk();
        assert_eq!(withdraw(&memory), Ok(None));
        desk.introduce(SHIM);
        assert!(!desk.claim());
        assert_eq!((withdraw(&memory), holder(&memory)), (Ok(Some(SHIM)), Some(SHIM)));
    }

    #[test]
    fn exactly_one_of_two_succeeds_however_they_meet() {
        for _ in 0..500 {
            let (memory, desk) = desk();
            let (taken, given) = std::thread::scope(|scope| {
                let taken = scope.spawn(|| withdraw(&memory).is_ok());
                let given = desk.claim();
                (taken.join().unwrap(), given)
            });
            assert_ne!(taken, given);
        }
    }
}
