//! Searches one file, or all files of a tree with several threads, until there is enough.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use grep_regex::RegexMatcher;
use grep_searcher::{BinaryDetection, MmapChoice, Searcher, SearcherBuilder};
use hayward_api::Code;
use hayward_tool::{Cx, Stop, ToolError};
use ignore::overrides::Override;

use super::lines::{Budget, FileLines, Limit, Lines};
use super::sink::FileSink;
use super::{OutputMode, Stopping};
use crate::fs::{AbsPath, Fs, FsError, Tree};

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
        let root = fs.look(path)?;
        let budget = Budget::new(self.limit);
        let files = if root.is_directory() {
            self.search_tree(fs, &Tree { root: &root, path: path.as_path(), filter, threads }, &budget)
        } else {
            let (file, _) = fs.open_file(path)?;
            self.search_alone(file, path.as_path(), &budget)?
        };
        match self.cx.stop() {
            Some(Stop::Deadline) => Err(ToolError::timeout("grep timed out")
                .suggest("Search a smaller directory, or narrow the files with glob")),
            Some(stop) => Err(stop.into()),
            None => Ok(Lines {
                files,
                limit: self.limit,
                is_grouped: self.context > 0,
                is_cut_short: budget.is_overspent(),
            }),
        }
    }

    fn search_tree(&self, fs: &Fs, tree: &Tree<'_>, budget: &Budget) -> Vec<FileLines> {
        let found = Mutex::new(Vec::new());
        fs.each_file(tree, || {
            let mut searcher = self.searcher(BinaryDetection::quit(b'\0'));
            let found = &found;
            move |path, file| {
                // A file that can't be read, or no further, is left out as if it weren't there.
                let text = self.search(&mut searcher, file, (path, false), budget).unwrap_or(None);
                if let Some(text) = text {
                    let lines = FileLines { path: path.to_owned(), text };
                    found.lock().unwrap_or_else(PoisonError::into_inner).push(lines);
                }
                if budget.is_overspent() || self.cx.stop().is_some() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            }
        });
        found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Searches a file that was named: binary or not, and errors are told.
    fn search_alone(&self, file: File, path: &Path, budget: &Budget) -> Result<Vec<FileLines>, ToolError> {
        let mut searcher = self.searcher(BinaryDetection::convert(b'\0'));
        match self.search(&mut searcher, file, (path, true), budget) {
            Ok(text) => Ok(text.map(|text| FileLines { path: path.to_owned(), text }).into_iter().collect()),
            Err(_) if self.cx.stop().is_some() => Ok(Vec::new()), // told by the caller
            Err(error) if error.raw_os_error().is_none() => {
                let bytes_max = self.buffer_bytes_max;
                let message = format!("{} has lines of more than {bytes_max} bytes", path.display());
                Err(ToolError::new("FileTooLarge", Code::TooLarge, message)
                    .suggest("Use fewer context_lines, or a command"))
            }
            Err(error) => Err(FsError::of_io("read", path, &error).into()),
        }
    }

    fn search(
        &self,
        searcher: &mut Searcher,
        file: File,
        (path, is_alone): (&Path, bool),
        budget: &Budget,
    ) -> io::Result<Option<String>> {
        let name = path.to_string_lossy();
        let mut sink = FileSink::new(self.mode, budget, &name, is_alone);
        searcher.search_reader(&self.matcher, Stopping { file, cx: self.cx }, &mut sink)?;
        Ok(sink.into_text())
    }

    fn searcher(&self, binary: BinaryDetection) -> Searcher {
        SearcherBuilder::new()
            .line_number(self.mode == OutputMode::Content)
            .before_context(self.context)
            .after_context(self.context)
            .binary_detection(binary)
            .heap_limit(Some(self.buffer_bytes_max))
            // A file that shrinks while it is mapped would end the process.
            .memory_map(MmapChoice::never())
            .build()
    }
}
