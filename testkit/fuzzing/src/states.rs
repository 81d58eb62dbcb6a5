//! Target `state`: sealed states. The input is four parts, each ended by a line break: who, which tool, its
//! arguments, what is sealed; what is left over is a seal of the input's own making.
//!
//! What was sealed opens for the same request of the same caller, until it expires, and nothing else opens.

use hayward_mcp::limits::STATE_CONTENT_BYTES_MAX;
use hayward_mcp::state::{Binding, StateKeys, digest};

const NOW: i64 = 1_800_000_000;
const LIFETIME: u32 = 600;

pub(crate) fn check(input: &[u8]) {
    let mut parts = input.splitn(5, |byte| *byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let (who, tool) = (String::from_utf8_lossy(part()), String::from_utf8_lossy(part()));
    let (arguments, content, forged) = (part(), part(), part());
    let keys = StateKeys::new([7; 32]);
    let binding = Binding { principal: &who, digest: digest("tools/call", &tool, arguments) };
    let text = String::from_utf8_lossy(forged);
    assert!(keys.open(&binding, &text, NOW).is_err(), "a seal that nobody made");
    let Ok(sealed) = keys.seal(&binding, content, NOW, LIFETIME) else {
        assert!(content.len() > STATE_CONTENT_BYTES_MAX);
        return;
    };
    let opened = keys.open(&binding, &sealed, NOW).expect("it was sealed for this");
    assert_eq!(opened.content, content);
    assert!(keys.open(&binding, &sealed, NOW + i64::from(LIFETIME)).is_err(), "it has expired");
    let other = format!("{who}x");
    let longer = [arguments, b" "].concat();
    let others = [
        Binding { principal: &other, digest: binding.digest },
        Binding { principal: &who, digest: digest("prompts/get", &tool, arguments) },
        Binding { principal: &who, digest: digest("tools/call", &other, arguments) },
        Binding { principal: &who, digest: digest("tools/call", &tool, &longer) },
    ];
    check_others(&keys, &binding, &sealed, &others);
    check_changes(&keys, &binding, &sealed, forged);
}

fn check_others(keys: &StateKeys, own: &Binding<'_>, sealed: &str, others: &[Binding<'_>]) {
    for binding in others {
        let is_same = binding.principal == own.principal && binding.digest == own.digest;
        assert!(is_same || keys.open(binding, sealed, NOW).is_err(), "it was sealed for another request");
    }
    assert!(StateKeys::new([8; 32]).open(own, sealed, NOW).is_err(), "it was sealed by another server");
}

/// Changes the seal in a place that the input chooses.
fn check_changes(keys: &StateKeys, binding: &Binding<'_>, sealed: &str, choice: &[u8]) {
    let place =
        choice.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let place = place % sealed.len();
    let mut changed = sealed.as_bytes().to_vec();
    changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8_lossy(&changed);
    // The last character holds bits that stand for nothing.
    let is_refused = keys.open(binding, &changed, NOW).is_err();
    assert!(is_refused || place + 1 == sealed.len(), "a changed seal is open");
    assert!(keys.open(binding, &sealed[..place], NOW).is_err(), "a part of a seal is open");
}
