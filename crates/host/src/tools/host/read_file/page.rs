//! A page of numbered lines out of a stream of chunks: pure.
//!
//! Lines end at a line feed; carriage returns before it go too. What is before and behind the page is
//! only counted.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};

/// Which lines make the page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// The number of the first one, from 1.
    pub(super) first: u64,
    /// How many at most.
    pub(super) lines: u64,
    /// Bytes of a line that are shown.
    pub(super) line_bytes_max: usize,
    /// Bytes that the page may have.
    pub(super) page_bytes_max: usize,
}

/// A page in the making.
pub(super) struct Page {
    window: Window,
    content: String,
    /// Line feeds seen.
    ended: u64,
    /// Whether there is anything behind the last line feed.
    has_rest: bool,
    /// Lines on the page.
    shown: u64,
    is_full: bool,
    /// The start of a line of the page whose end is in a later chunk.
    partial: Vec<u8>,
    /// Whether more than carriage returns of that line had no room.
    is_overlong: bool,
}

/// A finished page.
pub(super) struct Finished {
    pub(super) content: String,
    pub(super) total_lines: u64,
    /// The number of the line that would come next.
    pub(super) next: u64,
    /// Whether the page ended because of its bytes.
    pub(super) is_full: bool,
}

impl Page {
    /// An empty page that will probably have about so many bytes.
    pub(super) fn new(window: Window, bytes: usize) -> Self {
        Self {
            window,
            content: String::with_capacity(bytes),
            ended: 0,
            has_rest: false,
            shown: 0,
            is_full: false,
            partial: Vec::new(),
            is_overlong: false,
        }
    }

    /// Whether only counting is left.
    pub(super) fn is_complete(&self) -> bool {
        self.is_full || self.shown >= self.window.lines
    }

    /// Takes the next bytes of the file; at least one.
    pub(super) fn take(&mut self, chunk: &[u8]) {
        let mut rest = self.skip_to_first(chunk);
        while !rest.is_empty() && !self.is_complete() {
            let Some(end) = memchr(b'\n', rest) else {
                self.keep(rest);
                break;
            };
            self.end_line(&rest[..end]);
            rest = &rest[end + 1..];
        }
        if self.is_complete() {
            self.ended += memchr_iter(b'\n', rest).count() as u64;
        }
        self.has_rest = chunk.last().is_some_and(|byte| *byte != b'\n');
    }

    pub(super) fn finish(mut self) -> Finished {
        let total_lines = self.ended + u64::from(self.has_rest);
        if self.has_rest && !self.is_complete() && total_lines >= self.window.first {
            self.show(&[]);
        }
        Finished {
            content: self.content,
            total_lines,
            next: self.window.first.saturating_add(if self.is_full { self.shown } else { self.window.lines }),
            is_full: self.is_full,
        }
    }

    /// What of a chunk is behind the lines before the page.
    fn skip_to_first<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        let before = self.window.first - 1;
        if self.ended >= before {
            return chunk;
        }
        let missing = before - self.ended;
        let index = usize::try_from(missing - 1).unwrap_or(usize::MAX);
        if let Some(end) = memchr_iter(b'\n', chunk).nth(index) {
            self.ended = before;
            &chunk[end + 1..]
        } else {
            self.ended += memchr_iter(b'\n', chunk).count() as u64;
            &[]
        }
    }

    fn end_line(&mut self, end: &[u8]) {
        self.show(end);
        self.ended += 1;
    }

    fn keep(&mut self, part: &[u8]) {
        let room = self.window.line_bytes_max - self.partial.len();
        let (kept, dropped) = part.split_at(part.len().min(room));
        self.partial.extend_from_slice(kept);
        self.is_overlong |= has_more_than_returns(dropped);
    }

    /// Puts the line that ends with `end` on the page, unless the page is full.
    fn show(&mut self, end: &[u8]) {
        let is_whole =
            self.partial.is_empty() && !self.is_overlong && end.len() <= self.window.line_bytes_max;
        if is_whole {
            self.put(end, "");
            return;
        }
        self.keep(end);
        let mark = if self.is_overlong { " [LINE TRUNCATED]" } else { "" };
        let line = std::mem::take(&mut self.partial);
        self.put(&line, mark);
        self.partial = line;
        self.partial.clear();
        self.is_overlong = false;
    }

    fn put(&mut self, line: &[u8], mark: &str) {
        let line = if mark.is_empty() { without_returns(line) } else { line };
        // Most text is valid, and that is found out faster than it is mended.
        let text = str::from_utf8(line).map_or_else(|_| String::from_utf8_lossy(line), Cow::Borrowed);
        if self.shown > 0 && self.content.len() + text.len() > self.window.page_bytes_max {
            self.is_full = true;
            return;
        }
        if self.shown > 0 {
            self.content.push('\n');
        }
        push_number(self.window.first + self.shown, &mut self.content);
        self.content.push('\t');
        self.content.push_str(&text);
        self.content.push_str(mark);
        self.shown += 1;
    }
}

/// Adds a number, four characters wide at least. By hand, because the general way of formatting costs
/// more than all else that is done for a line.
fn push_number(mut number: u64, out: &mut String) {
    let mut digits = [b' '; 20];
    let mut at = digits.len();
    while number > 0 {
        at -= 1;
        digits[at] = b"0123456789"[(number % 10) as usize];
        number /= 10;
    }
    let start = at.min(digits.len() - 4);
    out.push_str(str::from_utf8(&digits[start..]).expect("digits are ASCII"));
}

fn without_returns(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
    &line[..end]
}

fn has_more_than_returns(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| *byte != b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { first: 1, lines: 100, line_bytes_max: 8, page_bytes_max: 1000 };

    fn page(window: Window, file: &[u8], chunk_bytes: usize) -> (String, u64, u64, bool) {
        let mut page = Page::new(window, 0);
        for chunk in file.chunks(chunk_bytes) {
            page.take(chunk);
        }
        let page = page.finish();
        (page.content, page.total_lines, page.next, page.is_full)
    }

    fn check(window: Window, file: &[u8], content: &str, total_lines: u64) {
        for chunk_bytes in [1, 2, 3, 7, 1000] {
            let got = page(window, file, chunk_bytes);
            assert_eq!((&*got.0, got.1), (content, total_lines), "{file:?} in {chunk_bytes}s");
        }
    }

    #[test]
    fn lines_are_numbered_and_counted() {
        check(WINDOW, b"a\nb\n", "   1\ta\n   2\tb", 2);
        check(WINDOW, b"a\n\nb", "   1\ta\n   2\t\n   3\tb", 3);
        check(WINDOW, b"", "", 0);
        check(WINDOW, b"\n", "   1\t", 1);
        check(WINDOW, b"a\r\nb\r\r\nc\rd\n", "   1\ta\n   2\tb\n   3\tc\rd", 3);
    }

    #[test]
    fn a_window_shows_its_lines_and_counts_the_others() {
        let file = b"1\n2\n3\n4\n5";
        check(Window { first: 2, lines: 2, ..WINDOW }, file, "   2\t2\n   3\t3", 5);
        check(Window { first: 5, lines: 9, ..WINDOW }, file, "   5\t5", 5);
        check(Window { first: 6, ..WINDOW }, file, "", 5);
        check(Window { first: u64::MAX, ..WINDOW }, file, "", 5);
        check(Window { lines: 1, ..WINDOW }, file, "   1\t1", 5);
    }

    #[test]
    fn long_lines_are_cut_and_broken_text_is_shown() {
        check(WINDOW, b"12345678\n", "   1\t12345678", 1);
        check(WINDOW, b"12345678\r\n", "   1\t12345678", 1);
        check(WINDOW, b"123456789\nx", "   1\t12345678 [LINE TRUNCATED]\n   2\tx", 2);
        check(WINDOW, b"a\xff\0b\n", "   1\ta\u{fffd}\0b", 1);
    }

    #[test]
    fn numbers_are_four_wide_and_grow() {
        for (number, expect) in
            [(7, "   7"), (1234, "1234"), (12345, "12345"), (u64::MAX, "18446744073709551615")]
        {
            let mut out = String::new();
            push_number(number, &mut out);
            assert_eq!(out, expect);
        }
    }

    #[test]
    fn a_full_page_says_where_to_go_on() {
        let window = Window { page_bytes_max: 13, ..WINDOW };
        for chunk_bytes in [1, 3, 100] {
            let got = page(window, b"aa\nbb\ncc\n", chunk_bytes);
            assert_eq!(got, ("   1\taa\n".to_owned() + "   2\tbb", 3, 3, true));
        }
    }
}
