//! What we emit, read by Node.js and by Python: some hundred frames as lines and as events, and each
//! reader prints what it took them for.
//!
//! The frames are made of texts and values on which readers tend to disagree. `cargo xtask test`
//! installs the readers.

#![cfg(test)]

use std::process::Command;

use hayward_fuzzing::emitted::{Emitted, frames};
use hayward_testkit::installed::tool;

/// Values that are generated beside those that are listed.
const GENERATED: u64 = 60;

/// Numbers that are no integers of 53 bits, or not written as one would expect.
const NUMBERS: [&str; 14] = [
    "0",
    "-0",
    "-0.0",
    "1E+2",
    "0.1",
    "1e-7",
    "9007199254740993",
    "-9223372036854775808",
    "18446744073709551616",
    "123456789012345678901234567890.5",
    "5e-324",
    "1e-400",
    "1e400",
    "-1E400",
];

/// What stands between the quotes of a JSON string.
const TEXTS: [&str; 25] = [
    "",
    "a",
    "\u{e4}\u{df}",
    "e\u{301}",
    "\u{2028}\u{2029}",
    "\u{85}\u{a0}",
    "\u{FEFF}",
    "\u{1F600}",
    "\u{10FFFF}\u{FFFF}",
    "\u{202E}abc",
    "\u{7f}\u{80}",
    r"\u0000\u0001\u001f",
    r"\u000b\u001c\u001d",
    r"\b\f\n\r\t\/\\\u0022",
    r"\u2028\u2029",
    r"\ud83d\ude00",
    r"\\ud800 is no surrogate",
    r"\uFFFD\uffff",
    "</script><!--",
    "data: x",
    ": id: 1",
    "__proto__",
    "constructor",
    "10",
    "9",
];

/// Numbers that only look like chance: every run makes the same frames.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn text(&mut self) -> String {
        (0..=self.roll(3)).map(|_| TEXTS[self.roll(TEXTS.len())]).collect()
    }

    fn value(&mut self, depth: usize) -> String {
        match self.roll(if depth == 0 { 3 } else { 5 }) {
            0 => format!("\"{}\"", self.text()),
            1 => NUMBERS[self.roll(NUMBERS.len())].to_owned(),
            2 => ["null", "true", "false"][self.roll(3)].to_owned(),
            3 => {
                let elements: Vec<_> = (0..self.roll(5)).map(|_| self.value(depth - 1)).collect();
                format!("[{}]", elements.join(" ,\n"))
            }
            _ => {
                // The number makes every key another one.
                let member = |index| format!("\"{}{index}\" :\r\n{}", self.text(), self.value(depth - 1));
                let members: Vec<_> = (0..5).map(member).collect();
                format!("{{ {} }}", members.join("\t, "))
            }
        }
    }
}

/// Texts and values to make frames of.
fn inputs() -> Vec<Vec<u8>> {
    let texts = TEXTS.iter().flat_map(|text| [(*text).to_owned(), format!("{{\"{text}\":\"{text}\"}}")]);
    let numbers = NUMBERS.iter().map(|number| format!("{{\"n\":[{number}]}}"));
    let deep = ["[".repeat(128) + &"]".repeat(128), "{\"a\":".repeat(127) + "[]" + &"}".repeat(127)];
    let controls = (0..=0x20_u8).map(char::from).collect();
    let generated = (1..=GENERATED).map(|seed| Dice(seed).value(4));
    let all = texts.chain(numbers).chain(deep).chain([controls, "x".repeat(100_000)]).chain(generated);
    all.map(String::into_bytes).chain([b"no UTF-8: \xff\xed\xa0\x80".to_vec()]).collect()
}

#[expect(clippy::disallowed_methods, reason = "the readers are processes")]
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

/// Has a script read the frames in either framing, and compares what it took them for.
fn are_read(interpreter: &str, script: &str) {
    let (Some(program), Some(scripts)) = (tool(interpreter), tool("HAYWARD_TEST_INTEROP")) else {
        println!("skipped: the reader is not installed; run `cargo xtask test`");
        return;
    };
    let emitted: Vec<_> = inputs().iter().flat_map(|input| frames(input)).collect();
    let folder = tempfile::tempdir().unwrap();
    for framing in ["lines", "events"] {
        let frame = if framing == "lines" { Emitted::line } else { Emitted::event };
        let file = folder.path().join(framing);
        std::fs::write(&file, emitted.iter().flat_map(frame).collect::<Vec<_>>()).unwrap();
        let mut reader = command(&program);
        reader.arg(scripts.join(script)).arg(framing).arg(&file);
        check_said(reader, &emitted, framing);
    }
}

fn check_said(mut reader: Command, emitted: &[Emitted], framing: &str) {
    let output = reader.output().unwrap();
    assert!(output.status.success(), "{framing}: {}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    for (said, emitted) in said.lines().zip(emitted) {
        assert_eq!(said, emitted.meaning.canonical(), "{framing}: {:?}", emitted.frame);
    }
    assert_eq!(said.lines().count(), emitted.len(), "{framing}");
}

#[test]
fn node_reads_what_we_emit_as_it_was_meant() {
    are_read("HAYWARD_TEST_NODE", "frames.mjs");
}

#[test]
fn python_reads_what_we_emit_as_it_was_meant() {
    are_read("HAYWARD_TEST_PYTHON", "frames.py");
}

#[test]
fn the_frames_hold_what_readers_disagree_on() {
    let emitted: Vec<_> = inputs().iter().flat_map(|input| frames(input)).collect();
    assert!(emitted.len() > 500, "{} frames", emitted.len());
    let all: String = emitted.iter().map(|it| it.meaning.canonical()).collect();
    for trait_of_it in [r"\u2028", r"\u0000", r"\ud83d\ude00", "=7ff0000000000000", "9007199254740993="] {
        assert!(all.contains(trait_of_it), "{trait_of_it}");
    }
}
