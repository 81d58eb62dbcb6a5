//! Searches one file, or all files of a tree with several threads, until there is enough.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use grep_regex::RegexMatcher;
use grep_searcher::{BinaryDetection, MmapChoice, Searcher, SearcherBuilder};
use hayward_api::Code;
use hayward_tool::{Cx, Stop, ToolError};
use ignore::overrides::Override;
use rustix::buffer::spare_capacity;
use rustix::fs::Stat;

use super::lines::{Budget, FileLines, Limit, Lines};
use super::sink::FileSink;
use super::{OutputMode, Stopping};
use crate::fs::{AbsPath, Fs, FsError, Tree};

/// A file of fewer bytes is read at once. Not more than the library looks at for binary data, so that
/// a small file is judged as it is in pieces.
const SMALL_BYTES: usize = 64 << 10;

/// One search.
pub(super) struct Search<'a> {
    pub(super) cx: &'a Cx,
    pub(super) matcher: RegexMatcher,
    pub(super) mode: OutputMode,
    pub(super) context: usize,
    pub(super) limit: Limit,
    pub(super) buffer_bytes_max: usize,
}

impl Search<'_> {
    pub(super) fn run(
        &self,
        fs: &Fs,
        path: &AbsPath,
        filter: Override,
        threads: usize,
    ) -> Result<Lines, ToolError> {
        let since = Instant::now();
        let root = fs.look(path)?;
        let budget = Budget::new(self.limit);
        let files = if root.is_directory() {
            self.search_tree(
                fs,
                &Tree { cx: self.cx, root: &root, path: path.as_path(), filter, threads },
                &budget,
            )?
        } else {
            self.search_alone(fs.open_file(path)?, path.as_path(), &budget)?
        };
        match self.cx.stop() {
            Some(Stop::Deadline) => {
                Err(ToolError::timeout(format!("grep timed out after {}s", since.elapsed().as_secs()))
                    .suggest("Search a smaller directory, or narrow the files with glob"))
            }
            Some(stop) => Err(stop.into()),
            None => Ok(Lines {
                files,
                limit: self.limit,
                is_grouped: self.context > 0,
                is_cut_short: budget.is_overspent(),
            }),
        }
    }

    fn search_tree(&self, fs: &Fs, tree: &Tree<'_>, budget: &Budget) -> Result<Vec<FileLines>, ToolError> {
        let found = Mutex::new(Vec::new());
        fs.each_file(tree, || {
            let mut desk = self.desk(BinaryDetection::quit(b'\0'));
            let found = &found;
            move |path: &Path, file: File, stat: &Stat| {
                // A file that can't be read, or no further, is left out as if it weren't there.
                let mut sink = FileSink::new(self.mode, budget, path, false);
                if self.search(&mut desk, file, stat, &mut sink).is_ok()
                    && let Some(text) = sink.into_text()
                {
                    let lines = FileLines { path: path.to_owned(), text };
                    found.lock().unwrap_or_else(PoisonError::into_inner).push(lines);
                }
                if budget.is_overspent() || self.cx.stop().is_some() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            }
        })?;
        Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Searches a file that was named: binary or not, and errors are told.
    fn search_alone(
        &self,
        (file, stat): (File, Stat),
        path: &Path,
        budget: &Budget,
    ) -> Result<Vec<FileLines>, ToolError> {
        let mut desk = self.desk(BinaryDetection::convert(b'\0'));
        let mut sink = FileSink::new(self.mode, budget, path, true);
        match self.search(&mut desk, file, &stat, &mut sink) {
            Ok(()) => {}
            Err(_) if self.cx.stop().is_some() => return Ok(Vec::new()), // told by the caller
            Err(error) if error.raw_os_error().is_none() => {
                let bytes_max = self.buffer_bytes_max;
                let message = format!("{} has lines of more than {bytes_max} bytes", path.display());
                return Err(ToolError::new("FileTooLarge", Code::TooLarge, message)
                    .suggest("Use fewer context_lines, or a command"));
            }
            Err(error) => return Err(FsError::of_io("read", path, &error).into()),
        }
        let lines = sink.into_text().map(|text| FileLines { path: path.to_owned(), text });
        Ok(lines.into_iter().collect())
    }

    /// Searches a file; a small one with a single read.
    fn search(&self, desk: &mut Desk, file: File, stat: &Stat, sink: &mut FileSink<'_>) -> io::Result<()> {
        let Desk { searcher, buffer } = desk;
        buffer.clear();
        let bytes = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
        if bytes < SMALL_BYTES {
            rustix::io::read(&file, spare_capacity(buffer))?;
            if buffer.len() == bytes && bytes > 0 {
                return searcher.search_slice(&self.matcher, buffer, sink);
            }
        }
        let file = buffer.chain(Stopping { file, cx: self.cx });
        searcher.search_reader(&self.matcher, file, sink)
    }

    fn desk(&self, binary: BinaryDetection) -> Desk {
        let searcher = SearcherBuilder::new()
            .line_number(self.mode == OutputMode::Content)
            .before_context(self.context)
            .after_context(self.context)
            .binary_detection(binary)
            .heap_limit(Some(self.buffer_bytes_max))
            // A file that shrinks while it is mapped would end the process.
            .memory_map(MmapChoice::never())
            .build();
        Desk { searcher, buffer: Vec::with_capacity(SMALL_BYTES) }
    }
}

/// What a thread searches with.
struct Desk {
    searcher: Searcher,
    buffer: Vec<u8>,
}
