//! One input in pieces, as a network or a pipe would cut it.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// Ways to cut `input`: whole, byte by byte, and into pieces of uneven sizes that only depend on the
/// input.
pub(crate) fn cuts(input: &[u8]) -> [Vec<&[u8]>; 3] {
    let seed = input.iter().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3)
    });
    [vec![input], input.chunks(1).collect(), uneven(input, seed)]
}

/// Pieces of a few bytes, or of some more.
fn uneven(input: &[u8], seed: u64) -> Vec<&[u8]> {
    let mut state = seed | 1;
    let most = if seed.is_multiple_of(2) { 4 } else { 40 };
    let mut rest = input;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let size = usize::try_from(state % most + 1).unwrap_or(1).min(rest.len());
        let (piece, behind) = rest.split_at(size);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// Pieces as an input that is to be waited for before each of them.
pub(crate) struct Arriving<'a> {
    pieces: std::vec::IntoIter<&'a [u8]>,
    /// What of the piece at hand wasn't read yet.
    rest: &'a [u8],
    is_awaited: bool,
}

impl<'a> Arriving<'a> {
    pub(crate) fn new(pieces: Vec<&'a [u8]>) -> Self {
        Self { pieces: pieces.into_iter(), rest: &[], is_awaited: false }
    }
}

impl AsyncRead for Arriving<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.rest.is_empty() {
            self.is_awaited = !self.is_awaited;
            if self.is_awaited {
                return Poll::Pending;
            }
            self.rest = self.pieces.next().unwrap_or_default();
        }
        let (now, later) = self.rest.split_at(self.rest.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.rest = later;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_is_the_input() {
        for input in [&b""[..], b"a", b"0123456789abcdef0123456789abcdef0123456789abcdef"] {
            for pieces in cuts(input) {
                assert_eq!(pieces.concat(), input);
            }
        }
    }
}
