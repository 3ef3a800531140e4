//! [`SharedBuffer`]: the memory that holds output between its pipe and its log. The memory outlives the shim.
//!
//! Output that was read from a pipe exists nowhere else, and a shim can be killed at any instruction. A shim therefore
//! reads into memory of which the daemon holds a descriptor (`memfd_create(2)`), and writes a checkpoint there before
//! each step. If the shim dies, another process finds the unwritten bytes from the checkpoint and the length of the
//! log.
//!
//! ```text
//! Idle --about to read--> Reading --read n bytes--> Writing --all of it in the log--> Idle
//! ```

#![expect(unsafe_code, reason = "the compiler cannot check memory that another process accesses")]
#![expect(
    clippy::cast_ptr_alignment,
    reason = "a map begins at a page, and every offset in it is a multiple of eight"
)]

pub mod claim;

use crate::cri::{MAX_PART_BYTES, Stream};
use crate::files::Files;
use crate::protocol::LogLimits;
use jiff::Timestamp;
use memmap2::MmapRaw;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{Ordering, compiler_fence};

/// The usual capacity of a pipe, and the maximum size of one read.
pub const READ_BYTES: usize = 64 * 1024;
/// The offset of the data. The checkpoints are in front of it.
const DATA_OFFSET: usize = 4096;
/// The offset of the unfinished lines. Each stream has two places; the next line is written to the unused one.
const PARTIAL_LINES_OFFSET: usize = DATA_OFFSET + READ_BYTES;
const SIZE_BYTES: usize = PARTIAL_LINES_OFFSET + 4 * MAX_PART_BYTES;
/// The offset of the two checkpoints. The number at offset 0 selects the valid one.
const CHECKPOINTS_OFFSET: usize = 64;
/// The offset of the line flags of each checkpoint.
const LINE_FLAGS_OFFSET: usize = 320;
/// The offset of the owner, and of its path.
const OWNER_OFFSET: usize = 512;
const PATH_OFFSET: usize = 1024;
/// The offset of the number of bytes written to the log, plus one; zero if the shim does not count.
const WRITTEN_OFFSET: usize = 768;
const MAX_PATH_BYTES: usize = DATA_OFFSET - PATH_OFFSET;
/// The data without its first page.
const HOLE: Range<i64> = 2 * 4096..4096 + 64 * 1024;

/// The structure at [`OWNER_OFFSET`].
#[repr(C)]
struct Owner {
    max_size: u64,
    max_files: u64,
    length: u64,
}

/// The progress of the work on one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Everything that was read is in the log, except for unfinished lines.
    Idle,
    /// A read may have returned bytes.
    Reading,
    /// A read has returned bytes, and some of them may be in the log.
    Writing,
    /// All output was flushed to the log after the shim's death.
    Over,
}

/// The state of the shared buffer. The fields are plain numbers, because another process may read them.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Checkpoint {
    step: u64,
    stream: u64,
    /// Bytes that were read.
    length: u64,
    /// Whether the stream has ended, which completes its unfinished line.
    ends: u64,
    seconds: i64,
    nanoseconds: i64,
    /// By stream: the place of the unfinished line, and its length.
    place: [u64; 2],
    begun: [u64; 2],
    /// Bytes of the records of this read that are written or dropped.
    done: u64,
    /// The inode and the length of the file to which records are being appended; 0 if none is.
    inode: u64,
    offset: u64,
}

/// The flags of each checkpoint, since protocol version 3. The flags have an offset of their own, so that older
/// versions still find the checkpoints.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct LineFlags {
    /// By stream: whether a part of its unfinished line is in the log.
    open: [u64; 2],
    /// Whether the unfinished line is to be written before it ends.
    shows: u64,
}

/// The memory, mapped into this process.
#[derive(Debug)]
pub struct SharedBuffer {
    map: MmapRaw,
    checkpoint: Cell<Checkpoint>,
    flags: Cell<LineFlags>,
}

impl SharedBuffer {
    /// Creates an empty shared buffer.
    pub fn create() -> io::Result<OwnedFd> {
        let memory = memfd_create(c"service-shim", MFdFlags::MFD_CLOEXEC)?;
        let memory = File::from(memory);
        memory.set_len(SIZE_BYTES as u64)?;
        Ok(memory.into())
    }

    /// Maps an existing shared buffer.
    pub fn open(memory: impl AsFd) -> io::Result<Self> {
        let file = File::from(memory.as_fd().try_clone_to_owned()?);
        if file.metadata()?.len() != SIZE_BYTES as u64 {
            return Err(io::Error::other("unsupported shared-buffer version"));
        }
        let shared_buffer =
            Self { map: MmapRaw::map_raw(&file)?, checkpoint: Cell::default(), flags: Cell::default() };
        let (checkpoint, flags) = shared_buffer.read_checkpoint();
        shared_buffer.checkpoint.set(checkpoint);
        shared_buffer.flags.set(flags);
        Ok(shared_buffer)
    }

    /// The progress of the work on the last read.
    pub fn step(&self) -> Step {
        match self.checkpoint.get().step {
            0 => Step::Idle,
            1 => Step::Reading,
            2 => Step::Writing,
            _ => Step::Over,
        }
    }

    /// Records which log the output belongs to. A path that is too long is not recorded.
    pub fn set_owner(&self, directory: &Path, limits: LogLimits) {
        let path = directory.as_os_str().as_bytes();
        if path.len() <= MAX_PATH_BYTES {
            // SAFETY: the owner lies within the first page of the map, behind the checkpoints.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    path.as_ptr(),
                    self.map.as_mut_ptr().add(PATH_OFFSET),
                    path.len(),
                );
                let label = Owner {
                    max_size: limits.max_size,
                    max_files: limits.max_files.into(),
                    length: path.len() as u64,
                };
                self.map.as_mut_ptr().add(OWNER_OFFSET).cast::<Owner>().write_volatile(label);
            }
        }
        self.update_counter(|count| count.max(1));
    }

    /// Adds to the number of bytes written to the log since [`SharedBuffer::set_owner`]. Every process with a
    /// descriptor of the memory can [read](bytes_written) this number.
    pub fn add_written(&self, bytes: u64) {
        self.update_counter(|count| if count == 0 { 0 } else { count.saturating_add(bytes) });
    }

    fn update_counter(&self, next: impl FnOnce(u64) -> u64) {
        // SAFETY: the counter lies within the first page of the map, aligned, between owner and path.
        unsafe {
            let count = self.map.as_mut_ptr().add(WRITTEN_OFFSET).cast::<u64>();
            count.write_volatile(next(count.read_volatile()));
        }
    }

    /// The log that the output belongs to, if it was recorded.
    pub fn owner(&self) -> Option<(Files, LogLimits)> {
        // SAFETY: see `set_owner`; every bit pattern is an owner.
        let label = unsafe { self.map.as_ptr().add(OWNER_OFFSET).cast::<Owner>().read_volatile() };
        let length =
            usize::try_from(label.length).ok().filter(|length| (1..=MAX_PATH_BYTES).contains(length))?;
        // SAFETY: a path of this length lies within the first page.
        let path = unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(PATH_OFFSET), length) };
        let limits = LogLimits {
            max_size: label.max_size,
            max_files: u32::try_from(label.max_files).unwrap_or(u32::MAX),
        };
        Some((Files::new(OsStr::from_bytes(path)), limits))
    }

    /// Records that all output is in the log.
    pub fn close(&self) {
        self.change(|checkpoint, _| checkpoint.step = 3);
    }

    /// Frees the memory that a large read has used.
    pub fn shrink(memory: impl AsFd) {
        let holes = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        // If the file system does not support this, the memory stays allocated. The next read needs zeros there.
        let _ = fallocate(memory, holes, HOLE.start, HOLE.end - HOLE.start);
    }

    /// The stream of the last read.
    pub fn stream(&self) -> Stream {
        if self.checkpoint.get().stream == Stream::Stderr as u64 { Stream::Stderr } else { Stream::Stdout }
    }

    /// The time of the last read that returned bytes.
    pub fn time(&self) -> Timestamp {
        let checkpoint = self.checkpoint.get();
        let nanoseconds = i32::try_from(checkpoint.nanoseconds).unwrap_or_default();
        Timestamp::new(checkpoint.seconds, nanoseconds).unwrap_or_default()
    }

    /// Whether the stream of the last read has ended.
    pub fn has_ended(&self) -> bool {
        self.checkpoint.get().ends != 0
    }

    /// Whether the unfinished line of the last read's stream is to be written before it ends.
    pub fn writes_partial(&self) -> bool {
        self.flags.get().shows != 0
    }

    /// Whether a part of the stream's unfinished line is in the log.
    pub fn is_open(&self, stream: Stream) -> bool {
        self.flags.get().open[index(stream)] != 0
    }

    /// The bytes of the last read.
    pub fn data(&self) -> &[u8] {
        self.bytes(DATA_OFFSET, self.checkpoint.get().length)
    }

    /// The unfinished line of the stream.
    pub fn partial_line(&self, stream: Stream) -> &[u8] {
        let (checkpoint, stream) = (self.checkpoint.get(), index(stream));
        self.bytes(partial_line_offset(stream, checkpoint.place[stream]), checkpoint.begun[stream])
    }

    /// Reads once. Bytes that were read must be passed to [`begin_write`](SharedBuffer::begin_write); an empty read
    /// needs no further step.
    pub fn read(&self, pipe: impl AsFd, stream: Stream) -> nix::Result<usize> {
        self.change(|checkpoint, _| {
            (checkpoint.step, checkpoint.stream, checkpoint.length) = (1, stream as u64, 0);
        });
        nix::unistd::read(pipe, self.free_space())
    }

    /// Begins to write the last `length` bytes read to the log. At the end of the stream, `ends` is set and `length` is
    /// 0.
    pub fn begin_write(&self, stream: Stream, length: usize, ends: bool, now: Timestamp) {
        self.begin(stream, length, ends, false, now);
    }

    /// Begins to write the stream's unfinished line, so that readers see it before it ends.
    pub fn begin_partial(&self, stream: Stream, now: Timestamp) {
        self.begin(stream, 0, false, true, now);
    }

    fn begin(&self, stream: Stream, length: usize, ends: bool, shows: bool, now: Timestamp) {
        self.change(|checkpoint, flags| {
            (checkpoint.step, checkpoint.stream, checkpoint.length, checkpoint.ends) =
                (2, stream as u64, length as u64, ends.into());
            (checkpoint.seconds, checkpoint.nanoseconds) = (now.as_second(), now.subsec_nanosecond().into());
            (checkpoint.done, checkpoint.inode, checkpoint.offset) = (0, 0, 0);
            flags.shows = shows.into();
        });
    }

    /// The length of a read that was interrupted before [`begin_write`](SharedBuffer::begin_write): up to the last byte
    /// that is not zero. Zeros at the end of such a read are lost.
    pub fn unowned_bytes(&self) -> usize {
        self.bytes(DATA_OFFSET, READ_BYTES as u64)
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1)
    }

    /// Saves a checkpoint: records are about to be appended to the file with this inode, which has this length.
    pub fn begin_append(&self, inode: u64, offset: u64) {
        self.change(|checkpoint, _| (checkpoint.inode, checkpoint.offset) = (inode, offset));
    }

    /// Saves a checkpoint: `length` more bytes of records are written or dropped.
    pub fn end_append(&self, length: u64) {
        self.change(|checkpoint, _| (checkpoint.done, checkpoint.inode) = (checkpoint.done + length, 0));
    }

    /// The number of bytes of records that are certainly written, and the inode and offset of a file that may hold
    /// more.
    pub fn progress(&self) -> (u64, Option<(u64, u64)>) {
        let checkpoint = self.checkpoint.get();
        (checkpoint.done, (checkpoint.inode != 0).then_some((checkpoint.inode, checkpoint.offset)))
    }

    /// Ends the work on a read: everything except the unfinished line `begun` is in the log. `open`: a part of that
    /// line is in the log.
    pub fn finish(&self, stream: Stream, begun: &[u8], open: bool) {
        let stream = index(stream);
        let spare = 1 - self.checkpoint.get().place[stream].min(1);
        let kept = begun.len().min(MAX_PART_BYTES);
        // SAFETY: the unused place is `MAX_PART_BYTES` bytes of the map, and not the one that `begun` may point into.
        unsafe {
            let target = self.map.as_mut_ptr().add(partial_line_offset(stream, spare));
            std::ptr::copy(begun.as_ptr(), target, kept);
        }
        let length = self.data().len();
        self.change(|checkpoint, flags| {
            (checkpoint.step, checkpoint.length) = (0, 0);
            (checkpoint.place[stream], checkpoint.begun[stream]) = (spare, kept as u64);
            (flags.open[stream], flags.shows) = (open.into(), 0);
        });
        // `unowned_bytes` finds the end of the next read by its last byte that is not zero.
        self.free_space()[..length].fill(0);
    }

    /// Replaces the checkpoint in one atomic step, so that other processes find a whole checkpoint even if this process
    /// is killed.
    fn change(&self, change: impl FnOnce(&mut Checkpoint, &mut LineFlags)) {
        let (mut checkpoint, mut flags) = (self.checkpoint.get(), self.flags.get());
        change(&mut checkpoint, &mut flags);
        self.checkpoint.set(checkpoint);
        self.flags.set(flags);
        let spare = 1 - self.current();
        // SAFETY: both checkpoints, their flags and the number in front lie within the first page of the map, aligned.
        unsafe {
            self.checkpoint_at(spare).write_volatile(checkpoint);
            self.flags_at(spare).write_volatile(flags);
            compiler_fence(Ordering::SeqCst);
            self.map.as_mut_ptr().cast::<u64>().write_volatile(spare as u64);
        }
        compiler_fence(Ordering::SeqCst);
    }

    fn read_checkpoint(&self) -> (Checkpoint, LineFlags) {
        let current = self.current();
        // SAFETY: see `change`; every bit pattern is a checkpoint.
        unsafe { (self.checkpoint_at(current).read_volatile(), self.flags_at(current).read_volatile()) }
    }

    fn current(&self) -> usize {
        // SAFETY: as in `change`.
        let current = unsafe { self.map.as_ptr().cast::<u64>().read_volatile() };
        usize::from(current == 1)
    }

    fn checkpoint_at(&self, which: usize) -> *mut Checkpoint {
        self.map.as_mut_ptr().wrapping_add(CHECKPOINTS_OFFSET + which * size_of::<Checkpoint>()).cast()
    }

    fn flags_at(&self, which: usize) -> *mut LineFlags {
        self.map.as_mut_ptr().wrapping_add(LINE_FLAGS_OFFSET + which * size_of::<LineFlags>()).cast()
    }

    /// A part of the map. A length that is too large, from damaged memory, is truncated.
    fn bytes(&self, start: usize, length: u64) -> &[u8] {
        let most = if start == DATA_OFFSET { READ_BYTES } else { MAX_PART_BYTES };
        let length = usize::try_from(length).unwrap_or(most).min(most);
        // SAFETY: the range lies within the map. The range is not written while it is borrowed: `read` writes to
        // `free_space` only after the work on the previous read, and `finish` writes to the unused place.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(start), length) }
    }

    #[expect(clippy::mut_from_ref, reason = "the map is shared memory; only `read` and `finish` write here")]
    fn free_space(&self) -> &mut [u8] {
        // SAFETY: as in `bytes`.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().add(DATA_OFFSET), READ_BYTES) }
    }
}

/// The number of bytes written to the log; `None` if the shim's version does not count them.
pub fn bytes_written(memory: &File) -> Option<u64> {
    let mut count = [0; 8];
    memory.read_exact_at(&mut count, WRITTEN_OFFSET as u64).ok()?;
    u64::from_ne_bytes(count).checked_sub(1)
}

fn index(stream: Stream) -> usize {
    usize::from(stream == Stream::Stderr)
}

fn partial_line_offset(stream: usize, which: u64) -> usize {
    PARTIAL_LINES_OFFSET + (stream * 2 + usize::from(which == 1)) * MAX_PART_BYTES
}
