//! How a package is fetched: step by step, each a confined job that changes one folder and nothing else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use hayward_exec::{Confined, Conversation, Ending, Finished, Job, Network, Profile, Quota, Survivors, User};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::pin::{Package, Registry};
use super::{Packages, Places, Store, document, node, python, tree};
use crate::folder::{self, PATH};
use crate::limits::{FETCH_CHARS_SHOWN, FETCH_LINES_SHOWN, FETCH_TIMEOUT};
use crate::log::{Line, Log};
use crate::placement::PlacementError;

/// One program that runs while a package is fetched, in the folder that becomes its own.
pub(super) struct Step {
    pub(super) program: String,
    pub(super) args: Vec<String>,
}

impl Step {
    pub(super) fn new(program: impl Into<String>, args: &[&str]) -> Self {
        Self { program: program.into(), args: args.iter().map(|arg| (*arg).to_owned()).collect() }
    }
}

/// One package being fetched.
struct Fetching<'a> {
    store: &'a Store,
    package: &'a Package,
    /// The folder in which it is made.
    folder: PathBuf,
    log: &'a Log,
    stop: &'a CancellationToken,
    deadline: Instant,
}

impl Store {
    /// Fetches a package to where it belongs.
    pub(super) async fn fetch(
        &self,
        package: &Package,
        places: &Places,
        log: &Log,
        stop: &CancellationToken,
    ) -> Result<(), PlacementError> {
        let count = self.fetched.fetch_add(1, Ordering::Relaxed);
        let folder =
            places.whole.with_file_name(format!(".{}.{}.{count}", package.key(), std::process::id()));
        let deadline = Instant::now() + FETCH_TIMEOUT;
        let fetching = Fetching { store: self, package, folder: folder.clone(), log, stop, deadline };
        let fetched = fetching.run(places).await;
        // Where it went well, what is left here was of use for fetching alone.
        if folder.exists() {
            folder::remove(&self.executor, folder).await;
        }
        fetched
    }
}

impl Fetching<'_> {
    async fn run(&self, places: &Places) -> Result<(), PlacementError> {
        self.log.push(format!("fetching {}", self.package.said()).as_bytes());
        let locked = places.lock.clone();
        let lock = self.blocking(move || optional(document(&locked))).await?;
        for step in self.prepare(lock.clone()).await? {
            self.step(step).await?;
        }
        let (folder, user, registry) = (self.folder.clone(), self.store.user, self.package.registry);
        let (whole, locked) = (places.whole.clone(), places.lock.clone());
        self.blocking(move || finish(&folder, user, registry, (&whole, lock.is_none().then_some(&locked))))
            .await
    }

    /// Makes the folder, and says what is to be done in it.
    async fn prepare(&self, lock: Option<String>) -> Result<Vec<Step>, PlacementError> {
        let (folder, user, package) = (self.folder.clone(), self.store.user, self.package.clone());
        self.blocking(move || {
            let made = folder.join("made");
            folder::make(&made, None)?;
            let steps = match package.registry {
                Registry::Node => node::prepare(&package, &made, lock.as_deref())?,
                Registry::Python => python::prepare(&package, &made, lock.as_deref())?,
            };
            folder::give(&made, user)?;
            Ok(steps)
        })
        .await
    }

    async fn step(&self, step: Step) -> Result<(), PlacementError> {
        let from = self.log.count();
        let what = step.program.clone();
        let stop = self.stop.child_token();
        let conversation =
            self.store.executor.converse(self.job(step), &stop).map_err(PlacementError::Process)?;
        let Conversation { input, output, stderr, finished } = conversation;
        drop(input);
        let hearing = async {
            tokio::join!(self.log.fill(output), self.log.fill(stderr));
        };
        let heard = timeout_at(self.deadline, Log::until(finished, hearing)).await;
        let why = match heard {
            Ok(Ok(Finished { ending: Ending::Exited { code: 0 }, .. })) => return Ok(()),
            Ok(_) if self.stop.is_cancelled() => return Err(PlacementError::Stopped),
            Ok(Ok(Finished { ending, .. })) => format!("`{what}` {}", how(ending)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it took longer than {} s", FETCH_TIMEOUT.as_secs()),
        };
        let said = shown(&self.log.tail(FETCH_LINES_SHOWN), from);
        let hint = hint(&said).map(|hint| format!("; hint: {hint}")).unwrap_or_default();
        Err(PlacementError::Fetch { package: self.package.said(), why: format!("{why}: {said}{hint}") })
    }

    fn job(&self, step: Step) -> Job {
        let made = self.folder.join("made");
        let packages = &self.store.packages;
        let confined = Confined {
            read_write: vec![made.clone()],
            read_only: packages.certificates.iter().cloned().collect(),
            network: Network::Shared,
            user: self.store.user,
        };
        Job {
            program: step.program,
            args: step.args,
            env: environment(packages, &made),
            cwd: made,
            stdout_bytes_max: 0,
            stderr_bytes_max: 0,
            timeout: Duration::MAX,
            survivors: Survivors::End,
            profile: Profile::Confined(confined),
            quota: Quota::default(),
            label: None,
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, PlacementError> {
        let done = spawn_blocking(work).await.map_err(io::Error::other).flatten();
        done.map_err(|error| PlacementError::Fetch { package: self.package.said(), why: error.to_string() })
    }
}

/// What fetching needs to know. Not as arguments, which everybody on this machine sees: an address may hold a password.
fn environment(packages: &Packages, made: &Path) -> Vec<(String, String)> {
    let home = made.display().to_string();
    let own = [("HOME", home), ("PATH", PATH.to_owned()), ("LANG", "C.UTF-8".to_owned())];
    let registry = packages.npm_registry.iter().map(|it| ("npm_config_registry", it.clone()));
    let index = packages.python_index.iter().map(|it| ("PIP_INDEX_URL", it.clone()));
    let certificates = packages.certificates.iter().map(|it| it.display().to_string());
    let trust = certificates
        .flat_map(|it| ["NODE_EXTRA_CA_CERTS", "PIP_CERT", "SSL_CERT_FILE"].map(|name| (name, it.clone())));
    let all = own.into_iter().chain(registry).chain(index).chain(trust);
    all.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Takes what was made to where it belongs: the lock first, then all at once.
fn finish(
    folder: &Path,
    user: Option<User>,
    registry: Registry,
    (whole, lock): (&Path, Option<&PathBuf>),
) -> io::Result<()> {
    let made = folder.join("made");
    if let Some(lock) = lock {
        let text = match registry {
            Registry::Node => document(&made.join(node::LOCK))?,
            Registry::Python => python::lock(&document(&made.join(python::REPORT))?)?,
        };
        let half = folder.join("lock");
        fs::write(&half, text)?;
        fs::rename(half, lock)?;
    }
    let ready = folder.join("ready");
    fs::create_dir(&ready)?;
    let tree = match registry {
        Registry::Node => made.join(node::TREE),
        Registry::Python => made.join(python::TREE),
    };
    fs::rename(tree, ready.join("tree"))?;
    fs::write(ready.join("digest"), tree::digest(&ready.join("tree"))?)?;
    folder::give(&ready, user)?;
    match fs::rename(&ready, whole) {
        // Another daemon was faster, with the same.
        Err(_) if whole.join("digest").exists() => Ok(()),
        renamed => renamed,
    }
}

fn optional(read: io::Result<String>) -> io::Result<Option<String>> {
    match read {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The last lines of a log from this number on, in one line that moves no cursor.
fn shown(lines: &[Line], from: u64) -> String {
    // What npm keeps a log in is gone by then.
    let is_of_use = |text: &str| !text.trim().is_empty() && !text.contains("A complete log of this run");
    let lines = lines.iter().filter(|line| line.number >= from && is_of_use(&line.text));
    let text: Vec<&str> = lines.map(|line| line.text.trim()).collect();
    let clean = |at: char| if at.is_control() { ' ' } else { at };
    let text: Vec<char> = text.join("; ").chars().map(clean).collect();
    text[text.len().saturating_sub(FETCH_CHARS_SHOWN)..].iter().collect()
}

/// What to do about what somebody who fetches said, where that is known.
fn hint(said: &str) -> Option<&'static str> {
    // npm in words of OpenSSL, pip in its own.
    let is_untrusted = [
        "SELF_SIGNED_CERT",
        "UNABLE_TO_GET_ISSUER_CERT",
        "UNABLE_TO_VERIFY_LEAF",
        "CERTIFICATE_VERIFY_FAILED",
    ];
    is_untrusted.iter().any(|word| said.contains(word)).then_some(
        "say whom to trust with `serve --package-certificates FILE` (PEM), e.g. the machine's own bundle",
    )
}

/// How a program ended, in words.
fn how(ending: Ending) -> String {
    match ending {
        Ending::Exited { code } => format!("exited with {code}"),
        Ending::Signaled { signal } => format!("was ended by signal {signal}"),
        Ending::TimedOut | Ending::Cancelled => "was ended before it was done".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_behind_a_certificate_of_somebody_unknown_is_told_with_what_helps() {
        for said in [
            "npm error code SELF_SIGNED_CERT_IN_CHAIN",
            "npm error code UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
            "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed'))",
        ] {
            assert!(hint(said).is_some_and(|hint| hint.contains("--package-certificates")), "{said}");
        }
        assert_eq!(hint("npm error 404 Not Found"), None);
        assert_eq!(how(Ending::Exited { code: 7 }), "exited with 7");
    }

    #[test]
    fn what_is_shown_of_a_log_moves_no_cursor_and_is_short() {
        let log = Log::default();
        for line in ["before", "a\x1b[2Jb", "", "c"] {
            log.push(line.as_bytes());
        }
        assert_eq!(shown(&log.tail(8), 1), "a [2Jb; c");
        log.push("x".repeat(5_000).as_bytes());
        assert_eq!(shown(&log.tail(8), 0).len(), FETCH_CHARS_SHOWN);
    }
}
