//! [`Heritage`]: what a shim that dies leaves unwritten, and how whoever holds it writes it down.

use crate::cri::Stream;
use crate::desk::{Desk, Step};
use crate::fd_passing;
use crate::files::Files;
use crate::log::Log;
use crate::protocol::{LogLimits, Missing};
use crate::pump::{Pump, Yield, record};
use jiff::Timestamp;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

/// Both streams, in the order in which descriptors of theirs are given.
pub const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];
/// At most this many reads of each pipe: someone outside the tree could hold it and go on writing.
const LAST_READS: usize = 64;

/// Descriptors of what lies between a service and its log.
#[derive(Debug)]
pub struct Heritage {
    /// Memory of the shim's [`Desk`]; others may look how much was [counted](crate::desk::counted) there.
    pub desk: Arc<fs::File>,
    /// The reading ends of the streams that have not ended.
    pub outputs: [Option<OwnedFd>; 2],
}

impl Heritage {
    /// Receives it from a shim that was told to [lend](crate::Order::Lend) it. As long as other things come first, `None`: they
    /// are added to `said`.
    ///
    /// # Errors
    /// Also if the shim hangs up, as one does that does not know the order.
    pub fn receive(shim: &impl AsRawFd, said: &mut Vec<u8>) -> io::Result<Option<Self>> {
        let mut bytes = [0; 4096];
        let (length, mut fds) = fd_passing::receive(shim, &mut bytes)?;
        // The label comes with the descriptors, and so is the last byte.
        let (said_first, label) = match (bytes[..length].split_last(), fds.is_empty()) {
            (None, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
            (Some(_), true) => (&bytes[..length], None),
            (Some((label, before)), false) => (before, Some(label)),
        };
        said.extend_from_slice(said_first);
        Ok(label.map(|label| {
            let desk = Arc::new(fds.remove(0).into());
            let mut fds = fds.into_iter();
            let outputs = [1, 2].map(|stream| (label & stream != 0).then(|| fds.next()).flatten());
            Self { desk, outputs }
        }))
    }

    /// The byte that is sent along, which says what is.
    pub fn label(outputs: [bool; 2]) -> u8 {
        b'0' | u8::from(outputs[0]) | u8::from(outputs[1]) << 1
    }

    /// Writes down what the dead shim had not, by what stands on its desk about whose it is.
    pub fn write_down_by_label(self) -> io::Result<()> {
        match Desk::open(&self.desk)?.owner() {
            Some((files, limits)) => self.write_down(&files, limits, Missing::default()).map(drop),
            None => Ok(()),
        }
    }

    /// Writes down what the dead shim had not. To be called when nothing is left of the service; nobody else may write
    /// this log meanwhile. Takes the lines that are missing so far, and returns those that are then.
    pub fn write_down(self, files: &Files, limits: LogLimits, missing: Missing) -> io::Result<Missing> {
        // The template and the daemon may both have it. The second one finds nothing to do, and that only when it is done.
        // Opened anew: descriptors that were handed on share one lock.
        let memory = fs::File::open(format!("/proc/self/fd/{}", self.desk.as_raw_fd()))?;
        memory.lock()?;
        let desk = Desk::open(&self.desk)?;
        if desk.step() == Step::Over {
            return Ok(missing);
        }
        let unclaimed = match desk.step() {
            Step::Reading => desk.unclaimed(),
            Step::Idle | Step::Writing | Step::Over => 0,
        };
        if unclaimed > 0 {
            desk.take(desk.stream(), unclaimed, false, Timestamp::now());
        }
        let half_done = desk.step() == Step::Writing;
        let mut log = match half_done {
            true => Log::resume(files.clone(), limits, already_written(files, &desk))?,
            false => Log::open(files.clone(), limits)?,
        }
        .missing(missing);
        if half_done {
            record(&desk, &mut log);
        }
        for (stream, output) in STREAMS.into_iter().zip(self.outputs) {
            let Some(output) = output else { continue };
            let mut pump = Pump::new(output, stream)?;
            let mut reads = 0;
            while matches!(pump.pump(&desk, &mut log), Yield::Bytes(_)) && reads < LAST_READS {
                reads += 1;
            }
            pump.finish(&desk, &mut log);
        }
        log.flush(&desk);
        desk.close();
        Ok(log.lost())
    }
}

/// How many bytes of the records of the read that was being worked on are in the log.
fn already_written(files: &Files, desk: &Desk) -> u64 {
    let (done, appending) = desk.progress();
    let Some((inode, before)) = appending else { return done };
    let names = std::iter::once(files.log()).chain((1..=2).map(|n| files.rotated(n)));
    let file = names.filter_map(|path| fs::metadata(path).ok()).find(|meta| meta.ino() == inode);
    done + file.map_or(0, |file| file.len().saturating_sub(before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parcel::Parcel;
    use std::io::Write;

    const LIMITS: LogLimits = LogLimits { max_size: 1 << 20, max_files: 3 };
    const NONE: Missing = Missing { lines: 0, untold: 0 };

    /// A service that has said this, whose shim has not read it.
    fn unread(text: &str) -> (Parcel, Heritage) {
        let (parcel, _, heritage) = Parcel::pack().unwrap();
        fs::File::from(parcel.pipes[0].write.try_clone().unwrap()).write_all(text.as_bytes()).unwrap();
        (parcel, heritage)
    }

    fn texts(files: &Files) -> Vec<String> {
        files.tail(usize::MAX, None).unwrap().all().unwrap().into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn what_was_not_read_is_written_down() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path());
        let (parcel, heritage) = unread("one\ntwo\nbegun");
        drop(parcel);
        assert_eq!(heritage.write_down(&files, LIMITS, NONE).unwrap(), NONE);
        assert_eq!(texts(&files), ["one", "two", "begun"]);
    }

    #[test]
    fn what_was_read_and_not_written_is_written_down() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path());
        let (parcel, heritage) = unread("one\ntwo\nbegun");
        let desk = Desk::open(&parcel.desk).unwrap();
        assert_eq!(desk.read(&parcel.pipes[0].read, Stream::Stdout), Ok(13));
        drop((parcel, desk));
        heritage.write_down(&files, LIMITS, NONE).unwrap();
        assert_eq!(texts(&files), ["one", "two", "begun"]);
    }

    /// Wherever the last write was cut off, and wherever between two notes that happened.
    #[test]
    fn what_was_written_in_part_is_completed_to_the_byte() {
        let whole = "one\ntwo\nthree\n";
        let limits = LogLimits { max_size: 60, max_files: 30 };
        let mut lengths = Vec::new();
        for cut in 0_u64.. {
            let directory = tempfile::tempdir().unwrap();
            let files = Files::new(directory.path());
            let mut log = Log::open(files.clone(), limits).unwrap();
            let (parcel, heritage) = unread(&format!("begun {whole}and"));
            let desk = Desk::open(&parcel.desk).unwrap();
            desk.read(&parcel.pipes[0].read, Stream::Stdout).unwrap();
            desk.take(Stream::Stdout, 9 + whole.len(), false, Timestamp::UNIX_EPOCH);
            let noted = desk.progress();
            record(&desk, &mut log);
            assert_eq!(desk.begun(Stream::Stdout), b"and");
            let length = fs::metadata(files.log()).unwrap().len();
            if cut > length {
                break;
            }
            lengths.push(length);
            // As if it had been killed within the last write.
            let (done, _) = desk.progress();
            fs::File::options().write(true).open(files.log()).unwrap().set_len(cut).unwrap();
            fs::File::from(parcel.pipes[0].write.try_clone().unwrap()).write_all(b" so on\n").unwrap();
            let again = Desk::open(&parcel.desk).unwrap();
            refill(&again, &format!("begun {whole}and"), done - length, &files);
            assert_eq!(noted, (0, None));
            drop(parcel);
            heritage.write_down(&files, limits, NONE).unwrap();
            assert_eq!(
                texts(&files),
                ["begun one", "two", "three", "and so on"],
                "cut off after {cut} bytes"
            );
        }
        assert!(lengths.len() > 40, "{lengths:?}");
    }

    /// Puts a desk back to where it was before the last write of a read's records.
    fn refill(desk: &Desk, text: &str, done: u64, files: &Files) {
        let (read, write) = nix::unistd::pipe().unwrap();
        fs::File::from(write).write_all(text.as_bytes()).unwrap();
        desk.finish(Stream::Stdout, b"", false);
        desk.read(read, Stream::Stdout).unwrap();
        desk.take(Stream::Stdout, text.len(), false, Timestamp::UNIX_EPOCH);
        desk.written(done);
        desk.writing(fs::metadata(files.log()).unwrap().ino(), 0);
    }
}
