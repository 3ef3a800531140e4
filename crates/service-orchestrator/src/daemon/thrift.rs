//! Gives memory back that a start or a burst has taken, once nothing happens.
//!
//! Most of the program runs once: it reads the file, opens the doors, starts what is to run. Its pages stay mapped after
//! that, two thirds of what the daemon has. They are taken out of its memory here; the few that are needed again are mapped
//! again out of the page cache. What the allocator keeps for later goes back too.

use super::Shared;
use crate::host::clock;
use std::sync::Arc;
use std::time::Duration;

/// After so long without a change nothing happens.
const QUIET: Duration = Duration::from_secs(1);
/// Where something happens all the time, as checks do, it is not waited for longer.
const RESTLESS: Duration = Duration::from_secs(10);

/// Never returns while the orchestrator lives.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut boards = shared.orchestrator.boards();
    loop {
        let latest = clock::now().plus(RESTLESS);
        while clock::now() < latest {
            match tokio::time::timeout(QUIET, boards.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => break,
            }
        }
        give_back();
        if boards.changed().await.is_err() {
            return;
        }
    }
}

/// What goes on is slowed down by some tenths of a millisecond, once.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "nix does not know it")]
    // SAFETY: it gives back what nobody has allocated.
    unsafe {
        nix::libc::malloc_trim(0)
    };
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(text).for_each(|(start, end)| forget(start, end));
}

/// A range that holds machine code out of a file, given one line of `/proc/<pid>/maps`: nothing ever writes there.
fn text(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, permissions) = (fields.next()?, fields.next()?);
    let is_file = fields.nth(3).is_some_and(|path| path.starts_with('/'));
    let (start, end) = range.split_once('-').filter(|_| permissions == "r-xp" && is_file)?;
    Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
}

#[expect(unsafe_code, reason = "what is mapped is beyond what the compiler can check")]
fn forget(start: usize, end: usize) {
    let address = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: these pages are what is in the file, for nobody can write to them: the next access brings them back.
    unsafe { nix::libc::madvise(address, end - start, nix::libc::MADV_DONTNEED) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped() -> u64 {
        let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn only_code_out_of_files_is_given_back() {
        assert_eq!(
            text("1000-3000 r-xp 00000000 08:01 7      /usr/bin/orchestratord"),
            Some((0x1000, 0x3000))
        );
        for other in [
            "1000-3000 r--p 00000000 08:01 7      /usr/bin/orchestratord",
            "1000-3000 rwxp 00000000 08:01 7      /usr/bin/orchestratord",
            "1000-3000 r-xp 00000000 00:00 0      [vdso]",
            "1000-3000 r-xp 00000000 00:00 0 ",
            "",
        ] {
            assert_eq!(text(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_given_back_is_gone_and_nothing_else_is() {
        // Of 16 MB every other 64 KB: the allocator keeps what is freed between those that stay.
        let pieces: Vec<Vec<u8>> = (0..4096).map(|_| vec![7; 4096]).collect();
        let (mut gone, mut kept) = (Vec::new(), Vec::new());
        for (number, piece) in pieces.into_iter().enumerate() {
            if number / 16 % 2 == 0 { gone.push(piece) } else { kept.push(piece) }
        }
        drop(gone);
        let before = mapped();
        give_back();
        // A test maps some pages of its own again.
        let after = mapped();
        assert!(after + 4096 < before, "{after} of {before} kB");
        assert!(kept.iter().flatten().all(|&byte| byte == 7));
    }
}
