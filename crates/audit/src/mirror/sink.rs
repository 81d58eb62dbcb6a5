//! Where a copy goes: a file that is put aside when it is full, or a stream.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::AuditError;
use crate::limits::Limits;

/// The file that is written.
pub(super) const FILE: &str = "audit.log";

/// Where a copy goes.
pub(super) enum Sink {
    Stream(Box<dyn Write + Send>),
    File(Rotating),
}

/// A file that is put aside when it is full.
pub(super) struct Rotating {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    files_kept: u64,
}

impl Sink {
    /// The file in this folder, and the number of the last call that it holds.
    pub(super) fn file(folder: &Path, limits: &Limits) -> Result<(Self, u64), AuditError> {
        fs::create_dir_all(folder).map_err(AuditError::io("make", folder))?;
        let path = folder.join(FILE);
        let last = last_seq(&path).map_err(AuditError::io("read", &path))?;
        let file = append(&path).map_err(AuditError::io("open", &path))?;
        let bytes = file.metadata().map_err(AuditError::io("look at", &path))?.len();
        let (bytes_max, files_kept) = (limits.copy_bytes_max, limits.copy_files_kept);
        Ok((Self::File(Rotating { path, file, bytes, bytes_max, files_kept }), last))
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Stream(_) => Path::new("its stream"),
            Self::File(rotating) => &rotating.path,
        }
    }

    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Self::Stream(stream) => {
                stream.write_all(line)?;
                stream.flush()
            }
            Self::File(rotating) => rotating.write(line),
        }
    }
}

impl Rotating {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.bytes_max {
            self.rotate()?;
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// `audit.log` becomes `audit.log.1`, that one `audit.log.2`, and so on; the last one goes.
    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |number: u64| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..self.files_kept).rev() {
            if numbered(number).exists() {
                fs::rename(numbered(number), numbered(number + 1))?;
            }
        }
        if self.files_kept == 0 {
            fs::remove_file(&self.path)?;
        } else {
            fs::rename(&self.path, numbered(1))?;
        }
        (self.file, self.bytes) = (append(&self.path)?, 0);
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// The number of the last call that the file holds; 0 if there is none.
fn last_seq(path: &Path) -> io::Result<u64> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut last = 0;
    for line in BufReader::new(file).split(b'\n') {
        let line: Value = serde_json::from_slice(&line?).unwrap_or_default();
        last = line.get("seq").and_then(Value::as_u64).unwrap_or(last);
    }
    Ok(last)
}
