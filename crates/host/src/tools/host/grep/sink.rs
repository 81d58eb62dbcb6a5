//! What one file puts out, line by line, in ripgrep's format.

use std::fmt::Write;
use std::io;
use std::path::Path;

use grep_searcher::{Searcher, Sink, SinkContext, SinkFinish, SinkMatch};

use super::OutputMode;
use super::lines::Budget;

/// Collects the lines of one file.
pub(super) struct FileSink<'a> {
    mode: OutputMode,
    budget: &'a Budget,
    path: &'a Path,
    /// Only one file is searched: lines don't say which.
    is_alone: bool,
    text: String,
    matches: u64,
    binary_at: Option<u64>,
}

impl<'a> FileSink<'a> {
    pub(super) fn new(mode: OutputMode, budget: &'a Budget, path: &'a Path, is_alone: bool) -> Self {
        Self { mode, budget, path, is_alone, text: String::new(), matches: 0, binary_at: None }
    }

    /// The lines, if there are any.
    pub(super) fn into_text(self) -> Option<String> {
        (!self.text.is_empty()).then_some(self.text)
    }

    /// Adds a line if there is room; says whether more may come.
    fn put(&mut self, line: std::fmt::Arguments<'_>) -> bool {
        let start = self.text.len();
        if start > 0 {
            self.text.push('\n');
        }
        self.text.write_fmt(line).expect("a string takes everything");
        let has_room = self.budget.spend(self.text.len() - start);
        if !has_room {
            self.text.truncate(start);
        }
        has_room
    }

    /// Adds `path:12:text` or, with a dash, `path-12-text`.
    fn put_line(&mut self, mark: char, number: Option<u64>, line: &[u8]) -> bool {
        let line = without_end(line);
        let kept = &line[..line.len().min(self.budget.line_bytes_max())];
        let cut = if kept.len() < line.len() { " [LINE TRUNCATED]" } else { "" };
        let (text, number) = (String::from_utf8_lossy(kept), number.unwrap_or(0));
        if self.is_alone {
            return self.put(format_args!("{number}{mark}{text}{cut}"));
        }
        let path = self.path.display();
        self.put(format_args!("{path}{mark}{number}{mark}{text}{cut}"))
    }

    fn put_count(&mut self) {
        let (path, matches) = (self.path.display(), self.matches);
        if self.is_alone {
            self.put(format_args!("{matches}"));
        } else {
            self.put(format_args!("{path}:{matches}"));
        }
    }

    /// Says that a file with matches is binary, and where that showed.
    fn put_binary(&mut self, at: u64, is_left: bool) {
        let path = self.path.display();
        let what = if is_left {
            "WARNING: stopped searching binary file after match"
        } else {
            "binary file matches"
        };
        if self.is_alone {
            self.put(format_args!("{what} (found \"\\0\" byte around offset {at})"));
        } else {
            self.put(format_args!("{path}: {what} (found \"\\0\" byte around offset {at})"));
        }
    }
}

impl Sink for FileSink<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> io::Result<bool> {
        self.matches += 1;
        Ok(match self.mode {
            OutputMode::Count => true,
            OutputMode::Files => {
                let path = self.path.display();
                self.put(format_args!("{path}"));
                false
            }
            // The text of a binary file is no text: that there is a match has to do.
            OutputMode::Content if self.binary_at.is_some() => false,
            OutputMode::Content => self.put_line(':', found.line_number(), found.bytes()),
        })
    }

    fn context(&mut self, _: &Searcher, context: &SinkContext<'_>) -> io::Result<bool> {
        Ok(self.binary_at.is_none() && self.put_line('-', context.line_number(), context.bytes()))
    }

    fn context_break(&mut self, _: &Searcher) -> io::Result<bool> {
        Ok(self.put(format_args!("--")))
    }

    fn binary_data(&mut self, _: &Searcher, offset: u64) -> io::Result<bool> {
        self.binary_at = Some(offset);
        Ok(true)
    }

    fn finish(&mut self, searcher: &Searcher, end: &SinkFinish) -> io::Result<()> {
        let is_left = searcher.binary_detection().quit_byte().is_some();
        match (self.mode, end.binary_byte_offset()) {
            _ if self.matches == 0 => {}
            (OutputMode::Content, Some(at)) => self.put_binary(at, is_left),
            (OutputMode::Count, at) if at.is_none() || !is_left => self.put_count(),
            _ => {}
        }
        Ok(())
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
