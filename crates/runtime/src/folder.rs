//! Folders that strangers write into: made for them alone, and taken away whatever is in them.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::{Path, PathBuf};

use hayward_exec::{Ending, Executor, Finished, Job, Profile, Quota, Survivors, User};
use tokio_util::sync::CancellationToken;

use crate::limits::REMOVE_TIMEOUT;

/// Where programs are looked up.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Takes a folder away, whatever is in it and whatever it forbids: as a job, because what a stranger made may be deeper
/// than a program survives that walks it.
const REMOVE: &str = "chmod -R u+rwX -- \"$1\" 2>/dev/null; exec rm -rf -- \"$1\"";

/// Makes a folder that nobody but its user sees. Blocks.
pub(crate) fn make(path: &Path, user: Option<User>) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    give(path, user)
}

/// Gives a folder, and the files right in it, to a user. Blocks.
pub(crate) fn give(path: &Path, user: Option<User>) -> io::Result<()> {
    let Some(User { uid, gid }) = user else { return Ok(()) };
    for entry in fs::read_dir(path)? {
        chown(entry?.path(), Some(uid), Some(gid))?;
    }
    chown(path, Some(uid), Some(gid))
}

/// Takes a folder away.
pub(crate) async fn remove(executor: &Executor, path: PathBuf) {
    let shown = path.display().to_string();
    let job = Job {
        program: "sh".to_owned(),
        args: ["-c", REMOVE, "sh", &shown].map(ToOwned::to_owned).to_vec(),
        env: vec![("PATH".to_owned(), PATH.to_owned())],
        cwd: "/".into(),
        stdout_bytes_max: 0,
        stderr_bytes_max: 0,
        timeout: REMOVE_TIMEOUT,
        survivors: Survivors::End,
        profile: Profile::Full,
        quota: Quota::default(),
        label: None,
    };
    match executor.run(job, &CancellationToken::new()).await {
        Ok(Finished { ending: Ending::Exited { code: 0 }, .. }) => {}
        // The next start takes it away.
        told => tracing::warn!(?told, path = shown, "a folder is left"),
    }
}
