//! Packages, in two phases: fetched once, with the network, while nothing of them runs; started offline from what was fetched.
//!
//! ```text
//!  <folder>/<registry>/<name@version>-<hash>/tree     what was fetched: nothing but this is read by who starts it
//!                                           /digest   of the tree; it is compared before every start, and touched
//!                     /<name@version>-<hash>.lock     hashes of all that belongs to it: what is fetched again is the same
//!                     /.<name@version>-<hash>.<n>     what is being fetched; renamed when it is whole
//! ```
//!
//! No script of a package runs while it is fetched: npm is told to ignore them, and of Python nothing is built. What a range
//! of a dependency meant the first time, the lock says from then on.

mod fetching;
mod node;
mod pin;
mod python;
mod tree;

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use hayward_api::kinds::server::ServerSpec;
use hayward_exec::{Executor, User};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::limits::PACKAGE_DOCUMENT_BYTES_MAX;
use crate::log::Log;
use crate::placement::PlacementError;
pub(crate) use pin::Package;
use pin::Registry;

/// Where packages are kept, and where they come from.
#[derive(Clone, Debug, Default)]
pub struct Packages {
    /// The folder in which they are kept; absolute, and nobody else's.
    pub folder: PathBuf,
    /// The address of the registry of npm; the public one if nothing is said.
    pub npm_registry: Option<String>,
    /// The address of the Python index; the public one if nothing is said.
    pub python_index: Option<String>,
    /// A file of certificates that those who fetch trust beside their own.
    pub certificates: Option<PathBuf>,
}

/// A program that was fetched.
#[derive(Debug)]
pub(crate) struct Program {
    /// What starts it.
    pub(crate) path: String,
    /// Its first arguments.
    pub(crate) args: Vec<String>,
    /// What it reads.
    pub(crate) read_only: PathBuf,
    /// As long as this is there, the package is not removed.
    pub(crate) hold: Option<Turn>,
}

/// Whose turn it is to fetch a package, or to remove it; whoever uses it has it as well.
pub(crate) type Turn = Arc<tokio::sync::Mutex<()>>;

/// A package that nobody uses, while it is removed.
pub(crate) struct Unused {
    pub(crate) folder: PathBuf,
    /// Whoever wants it meanwhile waits, and fetches it again.
    _turn: tokio::sync::OwnedMutexGuard<()>,
}

/// The packages of one folder.
pub(crate) struct Store {
    packages: Packages,
    executor: Executor,
    /// Who fetches.
    user: Option<User>,
    /// Whose turn it is, by the folder of the package.
    turns: Mutex<HashMap<PathBuf, Weak<tokio::sync::Mutex<()>>>>,
    /// How often something was fetched: what is being fetched has a folder of its own.
    fetched: AtomicU64,
}

/// Where things of one package are.
struct Places {
    whole: PathBuf,
    lock: PathBuf,
}

impl Places {
    fn tree(&self) -> PathBuf {
        self.whole.join("tree")
    }
}

impl Store {
    pub(crate) fn new(packages: Packages, executor: Executor, user: Option<User>) -> Self {
        Self { packages, executor, user, turns: Mutex::default(), fetched: AtomicU64::new(0) }
    }

    /// The package that a server is; none if it is none.
    pub(crate) fn package(spec: &ServerSpec) -> Result<Option<Package>, PlacementError> {
        spec.package_name.as_deref().map(|said| Package::parse(said, spec.runtime)).transpose()
    }

    /// The program of a package, fetched if it isn't there yet, and found to be what was fetched. What fetching it says goes
    /// to the log. If `stop` fires, nothing is left.
    pub(crate) async fn program(
        &self,
        package: Package,
        log: &Log,
        stop: &CancellationToken,
    ) -> Result<Program, PlacementError> {
        let places = self.places(&package);
        let turn = self.turn(&places.whole);
        {
            let Some(_turn) = stop.run_until_cancelled(turn.lock()).await else {
                return Err(PlacementError::Stopped);
            };
            if !places.whole.exists() {
                self.fetch(&package, &places, log, stop).await?;
            }
        }
        let program = spawn_blocking(move || {
            used(&places.whole);
            start(&package, &places)
        });
        let program = program.await.map_err(|error| PlacementError::Folder(io::Error::other(error)))??;
        Ok(Program { hold: Some(turn), ..program })
    }

    /// Where the packages of these servers are.
    pub(crate) fn folders(&self, specs: &[&ServerSpec]) -> Vec<PathBuf> {
        let packages = specs.iter().filter_map(|spec| Self::package(spec).ok().flatten());
        packages.map(|package| self.places(&package).whole).collect()
    }

    /// All packages but these that nobody has used for so long, and that nobody uses. Blocks.
    pub(crate) fn unused(&self, keep: &[PathBuf], unused_for: Duration) -> Vec<Unused> {
        for folder in keep {
            used(folder);
        }
        let entries =
            self.entries().filter(|path| path.is_dir() && !is_partial(path) && !keep.contains(path));
        entries.filter(|path| is_older(path, unused_for)).filter_map(|path| self.take(path)).collect()
    }

    /// A package, unless somebody uses it.
    fn take(&self, folder: PathBuf) -> Option<Unused> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.get(&folder).is_some_and(|turn| turn.strong_count() > 0) {
            return None;
        }
        let turn = Turn::default();
        turns.insert(folder.clone(), Arc::downgrade(&turn));
        Some(Unused { folder, _turn: turn.try_lock_owned().ok()? })
    }

    /// What a daemon that died has left half fetched. Blocks.
    pub(crate) fn partial(&self) -> Vec<PathBuf> {
        self.entries().filter(|path| is_partial(path)).collect()
    }

    fn entries(&self) -> impl Iterator<Item = PathBuf> {
        let folders = Registry::ALL.map(|registry| self.packages.folder.join(registry.as_str()));
        let entries = folders.into_iter().filter_map(|folder| fs::read_dir(folder).ok());
        entries.flatten().filter_map(|entry| Some(entry.ok()?.path()))
    }

    fn turn(&self, folder: &Path) -> Turn {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(folder).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Turn::default();
        turns.insert(folder.to_owned(), Arc::downgrade(&turn));
        turn
    }

    fn places(&self, package: &Package) -> Places {
        let folder = self.packages.folder.join(package.registry.as_str());
        let key = package.key();
        Places { lock: folder.join(format!("{key}.lock")), whole: folder.join(key) }
    }
}

/// Finds how to start what was fetched, and that it is what was fetched.
fn start(package: &Package, places: &Places) -> Result<Program, PlacementError> {
    let tree = places.tree();
    let unread = |error: io::Error| PlacementError::Unreadable { package: package.said(), error };
    let expected = document(&places.whole.join("digest")).map_err(unread)?;
    if tree::digest(&tree).map_err(unread)? != expected.trim() {
        let folder = places.whole.display().to_string();
        return Err(PlacementError::Tampered { package: package.said(), folder });
    }
    let (path, args) = match package.registry {
        Registry::Node => node::program(package, &tree)?,
        Registry::Python => python::program(package, &tree)?,
    };
    Ok(Program { path, args, read_only: tree, hold: None })
}

/// Notes that a package is used, in what outlives us: when its digest was written. One that can't be written is there no more.
fn used(folder: &Path) {
    let file = fs::File::options().append(true).open(folder.join("digest"));
    file.and_then(|file| file.set_modified(SystemTime::now())).ok();
}

/// Whether a package was last used that long ago.
fn is_older(folder: &Path, time: Duration) -> bool {
    let used = fs::metadata(folder.join("digest")).and_then(|metadata| metadata.modified());
    // What has no digest was never whole.
    used.map_or(true, |used| used.elapsed().is_ok_and(|elapsed| elapsed >= time))
}

fn is_partial(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// A document of a bounded size.
fn document(path: &Path) -> io::Result<String> {
    let (mut text, mut file) = (String::new(), fs::File::open(path)?.take(PACKAGE_DOCUMENT_BYTES_MAX));
    file.read_to_string(&mut text)?;
    if file.limit() == 0 {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than such a document may be"));
    }
    Ok(text)
}

/// Why the program of a package isn't known.
fn no_program(package: &Package, what: &str) -> PlacementError {
    PlacementError::unfit("process", format!("package `{}` {what}", package.said()))
}
