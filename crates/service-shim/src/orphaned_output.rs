//! [`OrphanedOutput`]: the output that a dead shim has not written, and how it is flushed to the log.

use crate::cri::Stream;
use crate::fd_passing;
use crate::files::Files;
use crate::log::LogWriter;
use crate::protocol::{DroppedLines, LogLimits};
use crate::pump::{Pump, ReadResult, write_records};
use crate::shared_buffer::{SharedBuffer, Step};
use jiff::Timestamp;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

/// Both streams, in the order of their descriptors.
pub const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];
/// The maximum number of reads of each pipe. A process outside of the tree may hold the pipe and write without end.
const MAX_FINAL_READS: usize = 64;

/// The descriptors of the output between a service and its log.
#[derive(Debug)]
pub struct OrphanedOutput {
    /// The memory of the shim's [`SharedBuffer`]. The [counter](crate::shared_buffer::bytes_written) in it can be read
    /// while the shim runs.
    pub shared_buffer: Arc<fs::File>,
    /// The reading ends of the streams that have not ended.
    pub outputs: [Option<OwnedFd>; 2],
}

impl OrphanedOutput {
    /// Receives the output from a shim after [`ShareOutput`](crate::ShimRequest::ShareOutput). Bytes that arrive before
    /// the descriptors are appended to `unread`. Returns `None` if no descriptors have arrived yet.
    ///
    /// # Errors
    /// The descriptors cannot be received, or the shim hangs up. An older shim, which does not know the request, hangs
    /// up.
    pub fn receive(shim: &impl AsRawFd, unread: &mut Vec<u8>) -> io::Result<Option<Self>> {
        let mut bytes = [0; 4096];
        let (length, mut fds) = fd_passing::receive(shim, &mut bytes)?;
        // The last byte is the one sent with the descriptors.
        let (unread_first, mask) = match (bytes[..length].split_last(), fds.is_empty()) {
            (None, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
            (Some(_), true) => (&bytes[..length], None),
            (Some((mask, before)), false) => (before, Some(mask)),
        };
        unread.extend_from_slice(unread_first);
        Ok(mask.map(|mask| {
            let shared_buffer = Arc::new(fds.remove(0).into());
            let mut fds = fds.into_iter();
            let outputs = [1, 2].map(|stream| (mask & stream != 0).then(|| fds.next()).flatten());
            Self { shared_buffer, outputs }
        }))
    }

    /// The byte that is sent with the descriptors: the streams that they belong to.
    pub fn stream_mask(outputs: [bool; 2]) -> u8 {
        b'0' | u8::from(outputs[0]) | u8::from(outputs[1]) << 1
    }

    /// Flushes the output to the log that the shared buffer names.
    pub fn flush_to_owner_log(self) -> io::Result<()> {
        match SharedBuffer::open(&self.shared_buffer)?.owner() {
            Some((files, limits)) => self.flush_to_log(&files, limits, DroppedLines::default()).map(drop),
            None => Ok(()),
        }
    }

    /// Flushes the output to the log. Must be called when no process of the service is left. No other process may write
    /// this log meanwhile. Takes the number of dropped lines so far and returns the new number.
    pub fn flush_to_log(
        self,
        files: &Files,
        limits: LogLimits,
        missing: DroppedLines,
    ) -> io::Result<DroppedLines> {
        // The zygote and the daemon may both flush the output. The lock makes the second one wait, and then nothing is
        // left to flush. The file is opened again because duplicated descriptors share one lock.
        let memory = fs::File::open(format!("/proc/self/fd/{}", self.shared_buffer.as_raw_fd()))?;
        memory.lock()?;
        let shared_buffer = SharedBuffer::open(&self.shared_buffer)?;
        if shared_buffer.step() == Step::Over {
            return Ok(missing);
        }
        let unowned = match shared_buffer.step() {
            Step::Reading => shared_buffer.unowned_bytes(),
            Step::Idle | Step::Writing | Step::Over => 0,
        };
        if unowned > 0 {
            shared_buffer.begin_write(shared_buffer.stream(), unowned, false, Timestamp::now());
        }
        let half_done = shared_buffer.step() == Step::Writing;
        let mut log = match half_done {
            true => LogWriter::resume(files.clone(), limits, already_written(files, &shared_buffer))?,
            false => LogWriter::open(files.clone(), limits)?,
        }
        .with_dropped(missing);
        if half_done {
            write_records(&shared_buffer, &mut log);
        }
        for (stream, output) in STREAMS.into_iter().zip(self.outputs) {
            let Some(output) = output else { continue };
            let mut pump = Pump::new(output, stream)?;
            let mut reads = 0;
            while matches!(pump.read(&shared_buffer, &mut log), ReadResult::Bytes(_))
                && reads < MAX_FINAL_READS
            {
                reads += 1;
            }
            pump.finish(&shared_buffer, &mut log);
        }
        log.flush(&shared_buffer);
        shared_buffer.close();
        Ok(log.dropped_lines())
    }
}

/// The number of bytes of the interrupted read's records that are in the log.
fn already_written(files: &Files, shared_buffer: &SharedBuffer) -> u64 {
    let (done, appending) = shared_buffer.progress();
    let Some((inode, before)) = appending else { return done };
    let names = std::iter::once(files.log()).chain((1..=2).map(|n| files.rotated(n)));
    let file = names.filter_map(|path| fs::metadata(path).ok()).find(|meta| meta.ino() == inode);
    done + file.map_or(0, |file| file.len().saturating_sub(before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch_fds::LaunchFds;
    use std::io::Write;

    const LIMITS: LogLimits = LogLimits { max_size: 1 << 20, max_files: 3 };
    const NONE: DroppedLines = DroppedLines { total: 0, unreported: 0 };

    /// A service with this output, which its shim has not read.
    fn with_unread_output(text: &str) -> (LaunchFds, OrphanedOutput) {
        let (launch_fds, _, orphaned_output) = LaunchFds::create().unwrap();
        fs::File::from(launch_fds.pipes[0].write.try_clone().unwrap()).write_all(text.as_bytes()).unwrap();
        (launch_fds, orphaned_output)
    }

    fn texts(files: &Files) -> Vec<String> {
        files.tail(usize::MAX, None).unwrap().all().unwrap().into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn what_was_not_read_is_written_down() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path());
        let (launch_fds, orphaned_output) = with_unread_output("one\ntwo\nbegun");
        drop(launch_fds);
        assert_eq!(orphaned_output.flush_to_log(&files, LIMITS, NONE).unwrap(), NONE);
        assert_eq!(texts(&files), ["one", "two", "begun"]);
    }

    #[test]
    fn what_was_read_and_not_written_is_written_down() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path());
        let (launch_fds, orphaned_output) = with_unread_output("one\ntwo\nbegun");
        let shared_buffer = SharedBuffer::open(&launch_fds.shared_buffer).unwrap();
        assert_eq!(shared_buffer.read(&launch_fds.pipes[0].read, Stream::Stdout), Ok(13));
        drop((launch_fds, shared_buffer));
        orphaned_output.flush_to_log(&files, LIMITS, NONE).unwrap();
        assert_eq!(texts(&files), ["one", "two", "begun"]);
    }

    /// Covers each length at which the last write can be cut off, and each step between two checkpoints.
    #[test]
    fn what_was_written_in_part_is_completed_to_the_byte() {
        let whole = "one\ntwo\nthree\n";
        let limits = LogLimits { max_size: 60, max_files: 30 };
        let mut lengths = Vec::new();
        for cut in 0_u64.. {
            let directory = tempfile::tempdir().unwrap();
            let files = Files::new(directory.path());
            let mut log = LogWriter::open(files.clone(), limits).unwrap();
            let (launch_fds, orphaned_output) = with_unread_output(&format!("begun {whole}and"));
            let shared_buffer = SharedBuffer::open(&launch_fds.shared_buffer).unwrap();
            shared_buffer.read(&launch_fds.pipes[0].read, Stream::Stdout).unwrap();
            shared_buffer.begin_write(Stream::Stdout, 9 + whole.len(), false, Timestamp::UNIX_EPOCH);
            let noted = shared_buffer.progress();
            write_records(&shared_buffer, &mut log);
            assert_eq!(shared_buffer.partial_line(Stream::Stdout), b"and");
            let length = fs::metadata(files.log()).unwrap().len();
            if cut > length {
                break;
            }
            lengths.push(length);
            // As if the shim had been killed during the last write.
            let (done, _) = shared_buffer.progress();
            fs::File::options().write(true).open(files.log()).unwrap().set_len(cut).unwrap();
            fs::File::from(launch_fds.pipes[0].write.try_clone().unwrap()).write_all(b" so on\n").unwrap();
            let again = SharedBuffer::open(&launch_fds.shared_buffer).unwrap();
            refill(&again, &format!("begun {whole}and"), done - length, &files);
            assert_eq!(noted, (0, None));
            drop(launch_fds);
            orphaned_output.flush_to_log(&files, limits, NONE).unwrap();
            assert_eq!(
                texts(&files),
                ["begun one", "two", "three", "and so on"],
                "cut off after {cut} bytes"
            );
        }
        assert!(lengths.len() > 40, "{lengths:?}");
    }

    /// Resets a shared buffer to the moment before the last write of a read's records.
    fn refill(shared_buffer: &SharedBuffer, text: &str, done: u64, files: &Files) {
        let (read, write) = nix::unistd::pipe().unwrap();
        fs::File::from(write).write_all(text.as_bytes()).unwrap();
        shared_buffer.finish(Stream::Stdout, b"", false);
        shared_buffer.read(read, Stream::Stdout).unwrap();
        shared_buffer.begin_write(Stream::Stdout, text.len(), false, Timestamp::UNIX_EPOCH);
        shared_buffer.end_append(done);
        shared_buffer.begin_append(fs::metadata(files.log()).unwrap().ino(), 0);
    }
}
