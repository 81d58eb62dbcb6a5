//! How many files may be open: by this process as many as it can have, by the jobs that it starts as many as
//! before. Programs that still use `select` break when they are given more.

use std::ffi::OsString;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the process was started with.
static BEFORE: OnceLock<u64> = OnceLock::new();

/// The argument of a supervisor that says what its job gets.
const ARGUMENT: &str = "open-files=";

/// Raises the soft limit of this process to its hard one, and says what that is; none if there is none.
pub fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if let Some(current) = limit.current {
        BEFORE.get_or_init(|| current);
    }
    if setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).is_ok() {
        return limit.maximum;
    }
    limit.current
}

/// What a supervisor is started with beside its own arguments.
pub(crate) fn argument() -> Option<OsString> {
    BEFORE.get().map(|before| format!("{ARGUMENT}{before}").into())
}

/// In a supervisor: gives its job what the server had before. A hard limit is left as it is.
pub(crate) fn lower(args: impl Iterator<Item = OsString>) {
    let before = args.filter_map(|arg| arg.to_str()?.strip_prefix(ARGUMENT)?.parse::<u64>().ok()).last();
    if let Some(before) = before {
        let limit = getrlimit(Resource::Nofile);
        // What can't be lowered stays: the job has more than it needs.
        setrlimit(Resource::Nofile, Rlimit { current: Some(before), ..limit }).ok();
    }
}
