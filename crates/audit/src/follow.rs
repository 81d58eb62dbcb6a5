//! Reads on as the record grows, also into the next file, without a lock and without its writer knowing.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::error::AuditError;
use crate::files::record_files;
use crate::folder::CURRENT;
use crate::reader::{Line, parse};

/// A reader at the end of the file in use.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    /// None while there is no file.
    input: Option<BufReader<File>>,
    /// A line that isn't whole yet.
    begun: Vec<u8>,
}

impl Follow {
    /// Reads all files of a folder from their beginning, line by line, and then follows the one in use from where
    /// that was.
    pub fn open(dir: &Path, mut each: impl FnMut(Line)) -> Result<Self, AuditError> {
        let path = dir.join(CURRENT);
        // Opened first: if it is put aside meanwhile, it is in the list under another name, and not read twice.
        let current = open(&path)?;
        let inode = current.as_ref().map(inode).transpose()?;
        for path in record_files(dir)? {
            let Some(file) = open(&path)? else { continue };
            if Some(self::inode(&file)?) == inode {
                break;
            }
            read(&mut BufReader::new(file), &path, &mut Vec::new(), &mut each)?;
        }
        let mut follow = Self { path, input: current.map(BufReader::new), begun: Vec::new() };
        follow.read(&mut each)?;
        Ok(follow)
    }

    /// Reads what has come since.
    pub fn read(&mut self, mut each: impl FnMut(Line)) -> Result<(), AuditError> {
        loop {
            let next = self.next_file()?;
            if let Some(input) = &mut self.input {
                // If there is a next file, this one is complete: it is read to its end after the next one was seen.
                read(input, &self.path, &mut self.begun, &mut each)?;
            }
            let Some(next) = next else { return Ok(()) };
            self.input = Some(BufReader::new(next));
            self.begun.clear();
        }
    }

    /// The file behind the one that is read, if there is one.
    fn next_file(&self) -> Result<Option<File>, AuditError> {
        let Some(current) = open(&self.path)? else { return Ok(None) };
        let Some(input) = &self.input else { return Ok(Some(current)) };
        let ours = inode(input.get_ref())?;
        if inode(&current)? == ours {
            return Ok(None);
        }
        // Several may have been begun since it was looked at last.
        let mut files = record_files(self.path.parent().unwrap_or(Path::new(".")))?.into_iter();
        let is_ours = |path: &PathBuf| open(path).and_then(|file| file.as_ref().map(inode).transpose());
        while let Some(path) = files.next() {
            if is_ours(&path)? == Some(ours) {
                return files.next().map_or(Ok(None), |next| open(&next));
            }
        }
        // Ours has been deleted meanwhile.
        Ok(Some(current))
    }
}

fn open(path: &Path) -> Result<Option<File>, AuditError> {
    match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some).map_err(AuditError::io("open", path)),
    }
}

fn inode(file: &File) -> Result<u64, AuditError> {
    Ok(file.metadata().map_err(AuditError::io("look at", Path::new(CURRENT)))?.ino())
}

/// Reads whole lines; what is begun waits.
fn read(
    input: &mut BufReader<File>,
    path: &Path,
    begun: &mut Vec<u8>,
    each: &mut impl FnMut(Line),
) -> Result<(), AuditError> {
    while input.read_until(b'\n', begun).map_err(AuditError::io("read", path))? > 0 {
        if begun.ends_with(b"\n") {
            each(parse(std::mem::take(begun)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    fn seqs(lines: &[Line]) -> Vec<u64> {
        let seq = |line: &Line| if let Line::Record(record) = line { record.seq } else { 0 };
        lines.iter().map(seq).collect()
    }

    #[test]
    fn it_reads_on_through_pieces_and_files() {
        let dir = tempfile::tempdir().unwrap();
        let current = dir.path().join(CURRENT);
        let append = |text: &str| {
            let mut file = fs::OpenOptions::new().append(true).create(true).open(&current).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        let line = |seq: u64| format!("{{\"seq\":{seq},\"type\":\"denied\"}}\n");
        fs::write(dir.path().join("record.1.jsonl"), line(1)).unwrap();
        append(&line(2));
        append(&line(3)[..9]);
        let mut lines = Vec::new();
        let mut follow = Follow::open(dir.path(), |line| lines.push(line)).unwrap();
        assert_eq!(seqs(&lines), [1, 2]);
        append(&line(3)[9..]);
        append(&line(4));
        fs::rename(&current, dir.path().join("record.2.jsonl")).unwrap();
        follow.read(|line| lines.push(line)).unwrap();
        append(&line(5));
        follow.read(|line| lines.push(line)).unwrap();
        append(&line(6));
        fs::rename(&current, dir.path().join("record.3.jsonl")).unwrap();
        append(&line(7));
        fs::rename(&current, dir.path().join("record.4.jsonl")).unwrap();
        append(&line(8));
        follow.read(|line| lines.push(line)).unwrap();
        follow.read(|line| lines.push(line)).unwrap();
        assert_eq!(seqs(&lines), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_folder_without_a_record_is_followed_until_there_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut lines = Vec::new();
        let mut follow = Follow::open(dir.path(), |line| lines.push(line)).unwrap();
        fs::write(dir.path().join(CURRENT), "{\"seq\":1,\"type\":\"denied\"}\n").unwrap();
        follow.read(|line| lines.push(line)).unwrap();
        assert_eq!(seqs(&lines), [1]);
    }
}
