//! What redaction costs: MiB of text in a second, and bytes for each set of secrets.
//!
//! `cargo run --release -p hayward-audit --example redaction_speed`. It holds 1,000 random secrets of 40 bytes and
//! reads texts that hold none of them, on one thread, each for a second; the median of its rounds is shown.
#![expect(clippy::print_stdout, reason = "it shows figures")]
#![expect(clippy::cast_precision_loss, reason = "figures with few digits")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use hayward_audit::secrets::{Redaction, RuleSet, Secret, Secrets, TagKey};

const SECRETS: usize = 1000;
const SECRET_BYTES: usize = 40;
const TEXT_BYTES: usize = 4 * 1024 * 1024;
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const SYMBOLS: &[u8] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_{|}~";

fn main() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for (name, alphabet) in [("letters and digits", LETTERS), ("all printable", SYMBOLS)] {
        let secrets = Secrets::new(TagKey::new([1; 32]));
        let start = Instant::now();
        let values = (0..SECRETS).map(|index| (format!("s{index}"), random.bytes(SECRET_BYTES, alphabet)));
        let values = values.filter_map(|(name, value)| Secret::new(&name, &value).ok());
        let held = secrets.hold(values);
        println!(
            "{SECRETS} secrets of {SECRET_BYTES} bytes, {name}: built in {:?} {held:?}",
            start.elapsed()
        );
        let redaction = secrets.current();
        println!("  {:.1} MiB", redaction.bytes() as f64 / 1_048_576.0);
        for (name, text) in texts(&mut random) {
            let held = mib_per_second(&redaction, &text, RuleSet::NONE);
            let all = mib_per_second(&redaction, &text, RuleSet::ALL);
            println!("  {name:20} held {held:6.0} MiB/s, with rules {all:6.0} MiB/s");
        }
    }
}

fn texts(random: &mut Random) -> [(&'static str, String); 5] {
    let source = include_str!("../src/redact.rs").to_owned() + include_str!("../src/log.rs");
    let log = "2026-01-02T03:04:05.678Z INFO request id=4711 path=/mcp status=200 ms=1.25\n";
    let json = source.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let coloured = source.replace(' ', " \u{1b}[0;32m");
    let base64 = String::from_utf8(random.bytes(TEXT_BYTES, LETTERS)).unwrap_or_default();
    let long = |text: &str| text.repeat(TEXT_BYTES / text.len() + 1);
    [
        ("source code", long(&source)),
        ("source code in JSON", long(&json)),
        ("a log", long(log)),
        ("a coloured terminal", long(&coloured)),
        ("one line of base64", base64),
    ]
}

fn mib_per_second(redaction: &Redaction, text: &str, rules: RuleSet) -> f64 {
    let mut rounds: Vec<f64> = (0..5).map(|_| round(redaction, text, rules)).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

fn round(redaction: &Redaction, text: &str, rules: RuleSet) -> f64 {
    let (start, mut bytes) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_millis(200) {
        black_box(redaction.redact(black_box(text), rules));
        bytes += text.len();
    }
    bytes as f64 / 1_048_576.0 / start.elapsed().as_secs_f64()
}

/// Numbers without a pattern (xorshift), the same in every run.
struct Random(u64);

impl Random {
    fn bytes(&mut self, count: usize, alphabet: &[u8]) -> Vec<u8> {
        (0..count).map(|_| alphabet[self.next(alphabet.len())]).collect()
    }

    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % below
    }
}
