//! The same load on a process of our own, over its standard input and output: as many requests in flight as there would be
//! connections, each sent as soon as the one before it in its place is answered.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use memchr::memmem;

use super::{Clock, Load, Measured, summarise};
use crate::latency::Seen;
use crate::process::Usage;
use crate::wire::{Target, holds_result};

/// Room for one read.
const READ_BYTES: usize = 256 * 1024;
/// The id of the request in the first place.
const FIRST_ID: u64 = 2;
/// Bytes that may be on their way to a process that doesn't read: what a pipe holds.
const IN_FLIGHT_BYTES_MAX: usize = 64 * 1024;

/// Starts the program, puts the load on it, and ends it.
pub fn run(words: &[String], load: &Load) -> Result<Measured> {
    let mut child = start(words)?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let (input, output) = input.zip(output).context("both ends are pipes")?;
    let mut lines = Lines {
        input,
        output: BufReader::with_capacity(READ_BYTES, output),
        line: Vec::new(),
        requests: requests(load),
        sent: Vec::new(),
    };
    let sent: usize = lines.requests.iter().map(Vec::len).sum();
    ensure!(sent <= IN_FLIGHT_BYTES_MAX, "so many requests fit into no pipe");
    lines.shake_hands(&load.target)?;
    let start = Instant::now() + load.warmup;
    let measured = lines.play(Clock { measure_from: start, end: start + load.duration }, child.id());
    drop(lines);
    child.wait().context("failed to wait for the process")?;
    let (seen, usage) = measured?;
    Ok(summarise(seen, load.duration, usage))
}

#[expect(clippy::disallowed_methods, reason = "the peer of a benchmark starts what is measured")]
fn start(words: &[String]) -> Result<Child> {
    let (program, arguments) = words.split_first().context("there is no program")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().with_context(|| format!("failed to start `{program}`"))
}

/// The request of each place, as a line.
fn requests(load: &Load) -> Vec<Vec<u8>> {
    let request = |place: usize| {
        let id = FIRST_ID + u64::try_from(place).unwrap_or(u64::MAX - FIRST_ID);
        line(load.target.message(&load.ask, id))
    };
    (0..load.connections).map(request).collect()
}

fn line(mut message: String) -> Vec<u8> {
    message.push('\n');
    message.into_bytes()
}

/// A process, and what is asked of it.
struct Lines<R> {
    input: ChildStdin,
    output: BufReader<R>,
    /// The answer that is read.
    line: Vec<u8>,
    requests: Vec<Vec<u8>>,
    /// When the request of each place was sent.
    sent: Vec<Instant>,
}

impl<R: Read> Lines<R> {
    fn shake_hands(&mut self, target: &Target) -> Result<()> {
        self.say(&line(target.hello()))?;
        self.read()?;
        ensure!(holds_result(&self.line), "handshake failed: {}", self.beginning());
        self.say(&line(Target::greeted()))
    }

    /// Asks until the end; what is in flight by then is read and not counted.
    fn play(&mut self, clock: Clock, process: u32) -> Result<(Seen, Option<(Usage, Usage)>)> {
        let (mut seen, mut before) = (Seen::default(), None);
        let mut next: Vec<usize> = (0..self.requests.len()).collect();
        self.sent = vec![Instant::now(); next.len()];
        let mut out = Vec::new();
        loop {
            let now = Instant::now();
            if now >= clock.measure_from && before.is_none() {
                before = Some(Usage::of(process)?);
            }
            if now >= clock.end {
                return Ok((seen, before.zip(Some(Usage::of(process)?))));
            }
            for place in next.drain(..) {
                out.extend_from_slice(&self.requests[place]);
                self.sent[place] = now;
            }
            self.say(&out)?;
            out.clear();
            // What has come together is answered together.
            loop {
                next.push(self.take(clock, &mut seen)?);
                if !self.output.buffer().contains(&b'\n') {
                    break;
                }
            }
        }
    }

    /// Reads one answer and says whose place is free.
    fn take(&mut self, clock: Clock, seen: &mut Seen) -> Result<usize> {
        self.read()?;
        let place = id_of(&self.line).and_then(|id| usize::try_from(id.checked_sub(FIRST_ID)?).ok());
        let place = place.filter(|place| *place < self.sent.len());
        let place = place.with_context(|| format!("nobody asked for this: {}", self.beginning()))?;
        let now = Instant::now();
        if now >= clock.measure_from && now <= clock.end {
            let is_good = holds_result(&self.line);
            let outcome = if is_good { Ok(()) } else { Err(anyhow!("{}", self.beginning())) };
            seen.note(outcome, now - self.sent[place]);
        }
        Ok(place)
    }

    fn say(&mut self, bytes: &[u8]) -> Result<()> {
        self.input.write_all(bytes).context("failed to send")
    }

    fn read(&mut self) -> Result<()> {
        self.line.clear();
        if self.output.read_until(b'\n', &mut self.line).context("failed to read")? == 0 {
            bail!("the process ended");
        }
        Ok(())
    }

    fn beginning(&self) -> String {
        String::from_utf8_lossy(&self.line).chars().take(200).collect()
    }
}

/// The id of an answer, which stands before whatever it holds.
fn id_of(line: &[u8]) -> Option<u64> {
    let from = memmem::find(line, br#""id":"#)? + 5;
    let digits = line[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&line[from..from + digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::Work;
    use crate::wire::Ask;

    fn load(connections: usize) -> Load {
        Load {
            target: Target::parse("http://none/", None).unwrap(),
            ask: Ask::call("echo", r#"{"message":"a"}"#.into()),
            work: Work::Calls,
            answers: None,
            connections,
            warmup: Duration::ZERO,
            duration: Duration::from_millis(20),
            process: None,
        }
    }

    /// A server in a line of shell, which answers every line with what it is given, under the id of the request.
    fn answering(answer: &str) -> Vec<String> {
        let id = r#"id=${line#*\"id\":}; id=${id%%,*}"#;
        let say = format!(r#"case $line in *\"id\"*) {id}; echo "{{\"id\":$id,{answer}}}";; esac"#);
        ["sh", "-c", &format!("while read -r line; do {say}; done")].map(str::to_owned).to_vec()
    }

    #[test]
    fn every_place_is_answered_over_and_over() {
        let measured = run(&answering(r#"\"result\":{}"#), &load(4)).unwrap();
        assert_eq!((measured.errors, measured.first_error), (0, None));
        assert!(measured.requests > 4 && measured.server_rss_kib.unwrap() > 0);
    }

    #[test]
    fn a_process_that_fails_answers_nothing_is_an_error() {
        assert!(run(&answering(r#"\"error\":{}"#), &load(1)).is_err(), "no handshake");
        assert!(run(&["true".to_owned()], &load(1)).is_err(), "it ended");
        assert!(run(&["/no/such/program".to_owned()], &load(1)).is_err());
        assert!(run(&answering(r#"\"result\":{}"#), &load(10_000)).is_err(), "more than a pipe holds");
    }

    #[test]
    fn the_id_is_read_wherever_spaces_are_not() {
        assert_eq!(id_of(br#"{"jsonrpc":"2.0","id":65,"result":{}}"#), Some(65));
        assert_eq!(id_of(br#"{"id":null}"#), None);
        assert_eq!(id_of(b"nonsense"), None);
    }
}
