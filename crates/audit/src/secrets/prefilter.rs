//! Where in a text a secret can begin at all.
//!
//! As many bytes of the start of each form are looked at as the shortest one has, within bounds. Each block in them is
//! marked in a bit set, so one block in every stride of a text tells whether a form can begin around it: the longer
//! all forms are, the fewer looks. Only then are the [`WINDOW`]s asked for with which forms begin. Both sets err on the
//! side of yes.

use crate::limits::SECRET_BYTES_MIN;

/// Bytes of the start of a form that tell whether it is one.
pub(super) const WINDOW: usize = SECRET_BYTES_MIN;
/// Bytes that are looked up at once.
const BLOCK: usize = 4;
/// Bytes of the start of a form of which any block may be met first.
const REACH: std::ops::RangeInclusive<usize> = WINDOW..=32;
/// Bits for each entry of a set, and bounds of its size as powers of two.
const BITS_PER_ENTRY: usize = 32;
const BITS_LOG: std::ops::RangeInclusive<u32> = 12..=23;

/// The sets for all forms.
pub(super) struct Prefilter {
    blocks: Set,
    windows: Set,
    /// Bytes from one look to the next.
    stride: usize,
}

impl Prefilter {
    /// A filter that lets through whatever begins like one of these.
    pub(super) fn new<'f>(forms: impl Iterator<Item = &'f [u8]> + Clone) -> Self {
        let count = forms.clone().count();
        let shortest = forms.clone().map(<[u8]>::len).min().unwrap_or_default();
        let stride = shortest.clamp(*REACH.start(), *REACH.end()) - BLOCK + 1;
        let (mut blocks, mut windows) = (Set::for_entries(count * stride), Set::for_entries(count));
        for form in forms {
            windows.insert(window(form, 0));
            (0..stride).for_each(|at| blocks.insert(block(form, at)));
        }
        Self { blocks, windows, stride }
    }

    /// The next place from here on where a form can begin, if there is one.
    pub(super) fn find(&self, text: &[u8], from: usize) -> Option<usize> {
        let mut at = from + self.stride - 1;
        while at + BLOCK <= text.len() {
            if self.blocks.may_contain(block(text, at)) {
                let starts = at + 1 - self.stride..=at;
                let mut starts = starts.filter(|start| *start + WINDOW <= text.len());
                if let Some(start) = starts.find(|start| self.windows.may_contain(window(text, *start))) {
                    return Some(start);
                }
            }
            at += self.stride;
        }
        None
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        (self.blocks.words.len() + self.windows.words.len()) * size_of::<u64>()
    }
}

fn block(text: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes(text[at..at + BLOCK].try_into().expect("it is a block")))
}

fn window(text: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(text[at..at + WINDOW].try_into().expect("it is a window"))
}

/// A set of numbers, one bit each.
struct Set {
    words: Vec<u64>,
    /// How far a hash is shifted to become the index of a bit.
    shift: u32,
}

impl Set {
    fn for_entries(entries: usize) -> Self {
        let wanted = (entries * BITS_PER_ENTRY).next_power_of_two().trailing_zeros();
        let log = wanted.clamp(*BITS_LOG.start(), *BITS_LOG.end());
        Self { words: vec![0; 1 << (log - 6)], shift: u64::BITS - log }
    }

    fn insert(&mut self, number: u64) {
        let (word, bit) = self.place(number);
        self.words[word] |= bit;
    }

    fn may_contain(&self, number: u64) -> bool {
        let (word, bit) = self.place(number);
        self.words[word] & bit != 0
    }

    fn place(&self, number: u64) -> (usize, u64) {
        let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift;
        (usize::try_from(hash / 64).expect("a set is small"), 1 << (hash % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

    fn prefilter(forms: &[&str]) -> Prefilter {
        Prefilter::new(forms.iter().map(|form| form.as_bytes()))
    }

    #[test]
    fn every_form_is_let_through_wherever_it_stands() {
        let (short, long) = (["12345678", "abcdefghijk", "\0\0\0\0\0\0\0\0"], ["1234567890123456", LONG]);
        for (forms, form) in
            short.iter().map(|form| (&short[..], form)).chain(long.iter().map(|form| (&long[..], form)))
        {
            let filter = prefilter(forms);
            for (before, behind) in (0..20).flat_map(|before| (0..20).map(move |behind| (before, behind))) {
                let text = format!("{}{form}{}", "-".repeat(before), "+".repeat(behind));
                for from in 0..=before {
                    assert_eq!(filter.find(text.as_bytes(), from), Some(before), "{text} {from}");
                }
                assert_eq!(filter.find(text.as_bytes(), before + 1), None, "{text}");
            }
        }
    }

    #[test]
    fn what_is_cut_off_or_other_is_not() {
        let filter = prefilter(&["12345678"]);
        for text in ["", "1", "1234567", "x1234567", "12345679", "23456789"] {
            assert_eq!(filter.find(text.as_bytes(), 0), None, "{text}");
        }
        assert_eq!(prefilter(&[]).find(b"12345678", 0), None);
    }
}
