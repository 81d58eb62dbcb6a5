//! Framing on standard input and output: one message a line.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::cut::{Cut, EDGE_BYTES};
use crate::envelope::Frame;

/// What stands on the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// One line, without its line break and never empty.
    Message(Bytes),
    /// A line longer than the limit; it was skipped as a whole, but for its ends.
    TooLong(Cut),
}

/// Bytes that are read at once.
const READ_BYTES: usize = 8 * 1024;

/// The same while there is more than that.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Reads lines, bounded.
#[derive(Debug)]
pub struct LineReader<R> {
    input: R,
    buffer: BytesMut,
    /// Bytes of `buffer` that are known to hold no line break.
    searched: usize,
    line_bytes_max: usize,
    /// Whether the last read took as much as it could.
    has_more: bool,
    /// The beginning of the line that is being skipped, whose last bytes are in `buffer`.
    skipped: Option<Bytes>,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    /// A reader whose lines have at most this many bytes.
    pub fn new(input: R, line_bytes_max: usize) -> Self {
        Self {
            input,
            buffer: BytesMut::with_capacity(READ_BYTES),
            has_more: false,
            searched: 0,
            line_bytes_max,
            skipped: None,
        }
    }

    /// The next line that isn't empty; none at the end of the input. A last line without a line break
    /// counts. Cancellation-safe: what was read stays in the buffer.
    ///
    /// # Errors
    /// What reading the input fails with.
    pub async fn next(&mut self) -> std::io::Result<Option<Line>> {
        loop {
            if let Some(line) = self.take_line() {
                return Ok(Some(line));
            }
            // Whoever says much is read in larger pieces.
            self.buffer.reserve(if self.has_more { READ_BYTES_MAX } else { READ_BYTES });
            let room = self.buffer.capacity() - self.buffer.len();
            let count = self.input.read_buf(&mut self.buffer).await?;
            if count == 0 {
                return Ok(self.take_rest());
            }
            self.has_more = count == room;
        }
    }

    fn take_line(&mut self) -> Option<Line> {
        while let Some(offset) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
            let mut line = self.buffer.split_to(self.searched + offset + 1);
            line.truncate(line.len() - 1);
            let line = self.end_line(&line.freeze());
            if line.is_some() {
                return line;
            }
        }
        self.searched = self.buffer.len();
        // One byte more may be the carriage return of a line that fits.
        if self.searched > self.line_bytes_max.max(EDGE_BYTES) + 1 {
            self.skipped.get_or_insert_with(|| Cut::beginning(&self.buffer).head);
            // So is the last byte.
            bytes::Buf::advance(&mut self.buffer, self.searched - EDGE_BYTES - 1);
            self.searched = self.buffer.len();
        }
        None
    }

    fn take_rest(&mut self) -> Option<Line> {
        let rest = std::mem::take(&mut self.buffer).freeze();
        self.end_line(&rest)
    }

    /// What the bytes before a line feed, or before the end of the input, are. The limit is judged
    /// here, so that it doesn't matter in which pieces they came.
    fn end_line(&mut self, line: &Bytes) -> Option<Line> {
        self.searched = 0;
        let content = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(head) = self.skipped.take() {
            return Some(Line::TooLong(Cut { head, ..Cut::of(content) }));
        }
        if content.len() > self.line_bytes_max {
            return Some(Line::TooLong(Cut::of(content)));
        }
        let text = line.slice_ref(line.trim_ascii());
        (!text.is_empty()).then_some(Line::Message(text))
    }
}

/// Writes one message as one line, and flushes.
///
/// # Errors
/// What writing the output fails with.
pub async fn write_line<W: AsyncWrite + Unpin>(output: &mut W, frame: Frame) -> std::io::Result<()> {
    write_lines(output, std::iter::once(frame)).await
}

/// Writes messages, each as one line, and flushes.
///
/// # Errors
/// What writing the output fails with.
pub async fn write_lines<W: AsyncWrite + Unpin>(
    output: &mut W,
    frames: impl Iterator<Item = Frame>,
) -> std::io::Result<()> {
    let mut lines = Vec::new();
    for frame in frames {
        lines.reserve(frame.byte_len() + 1);
        for piece in &frame.pieces {
            lines.extend(piece.iter().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { *b }));
        }
        lines.push(b'\n');
    }
    output.write_all(&lines).await?;
    output.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(input: &[u8], max: usize) -> Vec<Line> {
        let mut reader = LineReader::new(input, max);
        let mut lines = Vec::new();
        while let Some(line) = reader.next().await.unwrap() {
            lines.push(line);
        }
        lines
    }

    fn message(text: &'static str) -> Line {
        Line::Message(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn lines_are_messages_whatever_ends_them() {
        let got = lines(b"{}\n\r\n {\"a\":1}\r\n[]", 100).await;
        assert_eq!(got, [message("{}"), message("{\"a\":1}"), message("[]")]);
    }

    #[tokio::test]
    async fn an_endless_line_is_skipped_in_bounded_memory_and_the_next_one_is_read() {
        let mut input = vec![b'x'; 1_000_000];
        input.extend_from_slice(b"\n{}\n");
        let mut reader = LineReader::new(&input[..], 1000);
        assert_eq!(reader.next().await.unwrap(), Some(Line::TooLong(Cut::of(&input[..1_000_000]))));
        assert!(reader.buffer.capacity() < 4 * READ_BYTES_MAX, "{}", reader.buffer.capacity());
        assert_eq!(reader.next().await.unwrap(), Some(message("{}")));
        assert_eq!(reader.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn the_limit_is_that_of_the_line_in_whatever_pieces_it_comes() {
        for (input, expect) in [
            (&b"1234\n"[..], message("1234")),
            (b"1234\r\n", message("1234")),
            (b"1234\r", message("1234")),
            (b"12345\n", Line::TooLong(Cut::of(b"12345"))),
            (b"12345\r\n", Line::TooLong(Cut::of(b"12345"))),
            (b"12345", Line::TooLong(Cut::of(b"12345"))),
        ] {
            assert_eq!(lines(input, 4).await, std::slice::from_ref(&expect), "{input:?}");
            for at in 0..input.len() {
                let (first, second) = input.split_at(at);
                let mut reader = LineReader::new(first.chain(second), 4);
                assert_eq!(reader.next().await.unwrap(), Some(expect.clone()), "{input:?} cut at {at}");
            }
        }
    }

    #[tokio::test]
    async fn a_frame_is_one_line() {
        let mut output = Vec::new();
        let frame = Frame { pieces: vec![Bytes::from_static(b"{\n}")] };
        write_line(&mut output, frame).await.unwrap();
        assert_eq!(output, b"{ }\n");
    }
}
