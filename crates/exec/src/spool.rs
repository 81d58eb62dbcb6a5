//! What outlives a server that dies: how its jobs ended, and what they had said.
//!
//! ```text
//!  server, while a job runs for long:  LABEL.stdout, LABEL.stderr   (go with the result)
//!  supervisor, once the server is dead: the rest of both, LABEL.json (how the job ended)
//!  next server:                         collect, then settle
//! ```
//!
//! Each supervisor holds the lock of the folder, shared, so that the next server knows when the last one has
//! written. Nothing here is carried to the disk by force: after a power loss there is nobody left to tell.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::job::Ending;
use crate::limits::{LABEL_CHARS_MAX, LAST_WORD_BYTES_MAX, PAUSE, SPOOL_KEPT, SPOOL_OUTPUTS_MAX};
use crate::wire::Status;

/// What a job is called in the spool: letters, digits, `-` and `_`, at most 128 of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Label(String);

impl Label {
    /// None if it can't be the name of a file everywhere.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_good = (1..=LABEL_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_plain);
        is_good.then_some(Self(text))
    }

    /// The label of a call in the record: the number of its intent, and the id of its request as far as it can be told.
    pub fn of_call(intent: u64, request_id: &str) -> Self {
        let plain =
            |byte: u8| if byte.is_ascii_alphanumeric() || byte == b'-' { char::from(byte) } else { '_' };
        let id = request_id.bytes().map(plain);
        Self(format!("{intent}-").chars().chain(id).take(LABEL_CHARS_MAX).collect())
    }

    /// The number of the intent, if it is the label of a call.
    pub fn intent(&self) -> Option<u64> {
        self.0.split_once('-')?.0.parse().ok()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The folder in which jobs leave what outlives their server.
#[derive(Clone, Debug)]
pub struct Spool {
    folder: PathBuf,
}

/// What a job left whose server died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Its label.
    pub label: Label,
    /// How its main process ended; none if it hangs in the kernel.
    pub ending: Option<Ending>,
    /// It was ended because the server was dead; else it had ended by itself.
    pub was_killed: bool,
    /// Processes of it that could not be killed at once.
    pub stuck: usize,
}

/// What a supervisor writes when its server is dead.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LastWord {
    pub(crate) status: Option<Status>,
    pub(crate) was_killed: bool,
    pub(crate) stuck: usize,
}

impl Spool {
    /// The spool in this folder, which belongs to one server at a time and to nobody else.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Waits until no supervisor of a server before this one is left, as long as that takes at most, and reads what
    /// they wrote. Blocks; to be called before there is an executor, which would end them sooner.
    pub fn collect(&self, patience: Duration) -> io::Result<Vec<Leftover>> {
        let folder = lockable(&self.folder)?;
        let until = Instant::now() + patience;
        let mut pause = PAUSE.0;
        while let Err(error) = flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            if error != Errno::WOULDBLOCK {
                return Err(error.into());
            }
            if Instant::now() >= until {
                tracing::warn!(
                    "supervisors of a dead server are still there: how their commands end is not told"
                );
                break;
            }
            std::thread::park_timeout(pause);
            pause = (pause * 2).min(PAUSE.1);
        }
        let mut leftovers: Vec<_> = self.entries()?.filter_map(|path| read_last_word(&path)).collect();
        leftovers.sort_by(|a, b| a.label.cmp(&b.label));
        Ok(leftovers)
    }

    /// Forgets what was collected, now that it is told, and output that nobody has asked for in time.
    pub fn settle(&self) -> io::Result<()> {
        let mut outputs = Vec::new();
        for path in self.entries()? {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("stdout" | "stderr") => {
                    let modified = fs::metadata(&path).and_then(|found| found.modified());
                    outputs.push((modified.unwrap_or(SystemTime::UNIX_EPOCH), path));
                }
                _ => remove(&path),
            }
        }
        outputs.sort();
        let (now, surplus) = (SystemTime::now(), outputs.len().saturating_sub(SPOOL_OUTPUTS_MAX));
        for (at, (modified, path)) in outputs.iter().enumerate() {
            let age = now.duration_since(*modified).unwrap_or_default();
            if at < surplus || age > SPOOL_KEPT {
                remove(path);
            }
        }
        Ok(())
    }

    /// Where the standard output and error of a job are, if it ran for long and its server died.
    pub fn outputs(&self, label: &Label) -> Vec<PathBuf> {
        let place = self.place(label, 0);
        ["stdout", "stderr"]
            .map(|stream| place.path(stream))
            .into_iter()
            .filter(|path| path.is_file())
            .collect()
    }

    pub(crate) fn place(&self, label: &Label, output_bytes_max: u64) -> Place {
        Place { folder: self.folder.clone(), label: label.clone(), output_bytes_max }
    }

    fn entries(&self) -> io::Result<impl Iterator<Item = PathBuf>> {
        let entries = fs::read_dir(&self.folder)?;
        Ok(entries.filter_map(Result::ok).map(|entry| entry.path()))
    }
}

/// The place of one job in the spool.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    folder: PathBuf,
    label: Label,
    /// Of each stream, as in memory.
    output_bytes_max: u64,
}

impl Place {
    /// Takes the shared lock of the folder, for as long as what it gives is held. None if that can't be had: the next
    /// server then doesn't wait for us.
    pub(crate) fn hold(&self) -> Option<OwnedFd> {
        let folder = lockable(&self.folder).ok()?;
        flock(&folder, FlockOperation::NonBlockingLockShared).ok()?;
        Some(folder)
    }

    /// A file for one stream, empty.
    pub(crate) fn output(&self, stream: &str) -> io::Result<File> {
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600).open(self.path(stream))
    }

    /// Appends what is in a pipe, if the stream is kept here, as far as it is.
    pub(crate) fn append(&self, stream: &str, pipe: impl AsFd) -> io::Result<()> {
        let mut file = File::options().append(true).open(self.path(stream))?;
        let mut room = self.output_bytes_max.saturating_sub(file.metadata()?.len());
        rustix::io::ioctl_fionbio(&pipe, true)?;
        let mut chunk = [0; 4096];
        while room > 0 {
            let wanted = chunk.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            let count = match rustix::io::read(&pipe, &mut chunk[..wanted]) {
                Ok(0) | Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                read => read?,
            };
            file.write_all(&chunk[..count])?;
            room -= count as u64;
        }
        Ok(())
    }

    /// Writes how the job ended: as a whole, or not at all.
    pub(crate) fn tell(&self, word: &LastWord) -> io::Result<()> {
        let half = self.path("half");
        let mut options = File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&half)?;
        file.write_all(&serde_json::to_vec(word)?)?;
        fs::rename(half, self.path("json"))
    }

    /// Takes back what was told, because the server lives.
    pub(crate) fn take_back(&self) {
        remove(&self.path("json"));
    }

    /// Removes the output of one stream: it would have a hole.
    pub(crate) fn remove_output(&self, stream: &str) {
        remove(&self.path(stream));
    }

    /// Removes the output: it is told otherwise.
    pub(crate) fn remove_outputs(&self) {
        for stream in ["stdout", "stderr"] {
            remove(&self.path(stream));
        }
    }

    fn path(&self, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", self.label.0))
    }
}

fn lockable(folder: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// What can't be removed is removed by the next server.
fn remove(path: &Path) {
    fs::remove_file(path).ok();
}

fn read_last_word(path: &Path) -> Option<Leftover> {
    let label = Label::new(path.file_name()?.to_str()?.strip_suffix(".json")?)?;
    // Whoever may write there may put anything there: what isn't a plain file of ours is not waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(CWD, path, flags, Mode::empty()).ok()?);
    let found = file.metadata().ok()?;
    let is_ours = found.uid() == rustix::process::geteuid().as_raw();
    if !found.is_file() || !is_ours || found.len() > LAST_WORD_BYTES_MAX {
        return None;
    }
    let mut text = Vec::new();
    file.take(LAST_WORD_BYTES_MAX).read_to_end(&mut text).ok()?;
    // Half a word is none.
    let LastWord { status, was_killed, stuck } = serde_json::from_slice(&text).ok()?;
    Some(Leftover { label, ending: status.map(Ending::from), was_killed, stuck })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(text: &str) -> Label {
        Label::new(text).unwrap()
    }

    #[test]
    fn a_label_is_a_plain_name_of_a_file() {
        for good in ["7-01JD", "a", "A_b-9", &"x".repeat(128)] {
            assert_eq!(Label::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a/b", "a.json", "a b", "ä", "a\0", &"x".repeat(129)] {
            assert_eq!(Label::new(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_label_of_a_call_is_one_whatever_its_client_named_it() {
        for (id, text) in [("ab-1", "7-ab-1"), ("a.b:c_d", "7-a_b_c_d"), ("", "7-"), ("ä/..", "7-_____")] {
            let label = Label::of_call(7, id);
            assert_eq!((label.as_str(), label.intent()), (text, Some(7)));
            assert_eq!(Label::new(text), Some(label));
        }
        assert_eq!(Label::of_call(u64::MAX, &"x".repeat(200)).as_str().len(), LABEL_CHARS_MAX);
        assert_eq!((label("12").intent(), label("x-12").intent()), (None, None));
    }

    #[test]
    fn what_was_told_is_collected_once_and_what_is_half_or_strange_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        let word = |status, was_killed| LastWord { status, was_killed, stuck: 0 };
        spool.place(&label("2-b"), 0).tell(&word(Some(Status::Code(3)), false)).unwrap();
        spool.place(&label("1-a"), 0).tell(&word(Some(Status::Signal(9)), true)).unwrap();
        spool.place(&label("3-c"), 0).tell(&word(None, true)).unwrap();
        let taken = spool.place(&label("4-d"), 0);
        taken.tell(&word(None, true)).unwrap();
        taken.take_back();
        fs::write(folder.path().join("5-e.json"), "{\"status\":{\"Co").unwrap();
        fs::write(folder.path().join("6-f.json"), vec![b' '; 1 << 20]).unwrap();
        fs::write(folder.path().join("7-g.half"), "{}").unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("8-h.json")).unwrap();
        let fifo = folder.path().join("9-i.json");
        rustix::fs::mknodat(CWD, fifo, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        let leftovers = spool.collect(Duration::ZERO).unwrap();
        let told: Vec<_> =
            leftovers.iter().map(|left| (left.label.as_str(), left.ending, left.was_killed)).collect();
        assert_eq!(
            told,
            [
                ("1-a", Some(Ending::Signaled { signal: 9 }), true),
                ("2-b", Some(Ending::Exited { code: 3 }), false),
                ("3-c", None, true),
            ]
        );
        spool.settle().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(spool.collect(Duration::ZERO).unwrap(), []);
    }

    #[test]
    fn whoever_collects_waits_for_those_that_still_write() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        let place = spool.place(&label("1-a"), 0);
        let held = place.hold().unwrap();
        let (since, wait) = (Instant::now(), Duration::from_millis(100));
        assert_eq!(spool.collect(wait).unwrap(), []);
        assert!(since.elapsed() >= wait, "it did not wait");
        let writes = std::thread::spawn(move || {
            std::thread::park_timeout(wait);
            place.tell(&LastWord { status: Some(Status::Code(0)), was_killed: false, stuck: 0 }).unwrap();
            drop(held);
        });
        assert_eq!(spool.collect(Duration::from_secs(20)).unwrap().len(), 1);
        writes.join().unwrap();
    }

    #[test]
    fn output_is_appended_up_to_its_limit_and_only_where_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        let place = spool.place(&label("1-a"), 10);
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&writer, b"0123456789").unwrap();
        assert_eq!(place.append("stdout", &reader).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(spool.outputs(&label("1-a")), [] as [PathBuf; 0]);
        place.output("stdout").unwrap().write_all(b"abc").unwrap();
        // The pipe is still open for writing, which holds up nobody.
        place.append("stdout", &reader).unwrap();
        let [path] = &spool.outputs(&label("1-a"))[..] else { panic!("one stream is kept") };
        assert_eq!(fs::read(path).unwrap(), b"abc0123456");
        place.remove_outputs();
        assert_eq!(spool.outputs(&label("1-a")), [] as [PathBuf; 0]);
    }

    #[test]
    fn output_goes_when_it_is_old_or_one_of_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        let week_ago = SystemTime::now() - SPOOL_KEPT - Duration::from_mins(1);
        for number in 0..SPOOL_OUTPUTS_MAX + 2 {
            let file = spool.place(&label(&format!("{number}-x")), 1).output("stdout").unwrap();
            let age = Duration::from_mins(1_000 - number as u64);
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        spool.place(&label("old"), 1).output("stderr").unwrap().set_modified(week_ago).unwrap();
        spool.settle().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), SPOOL_OUTPUTS_MAX);
        let is_kept = |name: &str| !spool.outputs(&label(name)).is_empty();
        assert!(!is_kept("old") && !is_kept("0-x") && !is_kept("1-x") && is_kept("2-x"));
    }
}
