//! Returns unused heap to the kernel.

/// Returns unused heap. This blocks allocations for some tenths of a millisecond.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "nix has no function for malloc_trim")]
    // SAFETY: `malloc_trim` releases only memory that is not allocated.
    unsafe {
        nix::libc::malloc_trim(0)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident_kb() -> u64 {
        let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn what_is_trimmed_is_gone_and_nothing_else_is() {
        // Of 16 MB, every other 64 KB is freed: the allocator retains freed memory between allocated blocks.
        let blocks: Vec<Vec<u8>> = (0..4096).map(|_| vec![7; 4096]).collect();
        let (mut freed, mut kept) = (Vec::new(), Vec::new());
        for (number, block) in blocks.into_iter().enumerate() {
            if number / 16 % 2 == 0 { freed.push(block) } else { kept.push(block) }
        }
        drop(freed);
        let before = resident_kb();
        trim_heap();
        // The test itself allocates some pages.
        let after = resident_kb();
        assert!(after + 4096 < before, "{after} of {before} kB");
        assert!(kept.iter().flatten().all(|&byte| byte == 7));
    }
}
