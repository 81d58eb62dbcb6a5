//! Walks the directories that a pattern leads to.
//!
//! Begins alone and calls more threads once there are many directories: a thread costs more than a
//! small tree does. A symbolic link to a directory is followed, but none that leads back up, and each
//! directory is entered through links only once, so every walk ends.

use std::collections::HashSet;
use std::ffi::{CStr, OsStr};
use std::ops::ControlFlow;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use hayward_tool::{Cx, Stop};
use rustix::fs::{FileType, Stat};

use super::newest::Newest;
use super::pattern::{Match, Parts, Pattern};
use crate::fs::{Directory, Fence, FileId, kind_of, modified};
use crate::limits::SERIAL_DIRECTORIES;

/// How many names are met between two looks at the clock.
const NAMES_PER_LOOK: u32 = 1 << 10;

/// One search.
pub(super) struct Search<'a> {
    pub(super) cx: &'a Cx,
    pub(super) fence: Fence<'a>,
    pub(super) pattern: &'a Pattern,
    pub(super) results_max: usize,
    pub(super) threads: usize,
}

/// A directory to visit.
struct Visit {
    path: PathBuf,
    parts: Parts,
    trail: Option<Arc<Trail>>,
    is_through_link: bool,
}

/// The directories above one.
struct Trail {
    id: FileId,
    is_kernels: bool,
    above: Option<Arc<Trail>>,
}

/// What the threads of a search share.
#[derive(Default)]
struct Shared {
    waiting: Vec<Visit>,
    /// Directories that were entered through a symbolic link.
    linked: HashSet<FileId>,
    /// Threads that are at a directory.
    busy: usize,
    stop: Option<Stop>,
}

#[derive(Default)]
struct Queue {
    shared: Mutex<Shared>,
    changed: Condvar,
}

impl Search<'_> {
    pub(super) fn run(&self, base: &Path) -> Result<Newest, Stop> {
        let mut newest = Newest::new(self.results_max);
        let start = self.pattern.start();
        if self.pattern.is_end(start)
            && let Some(directory) = self.fence.enter_through(base)
        {
            newest.add(modified(directory.stat()), || with_slash(base));
        }
        let visit = Visit { path: base.to_owned(), parts: start, trail: None, is_through_link: true };
        let queue = Queue::default();
        queue.lock().waiting.push(visit);
        self.work(&queue, &mut newest, SERIAL_DIRECTORIES);
        if !queue.lock().waiting.is_empty() {
            self.call_help(&queue, &mut newest);
        }
        let stop = queue.lock().stop;
        stop.map_or(Ok(newest), Err)
    }

    fn call_help(&self, queue: &Queue, newest: &mut Newest) {
        std::thread::scope(|scope| {
            let help = || {
                let mut newest = Newest::new(self.results_max);
                self.work(queue, &mut newest, usize::MAX);
                newest
            };
            let workers: Vec<_> = (1..self.threads).map(|_| scope.spawn(help)).collect();
            self.work(queue, newest, usize::MAX);
            for worker in workers {
                newest.merge(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
        });
    }

    /// Visits directories until none is left, but at most so many.
    fn work(&self, queue: &Queue, newest: &mut Newest, visits_max: usize) {
        for _ in 0..visits_max {
            let Some(visit) = queue.next() else { return };
            let found = self.visit(&visit, queue, newest);
            queue.done(found, self.cx.stop());
        }
    }

    /// Adds what matches in a directory; returns what to visit beneath it.
    fn visit(&self, visit: &Visit, queue: &Queue, newest: &mut Newest) -> Vec<Visit> {
        let mut beneath = Vec::new();
        let Some((directory, trail)) = self.enter(visit) else {
            return beneath;
        };
        let mut meet = |name: &CStr, kind: FileType| {
            let (parts, found) = self.pattern.step(visit.parts, name);
            if found != Match::No {
                let wants_directory = self.pattern.wants_directory || found == Match::AsDirectory;
                self.add(&join(&visit.path, name), &directory, (name, kind, wants_directory), newest);
            }
            let may_be_directory = matches!(kind, FileType::Directory | FileType::Symlink);
            if may_be_directory && self.pattern.goes_on(parts) {
                let next = Visit {
                    path: join(&visit.path, name),
                    parts,
                    trail: Some(Arc::clone(&trail)),
                    is_through_link: kind == FileType::Symlink || name == c"..",
                };
                if kind == FileType::Directory || self.follows(&next, &directory, name, queue) {
                    beneath.push(next);
                }
            }
        };
        if let Some(names) = self.pattern.names(visit.parts) {
            for name in names {
                if let Ok(stat) = directory.look(name) {
                    meet(name, kind_of(&stat));
                }
            }
            return beneath;
        }
        let mut count = 0_u32;
        directory.each_name(|name, kind| {
            meet(name, kind);
            count += 1;
            if count.is_multiple_of(NAMES_PER_LOOK) && self.cx.stop().is_some() {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        beneath
    }

    fn enter(&self, visit: &Visit) -> Option<(Directory, Arc<Trail>)> {
        let directory = if visit.is_through_link {
            self.fence.enter_through(&visit.path)?
        } else {
            self.fence.enter(&visit.path)?
        };
        let is_kernels = directory.is_kernels();
        let comes_from_outside = visit.trail.as_ref().is_some_and(|above| !above.is_kernels);
        if is_kernels && comes_from_outside && self.pattern.is_any_depth(visit.parts) {
            return None;
        }
        let trail = Trail { id: directory.id(), is_kernels, above: visit.trail.clone() };
        Some((directory, Arc::new(trail)))
    }

    /// Whether a symbolic link is followed.
    fn follows(&self, next: &Visit, directory: &Directory, name: &CStr, queue: &Queue) -> bool {
        let Ok(stat) = directory.look_through(name) else {
            return false;
        };
        if kind_of(&stat) != FileType::Directory {
            return false;
        }
        let id = FileId::from(&stat);
        let mut above = std::iter::successors(next.trail.as_deref(), |trail| trail.above.as_deref());
        // Without `**` the pattern ends by itself.
        !self.pattern.is_any_depth(next.parts)
            || (above.all(|above| above.id != id) && queue.lock().linked.insert(id))
    }

    fn shows(&self, stat: &Stat, path: &Path, is_link: bool) -> bool {
        !self.fence.hides(stat.into()) && (!(is_link || self.fence.is_narrow()) || self.fence.shows(path))
    }

    fn add(
        &self,
        path: &Path,
        directory: &Directory,
        (name, kind, wants_directory): (&CStr, FileType, bool),
        newest: &mut Newest,
    ) {
        let is_link = kind == FileType::Symlink;
        let (modified, is_directory) = match directory.look_through(name) {
            Ok(stat) if self.shows(&stat, path, is_link) => {
                (modified(&stat), kind_of(&stat) == FileType::Directory)
            }
            // It leads nowhere, and is there all the same. Whoever has roots isn't told whether anything is beyond them.
            Ok(_) if is_link && self.fence.is_narrow() => ((0, 0), false),
            Err(_) if is_link => ((0, 0), false),
            Ok(_) | Err(_) => return,
        };
        match (wants_directory, is_directory) {
            (true, true) => newest.add(modified, || with_slash(path)),
            (true, false) => {}
            (false, _) => newest.add(modified, || path.as_os_str().as_bytes().to_vec()),
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next directory; none if all are visited or the search has to stop.
    fn next(&self) -> Option<Visit> {
        let mut shared = self.lock();
        loop {
            if shared.stop.is_some() {
                return None;
            }
            if let Some(visit) = shared.waiting.pop() {
                shared.busy += 1;
                return Some(visit);
            }
            if shared.busy == 0 {
                return None;
            }
            shared = self.changed.wait(shared).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Says that a directory was visited and what is beneath it.
    fn done(&self, beneath: Vec<Visit>, stop: Option<Stop>) {
        let mut shared = self.lock();
        shared.busy -= 1;
        shared.waiting.extend(beneath);
        shared.stop = shared.stop.or(stop);
        self.changed.notify_all();
    }
}

fn join(path: &Path, name: &CStr) -> PathBuf {
    path.join(OsStr::from_bytes(name.to_bytes()))
}

fn with_slash(path: &Path) -> Vec<u8> {
    path.join("").into_os_string().into_vec()
}
