//! Where the body of an answer ends (RFC 9112, 6 and 7).

use bytes::{Buf as _, Bytes, BytesMut};

use super::PlainError;

/// Bytes of the line before a chunk.
const SIZE_BYTES_MAX: usize = 1024;
/// Bytes of all lines behind the last one.
const TRAILER_BYTES_MAX: usize = 16 * 1024;

/// What is still to come of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunks, each of which says how long it is.
    Chunked(Chunk),
    /// What comes until the connection is closed.
    UntilClosed,
}

/// What is next of a body in chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// The line that says how long one is.
    Size,
    /// So many bytes of one.
    Data(u64),
    /// The end of its last line.
    DataEnd,
    /// Lines behind the last one, of which so many bytes came.
    Trailer(usize),
    /// Nothing.
    Over,
}

/// What there is of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// These bytes.
    Data(Bytes),
    /// Nothing until more comes.
    More,
    /// Nothing any more.
    End,
}

impl Framing {
    /// Whether nothing more is to come, as far as that is known.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::Over))
    }

    /// How much is known to come, at least.
    pub(super) fn expects(&self) -> u64 {
        match self {
            Self::Length(left) | Self::Chunked(Chunk::Data(left)) => *left,
            Self::Chunked(_) | Self::UntilClosed => 0,
        }
    }

    /// The next piece, taken from what came.
    ///
    /// # Errors
    /// If what came are no chunks.
    pub(super) fn take(&mut self, came: &mut BytesMut) -> Result<Piece, PlainError> {
        match self {
            Self::Length(0) => Ok(Piece::End),
            _ if came.is_empty() && !self.is_over() => Ok(Piece::More),
            Self::Length(left) => Ok(Piece::Data(up_to(left, came))),
            Self::UntilClosed => Ok(Piece::Data(came.split().freeze())),
            Self::Chunked(chunk) => chunk.take(came),
        }
    }

    /// The connection was closed: that is the end of a body, or the body is cut off.
    pub(super) fn closed(&self) -> Result<(), PlainError> {
        match self {
            Self::UntilClosed => Ok(()),
            Self::Length(_) | Self::Chunked(_) => Err(PlainError::cut_off()),
        }
    }
}

impl Chunk {
    fn take(&mut self, came: &mut BytesMut) -> Result<Piece, PlainError> {
        loop {
            match self {
                Self::Size => {
                    let Some(size) = size(came)? else { return Ok(Piece::More) };
                    *self = if size == 0 { Self::Trailer(0) } else { Self::Data(size) };
                }
                Self::Data(_) if came.is_empty() => return Ok(Piece::More),
                Self::Data(left) => {
                    let data = up_to(left, came);
                    if *left == 0 {
                        *self = Self::DataEnd;
                    }
                    return Ok(Piece::Data(data));
                }
                Self::DataEnd => match came.as_ref() {
                    [b'\r', b'\n', ..] => {
                        came.advance(2);
                        *self = Self::Size;
                    }
                    [] | [b'\r'] => return Ok(Piece::More),
                    _ => return Err(PlainError::NoHttp("a chunk of its body is longer than it says")),
                },
                Self::Trailer(so_far) => {
                    let Some(length) = line(came, *so_far)? else { return Ok(Piece::More) };
                    *self = if matches!(&came[..length], b"\n" | b"\r\n") {
                        Self::Over
                    } else {
                        Self::Trailer(*so_far + length)
                    };
                    came.advance(length);
                }
                Self::Over => return Ok(Piece::End),
            }
        }
    }
}

/// How long the next chunk is, taken from what came; none while its line isn't whole.
fn size(came: &mut BytesMut) -> Result<Option<u64>, PlainError> {
    let unreadable = PlainError::NoHttp("the length of a chunk can't be read");
    // What has no digit is no number, and least of all the end.
    if came.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) {
        return Err(unreadable);
    }
    match httparse::parse_chunk_size(came) {
        Ok(httparse::Status::Complete((length, size))) => {
            came.advance(length);
            Ok(Some(size))
        }
        Ok(httparse::Status::Partial) if came.len() <= SIZE_BYTES_MAX => Ok(None),
        Ok(httparse::Status::Partial) | Err(_) => Err(unreadable),
    }
}

/// How long the next line behind the last chunk is, if so many bytes of them came before; none while it isn't whole.
fn line(came: &[u8], so_far: usize) -> Result<Option<usize>, PlainError> {
    let line = memchr::memchr(b'\n', came).map(|end| end + 1);
    if so_far + line.unwrap_or(came.len()) > TRAILER_BYTES_MAX {
        return Err(PlainError::NoHttp("too much comes behind its body"));
    }
    Ok(line)
}

/// What came of so many bytes, which become fewer.
fn up_to(left: &mut u64, came: &mut BytesMut) -> Bytes {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(came.len());
    *left -= length as u64;
    came.split_to(length).freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole body, if it comes in pieces of so many bytes; and what was left.
    fn read(mut framing: Framing, text: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<u8>), PlainError> {
        let (mut came, mut body) = (BytesMut::new(), Vec::new());
        let mut pieces = text.chunks(piece);
        loop {
            match framing.take(&mut came)? {
                Piece::Data(data) => body.extend_from_slice(&data),
                Piece::End => break,
                Piece::More => {
                    let Some(piece) = pieces.next() else {
                        framing.closed()?;
                        break;
                    };
                    came.extend_from_slice(piece);
                }
            }
        }
        Ok((body, [&came[..], &pieces.collect::<Vec<_>>().concat()].concat()))
    }

    #[test]
    fn a_body_is_the_same_in_whatever_pieces_it_comes() {
        let chunks = b"5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\nx-sum: 1\r\n\r\nnext";
        for piece in 1..=chunks.len() {
            let (body, left) = read(Framing::Chunked(Chunk::Size), chunks, piece).unwrap();
            assert_eq!((&body[..], &left[..]), (&b"hello, world"[..], &b"next"[..]), "{piece}");
            let (body, left) = read(Framing::Length(5), b"hellonext", piece).unwrap();
            assert_eq!((&body[..], &left[..]), (&b"hello"[..], &b"next"[..]), "{piece}");
            let (body, left) = read(Framing::UntilClosed, b"hello", piece).unwrap();
            assert_eq!((&body[..], &left[..]), (&b"hello"[..], &b""[..]), "{piece}");
        }
        assert_eq!(read(Framing::Length(0), b"next", 4).unwrap(), (Vec::new(), b"next".to_vec()));
    }

    #[test]
    fn a_body_that_is_cut_off_is_no_body() {
        let chunks = b"5\r\nhello\r\n0\r\n\r\n";
        for length in 0..chunks.len() {
            let read = read(Framing::Chunked(Chunk::Size), &chunks[..length], 64);
            assert!(matches!(read, Err(PlainError::Broken(_))), "{length}");
        }
        assert!(matches!(read(Framing::Length(5), b"hell", 4), Err(PlainError::Broken(_))));
    }

    #[test]
    fn what_are_no_chunks_is_refused() {
        let long_line = [&b"5;"[..], &vec![b'x'; SIZE_BYTES_MAX]].concat();
        let long_end = [&b"0\r\n"[..], &b"a: 1\r\n".repeat(TRAILER_BYTES_MAX)].concat();
        for text in [
            &b"hello"[..],
            b"5\r\nhello!\r\n0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"-1\r\n\r\n",
            b"fffffffffffffffff\r\n",
            b"5 5\r\nhello\r\n",
            b"\r\n\r\n",
            b";x\r\n\r\n",
            b"3\r\none\r\n\r\n\r\n",
            &long_line,
            &long_end,
        ] {
            let read = read(Framing::Chunked(Chunk::Size), text, 64);
            assert!(matches!(read, Err(PlainError::NoHttp(_))), "{:?}", text.escape_ascii().to_string());
        }
    }
}
