//! Lines of output: how many may come, and how those of many files become one text.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much output there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) lines: usize,
    pub(super) bytes: usize,
    /// Bytes of one line.
    pub(super) line_bytes: usize,
}

/// What all threads of a search have put out together.
pub(super) struct Budget {
    limit: Limit,
    lines: AtomicUsize,
    bytes: AtomicUsize,
}

impl Budget {
    pub(super) fn new(limit: Limit) -> Self {
        Self { limit, lines: AtomicUsize::new(0), bytes: AtomicUsize::new(0) }
    }

    /// Spends one line; says whether there was room for it.
    pub(super) fn spend(&self, bytes: usize) -> bool {
        let lines = self.lines.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        lines <= self.limit.lines && bytes <= self.limit.bytes
    }

    /// Whether more came than there was room for.
    pub(super) fn is_overspent(&self) -> bool {
        self.lines.load(Ordering::Relaxed) > self.limit.lines
            || self.bytes.load(Ordering::Relaxed) > self.limit.bytes
    }

    pub(super) fn line_bytes_max(&self) -> usize {
        self.limit.line_bytes
    }
}

/// The lines of one file, joined by line feeds.
pub(super) struct FileLines {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// The lines of all files.
pub(super) struct Lines {
    pub(super) files: Vec<FileLines>,
    pub(super) limit: Limit,
    /// Whether files are set apart by `--`, as groups of lines with context are.
    pub(super) is_grouped: bool,
    /// Whether the search ended early.
    pub(super) is_cut_short: bool,
}

impl Lines {
    /// One text, ordered by path, and the number of its lines.
    pub(super) fn join(mut self) -> (String, usize) {
        self.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let separator = if self.is_grouped { Some("--") } else { None };
        let mut lines = Vec::new();
        for (index, file) in self.files.iter().enumerate() {
            lines.extend(separator.filter(|_| index > 0));
            lines.extend(file.text.split('\n'));
        }
        let is_truncated = self.is_cut_short || lines.len() > self.limit.lines;
        lines.truncate(self.limit.lines);
        let mut text = lines.join("\n");
        if is_truncated {
            text.push_str("\n[TRUNCATED: more matches not shown]");
        }
        (text, lines.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(texts: &[(&str, &str)], lines: usize, is_grouped: bool) -> (String, usize) {
        let files =
            texts.iter().map(|(path, text)| FileLines { path: path.into(), text: (*text).to_owned() });
        let limit = Limit { lines, bytes: 1000, line_bytes: 100 };
        Lines { files: files.collect(), limit, is_grouped, is_cut_short: false }.join()
    }

    #[test]
    fn files_are_ordered_by_path_and_set_apart_when_grouped() {
        let files = [("/b", "/b:1:x\n/b:2:y"), ("/a", "/a:1:x")];
        assert_eq!(join(&files, 9, false), ("/a:1:x\n/b:1:x\n/b:2:y".into(), 3));
        assert_eq!(join(&files, 9, true), ("/a:1:x\n--\n/b:1:x\n/b:2:y".into(), 4));
        assert_eq!(join(&[], 9, true), (String::new(), 0));
    }

    #[test]
    fn what_has_no_room_is_left_out_and_said() {
        let files = [("/a", "1\n2"), ("/b", "3")];
        assert_eq!(join(&files, 3, false), ("1\n2\n3".into(), 3));
        assert_eq!(join(&files, 2, false), ("1\n2\n[TRUNCATED: more matches not shown]".into(), 2));
    }

    #[test]
    fn a_budget_ends_with_lines_or_bytes() {
        let budget = Budget::new(Limit { lines: 2, bytes: 100, line_bytes: 9 });
        assert!(budget.spend(1) && budget.spend(1) && !budget.is_overspent());
        assert!(!budget.spend(1) && budget.is_overspent());
        let budget = Budget::new(Limit { lines: 2, bytes: 100, line_bytes: 9 });
        assert!(!budget.spend(101) && budget.is_overspent());
    }
}
