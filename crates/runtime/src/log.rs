//! What an instance says beside its protocol: the last lines of it, for as long as it runs and until it is forgotten.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::limits::{LOG_BYTES_MAX, LOG_CHUNK_BYTES, LOG_LINE_BYTES_MAX, LOG_REST};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How many lines came before it.
    pub number: u64,
    /// When it came, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// What it says, as it came; whoever shows it to a person takes care of control characters. What is longer than 8 KiB
    /// is cut.
    pub text: String,
}

/// The last lines of one instance. Cheap to clone; all clones are one log.
#[derive(Clone, Debug)]
pub struct Log(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kept: Mutex<Kept>,
    /// How many lines there have been, and whether more can come.
    state: watch::Sender<(u64, bool)>,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Line>,
    bytes: usize,
    count: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self(Arc::new(Shared { kept: Mutex::default(), state: watch::Sender::new((0, false)) }))
    }
}

impl Log {
    /// The last so many lines.
    pub fn tail(&self, count: usize) -> Vec<Line> {
        let kept = self.kept();
        kept.lines.iter().skip(kept.lines.len().saturating_sub(count)).cloned().collect()
    }

    /// The lines from this number on that are still there. Waits until there is one; none if the log is over before.
    pub async fn from(&self, number: u64) -> Vec<Line> {
        let mut state = self.0.state.subscribe();
        // The sender is ours, and lives.
        drop(state.wait_for(|(count, is_over)| *count > number || *is_over).await);
        self.kept().lines.iter().filter(|line| line.number >= number).cloned().collect()
    }

    /// How many lines there have been.
    pub(crate) fn count(&self) -> u64 {
        self.kept().count
    }

    /// Waits for the end of who says these lines. Its last ones are heard, but who holds its streams beyond its end isn't waited
    /// for.
    pub(crate) async fn until<T>(finished: impl Future<Output = T>, filling: impl Future<Output = ()>) -> T {
        let (mut filling, mut finished) = (pin!(filling), pin!(finished));
        let mut is_heard = false;
        let finished = loop {
            tokio::select! {
                finished = &mut finished => break finished,
                () = &mut filling, if !is_heard => is_heard = true,
            }
        };
        if !is_heard {
            drop(timeout(LOG_REST, filling).await);
        }
        finished
    }

    /// No more lines come.
    pub fn close(&self) {
        self.0.state.send_modify(|(_, is_over)| *is_over = true);
    }

    /// Adds a line.
    pub fn push(&self, line: &[u8]) {
        let mut text = String::from_utf8_lossy(&line[..line.len().min(LOG_LINE_BYTES_MAX)]).into_owned();
        text.truncate(text.floor_char_boundary(LOG_LINE_BYTES_MAX));
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let mut kept = self.kept();
        let number = kept.count;
        kept.count += 1;
        kept.bytes += cost(&text);
        kept.lines.push_back(Line { number, at_unix_ms, text });
        while kept.bytes > LOG_BYTES_MAX
            && let Some(oldest) = kept.lines.pop_front()
        {
            kept.bytes -= cost(&oldest.text);
        }
        drop(kept);
        self.0.state.send_modify(|(count, _)| *count = number + 1);
    }

    /// Adds all lines of a stream, until it ends. Never waits for whoever reads the log.
    pub async fn fill<R: AsyncRead + Unpin>(&self, mut stream: R) {
        let (mut chunk, mut line, mut is_cut) = (vec![0; LOG_CHUNK_BYTES], Vec::new(), false);
        while let Ok(count) = stream.read(&mut chunk).await {
            if count == 0 {
                break;
            }
            for piece in chunk[..count].split_inclusive(|byte| *byte == b'\n') {
                let text = piece.strip_suffix(b"\n").unwrap_or(piece);
                let room = LOG_LINE_BYTES_MAX.saturating_sub(line.len());
                is_cut |= text.len() > room;
                line.extend_from_slice(&text[..text.len().min(room)]);
                if piece.ends_with(b"\n") {
                    self.push(line.strip_suffix(b"\r").filter(|_| !is_cut).unwrap_or(&line));
                    line.clear();
                    is_cut = false;
                }
            }
        }
        if !line.is_empty() {
            self.push(&line);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a line takes of memory, an empty one as well.
fn cost(text: &str) -> usize {
    text.len() + size_of::<Line>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[tokio::test]
    async fn lines_are_kept_in_order_whatever_ends_them() {
        let log = Log::default();
        log.fill(&b"one\r\ntwo\n\nth\xffree"[..]).await;
        assert_eq!(texts(&log.tail(10)), ["one", "two", "", "th\u{fffd}ree"]);
        assert_eq!(texts(&log.tail(1)), ["th\u{fffd}ree"]);
        assert_eq!(log.tail(10).iter().map(|line| line.number).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[tokio::test]
    async fn a_flood_is_kept_within_bounds_and_the_newest_of_it() {
        let log = Log::default();
        let endless = vec![b'x'; 10 * LOG_LINE_BYTES_MAX];
        log.fill(&endless[..]).await;
        assert_eq!(log.tail(10)[0].text.len(), LOG_LINE_BYTES_MAX);
        for n in 0..200_000 {
            log.push(format!("line {n}").as_bytes());
        }
        let kept = log.tail(usize::MAX);
        let bytes: usize = kept.iter().map(|line| cost(&line.text)).sum();
        assert!(bytes <= LOG_BYTES_MAX && bytes > LOG_BYTES_MAX / 2, "{bytes}");
        assert_eq!(
            (kept.last().unwrap().text.as_str(), kept.last().unwrap().number),
            ("line 199999", 200_000)
        );
    }

    #[tokio::test]
    async fn empty_lines_and_broken_ones_are_bounded_as_well() {
        let log = Log::default();
        log.fill(&vec![b'\n'; 100_000][..]).await;
        assert!(log.tail(usize::MAX).len() <= LOG_BYTES_MAX / size_of::<Line>());
        log.push(&vec![0xff; LOG_LINE_BYTES_MAX]);
        assert!(log.tail(1)[0].text.len() <= LOG_LINE_BYTES_MAX);
    }

    #[tokio::test]
    async fn who_follows_a_log_that_is_over_hears_so() {
        let log = Log::default();
        log.push(b"last");
        let following = tokio::spawn({
            let log = log.clone();
            async move { log.from(1).await }
        });
        tokio::task::yield_now().await;
        log.close();
        assert_eq!(following.await.unwrap(), []);
        assert_eq!(texts(&log.from(0).await), ["last"]);
    }

    #[tokio::test]
    async fn who_follows_hears_each_line_once() {
        let log = Log::default();
        log.push(b"a");
        assert_eq!(texts(&log.from(0).await), ["a"]);
        let following = tokio::spawn({
            let log = log.clone();
            async move { log.from(1).await }
        });
        tokio::task::yield_now().await;
        log.push(b"b");
        log.push(b"c");
        let heard = following.await.unwrap();
        assert_eq!(heard.first().map(|line| (line.number, line.text.as_str())), Some((1, "b")));
        assert_eq!(texts(&log.from(2).await), ["c"]);
    }
}
