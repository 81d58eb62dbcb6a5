//! It over standard input and output, one message a line.

use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::acts::{Act, Said, befall};
use super::fault::Fault;
use super::{Chaos, Reply};

/// Bytes of a long line that are written at once.
const PIECE: &[u8] = &[b'x'; 1 << 16];

/// How often it is looked whether somebody has given up.
const LOOK: Duration = Duration::from_millis(10);

/// Serves until its input ends. A call that takes a while keeps no other waiting.
pub(super) fn serve(chaos: Chaos) -> anyhow::Result<()> {
    let chaos = Arc::new(chaos);
    for line in io::stdin().lock().lines() {
        let Ok(message) = serde_json::from_str::<Value>(&line?) else { continue };
        match chaos.take(&message) {
            Reply::Nothing => {}
            Reply::Said(bytes) => say(&bytes)?,
            Reply::Act(Fault::None, said) => say(&said.answer())?,
            Reply::Act(fault, said) => {
                let chaos = Arc::clone(&chaos);
                // Nobody reads any more: the end of its input comes next.
                thread::spawn(move || play(&chaos, fault, &said).ok());
            }
        }
    }
    Ok(())
}

fn say(bytes: &[u8]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(&[bytes, b"\n"].concat())?;
    output.flush()
}

fn play(chaos: &Chaos, fault: Fault, said: &Said) -> io::Result<()> {
    for act in said.acts(fault) {
        match act {
            Act::Say(bytes) => say(&bytes)?,
            Act::Again(bytes, count) => {
                for _ in 0..count {
                    say(&bytes)?;
                }
            }
            Act::Long(before, bytes, behind) => long(&before, bytes, &behind)?,
            Act::Grumble(lines) => grumble(lines)?,
            Act::Wait(duration) => wait(duration),
            Act::UntilCancelled => {
                while !chaos.is_cancelled(&said.id.to_string()) {
                    wait(LOOK);
                }
            }
            Act::Change => chaos.change(),
            Act::Suffer(fault) => befall(fault)?,
        }
    }
    Ok(())
}

fn long(before: &[u8], mut bytes: usize, behind: &[u8]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(before)?;
    while bytes > 0 {
        let piece = &PIECE[..bytes.min(PIECE.len())];
        output.write_all(piece)?;
        bytes -= piece.len();
    }
    output.write_all(behind)?;
    output.write_all(b"\n")?;
    output.flush()
}

pub(super) fn grumble(lines: usize) -> io::Result<()> {
    let mut errors = io::stderr().lock();
    for n in 0..lines {
        writeln!(errors, "{n} {}", "grumble ".repeat(60))?;
    }
    Ok(())
}

pub(super) fn wait(duration: Duration) {
    let until = Instant::now() + duration;
    loop {
        let rest = until.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return;
        }
        thread::park_timeout(rest);
    }
}
