//! The data directory: one owner at a time, and nobody else may look in.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const LOCK: &str = "hayward.lock";

/// Why the data directory can't be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("data directory `{path}` is in use{}", by(*pid))]
    Held {
        /// The directory.
        path: PathBuf,
        /// The process, if it said so yet.
        pid: Option<u32>,
    },
    /// Others could change what is in it.
    #[error("data directory `{path}` is writable for others (mode {mode:03o})")]
    Exposed {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is another user's, who could put anything in its place.
    #[error("data directory `{path}` belongs to another user (uid {owner})")]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// The system failed at one step.
    #[error("failed to {step} `{path}`")]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn by(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" by process {pid}")).unwrap_or_default()
}

impl LockError {
    fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { step, path, source }
    }

    /// What the operator can do.
    pub fn hint(&self) -> String {
        match self {
            Self::Held { .. } => "stop that process, or use another `--data-dir`".to_owned(),
            Self::Exposed { path, .. } => format!("run `chmod 700 {}`", path.display()),
            Self::Foreign { owner, .. } => {
                format!("run it as that user (`sudo -u '#{owner}' …`), or use a `--data-dir` that you own")
            }
            Self::Io { .. } => "use a `--data-dir` that you own".to_owned(),
        }
    }
}

/// The data directory, ours until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Holds the lock; the kernel releases it with the process, however that ends.
    _lock: File,
}

impl DataDir {
    /// Takes the directory; makes it, for its owner only, if it isn't there.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        create_private(path)?;
        let found = fs::metadata(path).map_err(LockError::io("look at", path))?;
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Err(LockError::Foreign { path: path.to_owned(), owner: found.uid() });
        }
        let mode = found.permissions().mode();
        if mode & 0o022 != 0 {
            return Err(LockError::Exposed { path: path.to_owned(), mode: mode & 0o777 });
        }
        let lock = take_lock(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the record; made when it is asked for.
    pub fn audit(&self) -> Result<PathBuf, LockError> {
        self.folder("audit")
    }

    /// The folder of the keys; made when it is asked for.
    pub fn keys(&self) -> Result<PathBuf, LockError> {
        self.folder("keys")
    }

    /// The folder in which commands leave what outlives their daemon; made when it is asked for.
    pub fn spool(&self) -> Result<PathBuf, LockError> {
        self.folder("spool")
    }

    fn folder(&self, name: &str) -> Result<PathBuf, LockError> {
        let path = self.path.join(name);
        create_private(&path)?;
        Ok(path)
    }
}

fn create_private(path: &Path) -> Result<(), LockError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(LockError::io("create", path))
}

fn take_lock(dir: &Path) -> Result<File, LockError> {
    let path = dir.join(LOCK);
    // Not truncated: until the lock is ours, what is in it is its owner's.
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(LockError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(LockError::io("read", &path))?;
            return Err(LockError::Held { path: dir.to_owned(), pid: pid.trim().parse().ok() });
        }
        Err(TryLockError::Error(source)) => return Err(LockError::io("lock", &path)(source)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(LockError::io("write", &path))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_missing_directory_is_made_for_its_owner_only() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let dir = DataDir::acquire(&path).unwrap();
        for folder in [path.clone(), dir.audit().unwrap(), dir.keys().unwrap()] {
            assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        }
        assert_eq!(mode(&path.join(LOCK)), 0o600);
    }

    #[test]
    fn a_second_owner_is_refused_with_the_pid_of_the_first_until_it_is_gone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let first = DataDir::acquire(&path).unwrap();
        let error = DataDir::acquire(&path).unwrap_err();
        assert!(matches!(error, LockError::Held { pid: Some(pid), .. } if pid == std::process::id()));
        assert!(error.to_string().ends_with(&format!("in use by process {}", std::process::id())));
        drop(first);
        DataDir::acquire(&path).unwrap();
    }

    #[test]
    fn a_directory_of_another_user_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        if std::os::unix::fs::chown(parent.path(), Some(65534), None).is_err() {
            println!("skipped: only root can give a directory away");
            return;
        }
        let error = DataDir::acquire(parent.path()).unwrap_err();
        assert!(matches!(error, LockError::Foreign { owner: 65534, .. }), "{error}");
    }

    #[test]
    fn a_directory_that_others_may_write_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path();
        for bad in [0o720, 0o702, 0o777] {
            fs::set_permissions(path, fs::Permissions::from_mode(bad)).unwrap();
            let error = DataDir::acquire(path).unwrap_err();
            assert!(matches!(error, LockError::Exposed { mode, .. } if mode == bad), "{error}");
            assert!(error.hint().starts_with("run `chmod 700 /"));
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        DataDir::acquire(path).unwrap();
    }

    #[test]
    fn a_file_in_the_place_of_the_directory_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(DataDir::acquire(file.path()), Err(LockError::Io { step: "create", .. })));
    }
}
