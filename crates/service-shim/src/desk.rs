//! [`Desk`]: the memory in which output lies between its pipe and its log. It outlives whoever works at it.
//!
//! What has been read from a pipe is nowhere else, and a keeper can be killed at any instruction. So it reads into memory
//! that somebody else has a descriptor of (`memfd_create(2)`), and notes there, before each step, what it is about to do.
//! Whoever takes over knows from the note and from the length of the log what is still to be written, to the byte.
//!
//! ```text
//! Idle --about to read--> Reading --read n bytes--> Writing --all of it in the log--> Idle
//! ```

#![expect(
    unsafe_code,
    reason = "memory that another process may look at is outside of what the compiler can check"
)]
#![expect(clippy::cast_ptr_alignment, reason = "a map begins at a page, and every offset in it is chosen")]

pub mod claim;

use crate::cri::{LONGEST_PART, Stream};
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

/// A pipe's usual capacity: the most that one read can bring.
pub const READ: usize = 64 * 1024;
/// The notes lie before it.
const DATA: usize = 4096;
/// Two places for the line that each stream has begun: the next is written beside the one that counts.
const BEGUN: usize = DATA + READ;
const SIZE: usize = BEGUN + 4 * LONGEST_PART;
/// Where the two notes lie; in front of them, which one counts.
const NOTES: usize = 64;
/// Where what stands beside them lies.
const BESIDE: usize = 320;
/// Where it stands whose output this is.
const LABEL: usize = 512;
const PATH: usize = 1024;
/// Where the bytes that the log was given are counted, from one on: zero stands where nobody counts.
const COUNT: usize = 768;
const LONGEST_PATH: usize = DATA - PATH;
/// All of the data but its first page.
const HOLE: Range<i64> = 2 * 4096..4096 + 64 * 1024;

/// What stands at `LABEL`.
#[repr(C)]
struct Label {
    max_size: u64,
    max_files: u64,
    length: u64,
}

/// How far the work on one read has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Everything that was read is in the log, but for the lines that have begun.
    Idle,
    /// A read may have brought something.
    Reading,
    /// It has brought something, part of which may be in the log.
    Writing,
    /// Somebody has taken over and brought all of it into the log.
    Over,
}

/// What is true of the desk. Plain numbers, because it is read by another process than the one that wrote it.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Note {
    step: u64,
    stream: u64,
    /// Bytes read.
    length: u64,
    /// Whether nothing follows, so that the line that has begun is whole.
    ends: u64,
    seconds: i64,
    nanoseconds: i64,
    /// By stream: the place of the line that has begun, and its length.
    place: [u64; 2],
    begun: [u64; 2],
    /// Bytes of the records of this read that have been dealt with.
    done: u64,
    /// The file to which more of them are being appended, and its length before; 0: none is.
    inode: u64,
    offset: u64,
}

/// What stands beside each note, since version 3. It has a place of its own, as the notes are where older versions look.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Beside {
    /// By stream: whether a part of its line is in the log, and not its end.
    open: [u64; 2],
    /// Whether the line that has begun is to be written although nothing ends it.
    shows: u64,
}

/// The memory, as one process sees it.
#[derive(Debug)]
pub struct Desk {
    map: MmapRaw,
    note: Cell<Note>,
    beside: Cell<Beside>,
}

impl Desk {
    /// A new one, with nothing on it.
    pub fn make() -> io::Result<OwnedFd> {
        let memory = memfd_create(c"service-shim", MFdFlags::MFD_CLOEXEC)?;
        let memory = File::from(memory);
        memory.set_len(SIZE as u64)?;
        Ok(memory.into())
    }

    /// Sits down at one.
    pub fn open(memory: impl AsFd) -> io::Result<Self> {
        let file = File::from(memory.as_fd().try_clone_to_owned()?);
        if file.metadata()?.len() != SIZE as u64 {
            return Err(io::Error::other("it is not a desk of this version"));
        }
        let desk = Self { map: MmapRaw::map_raw(&file)?, note: Cell::default(), beside: Cell::default() };
        let (note, beside) = desk.read_note();
        desk.note.set(note);
        desk.beside.set(beside);
        Ok(desk)
    }

    /// How far the work has come.
    pub fn step(&self) -> Step {
        match self.note.get().step {
            0 => Step::Idle,
            1 => Step::Reading,
            2 => Step::Writing,
            _ => Step::Over,
        }
    }

    /// Writes down whose output lies here, for whoever takes over. A path that is too long is not written down.
    pub fn label(&self, directory: &Path, limits: LogLimits) {
        let path = directory.as_os_str().as_bytes();
        if path.len() <= LONGEST_PATH {
            // SAFETY: the label lies within the first page of the map, behind the notes.
            unsafe {
                std::ptr::copy_nonoverlapping(path.as_ptr(), self.map.as_mut_ptr().add(PATH), path.len());
                let label = Label {
                    max_size: limits.max_size,
                    max_files: limits.max_files.into(),
                    length: path.len() as u64,
                };
                self.map.as_mut_ptr().add(LABEL).cast::<Label>().write_volatile(label);
            }
        }
        self.recount(|count| count.max(1));
    }

    /// Counts bytes that the log was given, from the [label](Desk::label) on. Whoever has a descriptor of the memory can
    /// [read](counted) how many.
    pub fn count(&self, bytes: u64) {
        self.recount(|count| if count == 0 { 0 } else { count.saturating_add(bytes) });
    }

    fn recount(&self, next: impl FnOnce(u64) -> u64) {
        // SAFETY: it lies within the first page of the map, aligned, between label and path.
        unsafe {
            let count = self.map.as_mut_ptr().add(COUNT).cast::<u64>();
            count.write_volatile(next(count.read_volatile()));
        }
    }

    /// Whose output lies here, if that was written down.
    pub fn owner(&self) -> Option<(Files, LogLimits)> {
        // SAFETY: as in `label`; every bit pattern is a label.
        let label = unsafe { self.map.as_ptr().add(LABEL).cast::<Label>().read_volatile() };
        let length =
            usize::try_from(label.length).ok().filter(|length| (1..=LONGEST_PATH).contains(length))?;
        // SAFETY: that much lies within the first page.
        let path = unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(PATH), length) };
        let limits = LogLimits {
            max_size: label.max_size,
            max_files: u32::try_from(label.max_files).unwrap_or(u32::MAX),
        };
        Some((Files::new(OsStr::from_bytes(path)), limits))
    }

    /// Notes that nothing is left to do here.
    pub fn close(&self) {
        self.change(|note, _| note.step = 3);
    }

    /// Gives memory back that a large read has taken.
    pub fn shrink(memory: impl AsFd) {
        let holes = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        // Where that cannot be done it is kept. What the next read finds there is zero, as it has to be.
        let _ = fallocate(memory, holes, HOLE.start, HOLE.end - HOLE.start);
    }

    /// The stream that the last read was of.
    pub fn stream(&self) -> Stream {
        if self.note.get().stream == Stream::Stderr as u64 { Stream::Stderr } else { Stream::Stdout }
    }

    /// When the last read brought something.
    pub fn time(&self) -> Timestamp {
        let note = self.note.get();
        let nanoseconds = i32::try_from(note.nanoseconds).unwrap_or_default();
        Timestamp::new(note.seconds, nanoseconds).unwrap_or_default()
    }

    /// Whether the stream of the last read has ended.
    pub fn ends(&self) -> bool {
        self.note.get().ends != 0
    }

    /// Whether what the stream of the last read has begun is to be written although nothing ends it.
    pub fn shows(&self) -> bool {
        self.beside.get().shows != 0
    }

    /// Whether a part of the line that this stream has begun is in the log.
    pub fn is_open(&self, stream: Stream) -> bool {
        self.beside.get().open[index(stream)] != 0
    }

    /// What the last read brought.
    pub fn data(&self) -> &[u8] {
        self.bytes(DATA, self.note.get().length)
    }

    /// The line that this stream has begun.
    pub fn begun(&self, stream: Stream) -> &[u8] {
        let (note, stream) = (self.note.get(), index(stream));
        self.bytes(place(stream, note.place[stream]), note.begun[stream])
    }

    /// Reads once. What was read must be [taken](Desk::take) or, if it was nothing, forgotten with the next read.
    pub fn read(&self, pipe: impl AsFd, stream: Stream) -> nix::Result<usize> {
        self.change(|note, _| (note.step, note.stream, note.length) = (1, stream as u64, 0));
        nix::unistd::read(pipe, self.room())
    }

    /// Begins the work on so many bytes that were read; on none, with `ends`, when the stream has ended.
    pub fn take(&self, stream: Stream, length: usize, ends: bool, now: Timestamp) {
        self.begin(stream, length, ends, false, now);
    }

    /// Begins to write what this stream has begun: it is to be seen, although its line may go on.
    pub fn show(&self, stream: Stream, now: Timestamp) {
        self.begin(stream, 0, false, true, now);
    }

    fn begin(&self, stream: Stream, length: usize, ends: bool, shows: bool, now: Timestamp) {
        self.change(|note, beside| {
            (note.step, note.stream, note.length, note.ends) = (2, stream as u64, length as u64, ends.into());
            (note.seconds, note.nanoseconds) = (now.as_second(), now.subsec_nanosecond().into());
            (note.done, note.inode, note.offset) = (0, 0, 0);
            beside.shows = shows.into();
        });
    }

    /// As many bytes as a read that was not [taken](Desk::take) must have brought. It is known by their not being zero:
    /// zeros at its very end are lost.
    pub fn unclaimed(&self) -> usize {
        self.bytes(DATA, READ as u64).iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
    }

    /// Notes that records are about to be appended to this file, which is so long.
    pub fn writing(&self, inode: u64, offset: u64) {
        self.change(|note, _| (note.inode, note.offset) = (inode, offset));
    }

    /// Notes that so many more bytes of records have been dealt with.
    pub fn written(&self, length: u64) {
        self.change(|note, _| (note.done, note.inode) = (note.done + length, 0));
    }

    /// Bytes of records that have been dealt with for sure, and the file that may have more of them from an offset on.
    pub fn progress(&self) -> (u64, Option<(u64, u64)>) {
        let note = self.note.get();
        (note.done, (note.inode != 0).then_some((note.inode, note.offset)))
    }

    /// Ends the work on a read: all of it is in the log but for this line, which goes on. `open`: parts of it are there.
    pub fn finish(&self, stream: Stream, begun: &[u8], open: bool) {
        let stream = index(stream);
        let spare = 1 - self.note.get().place[stream].min(1);
        let kept = begun.len().min(LONGEST_PART);
        // SAFETY: the spare place is `LONGEST_PART` bytes of the map, and not the one that `begun` may point into.
        unsafe {
            let target = self.map.as_mut_ptr().add(place(stream, spare));
            std::ptr::copy(begun.as_ptr(), target, kept);
        }
        let length = self.data().len();
        self.change(|note, beside| {
            (note.step, note.length) = (0, 0);
            (note.place[stream], note.begun[stream]) = (spare, kept as u64);
            (beside.open[stream], beside.shows) = (open.into(), 0);
        });
        // The next read is told from none by what is not zero.
        self.room()[..length].fill(0);
    }

    /// Replaces the note in one step, as far as anybody can tell who looks after this process has been killed.
    fn change(&self, change: impl FnOnce(&mut Note, &mut Beside)) {
        let (mut note, mut beside) = (self.note.get(), self.beside.get());
        change(&mut note, &mut beside);
        self.note.set(note);
        self.beside.set(beside);
        let spare = 1 - self.current();
        // SAFETY: both notes, what stands beside them and the number in front lie within the first page of the map, aligned.
        unsafe {
            self.note_at(spare).write_volatile(note);
            self.beside_at(spare).write_volatile(beside);
            compiler_fence(Ordering::SeqCst);
            self.map.as_mut_ptr().cast::<u64>().write_volatile(spare as u64);
        }
        compiler_fence(Ordering::SeqCst);
    }

    fn read_note(&self) -> (Note, Beside) {
        let current = self.current();
        // SAFETY: as in `change`; every bit pattern is a note.
        unsafe { (self.note_at(current).read_volatile(), self.beside_at(current).read_volatile()) }
    }

    fn current(&self) -> usize {
        // SAFETY: as in `change`.
        let current = unsafe { self.map.as_ptr().cast::<u64>().read_volatile() };
        usize::from(current == 1)
    }

    fn note_at(&self, which: usize) -> *mut Note {
        self.map.as_mut_ptr().wrapping_add(NOTES + which * size_of::<Note>()).cast()
    }

    fn beside_at(&self, which: usize) -> *mut Beside {
        self.map.as_mut_ptr().wrapping_add(BESIDE + which * size_of::<Beside>()).cast()
    }

    /// Part of the map. A length that is too long, from memory that somebody has spoilt, is cut.
    fn bytes(&self, start: usize, length: u64) -> &[u8] {
        let most = if start == DATA { READ } else { LONGEST_PART };
        let length = usize::try_from(length).unwrap_or(most).min(most);
        // SAFETY: it lies within the map. Nothing writes there while it is borrowed: reads are into `room` between the work
        // on one read and on the next, and `finish` writes to the place that is not shown.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(start), length) }
    }

    #[expect(clippy::mut_from_ref, reason = "the map is shared memory; only `read` and `finish` write here")]
    fn room(&self) -> &mut [u8] {
        // SAFETY: as in `bytes`.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().add(DATA), READ) }
    }
}

/// How many bytes the log was given by those who worked at this desk; `None` if they were of a version that does not count.
pub fn counted(memory: &File) -> Option<u64> {
    let mut count = [0; 8];
    memory.read_exact_at(&mut count, COUNT as u64).ok()?;
    u64::from_ne_bytes(count).checked_sub(1)
}

fn index(stream: Stream) -> usize {
    usize::from(stream == Stream::Stderr)
}

fn place(stream: usize, which: u64) -> usize {
    BEGUN + (stream * 2 + usize::from(which == 1)) * LONGEST_PART
}
