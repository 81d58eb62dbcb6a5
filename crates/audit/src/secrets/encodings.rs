//! The forms in which a secret may stand in a text.
//!
//! Here are the forms that programs write, one for each encoding. How they vary (which characters are
//! escaped, and with which digits; what a terminal puts in between) is taken out of the text instead, see
//! [`view`](super::view), so every form is also looked for as it reads there. In base64, what depends on
//! the neighbours of the secret is left out and the rest is looked for at all three alignments.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::{Zeroize as _, Zeroizing};

use super::view;
use crate::limits::{SECRET_BYTES_MIN, SECRET_LINE_BYTES_MIN, SECRET_PIECE_BYTES};

/// Bytes that pieces of a long secret have in common, so that the encoded ones overlap, too.
const OVERLAP: usize = 16;
/// How lines begin that are no part of a key.
const ARMOUR: &[u8] = b"-----";

/// What belongs to a match beside the form itself: characters that hold a few bits of the secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Edges {
    /// Characters of base64 before it.
    pub(super) before: u8,
    /// Characters of base64 behind it, not counting `=`.
    pub(super) behind: u8,
}

/// Everything to look for, each once; wiped when it is dropped.
#[derive(Default)]
pub(super) struct Forms(BTreeMap<Vec<u8>, Edges>);

impl Forms {
    /// Every form with its edges.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], Edges)> {
        self.0.iter().map(|(form, edges)| (form.as_slice(), *edges))
    }

    fn insert(&mut self, form: Vec<u8>, edges: Edges) {
        if form.len() >= SECRET_BYTES_MIN {
            self.0.entry(form).or_insert(edges);
        }
    }
}

impl Drop for Forms {
    fn drop(&mut self) {
        for mut form in std::mem::take(&mut self.0).into_keys() {
            form.zeroize();
        }
    }
}

/// The forms of a secret: of all of it, or of its pieces and lines if it is long.
pub(super) fn forms(secret: &[u8]) -> Forms {
    let mut forms = Forms::default();
    for piece in pieces(secret).chain(lines(secret)) {
        add_piece(&mut forms, piece);
    }
    forms
}

/// Pieces that overlap, of equal length but for the last one.
fn pieces(secret: &[u8]) -> impl Iterator<Item = &[u8]> {
    let rest = secret.len().saturating_sub(SECRET_PIECE_BYTES);
    let step = SECRET_PIECE_BYTES - OVERLAP;
    let starts = (0..rest.div_ceil(step)).map(move |index| index * step).chain([rest]);
    starts.map(|start| &secret[start..(start + SECRET_PIECE_BYTES).min(secret.len())])
}

/// The lines of a key, which may be shown one by one. Lines with spaces are prose or settings.
fn lines(secret: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = secret.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(move |line| {
        (SECRET_LINE_BYTES_MIN..secret.len().min(SECRET_PIECE_BYTES)).contains(&line.len())
            && !line.starts_with(ARMOUR)
            && !line.contains(&b' ')
    })
}

fn add_piece(forms: &mut Forms, piece: &[u8]) {
    let read = Zeroizing::new(view::read(piece));
    for bytes in [piece, read.as_slice(), view::without_controls(piece).as_slice()] {
        add_encoded(forms, bytes);
    }
}

fn add_encoded(forms: &mut Forms, bytes: &[u8]) {
    if bytes.len() < SECRET_BYTES_MIN {
        return;
    }
    let plus = bytes.iter().map(|byte| if *byte == b' ' { b'+' } else { *byte });
    for plain in
        [bytes.to_vec(), plus.collect(), percent(bytes, b"-_.~"), percent(bytes, b"-_.~ "), html(bytes)]
    {
        add(forms, plain);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let json = Zeroizing::new(serde_json::to_string(text).expect("memory takes it"));
        let inner = Zeroizing::new(json[1..json.len() - 1].to_owned());
        // Some write `/` with an escape, and some everything that isn't ASCII.
        for inner in [inner.to_string(), inner.replace('/', "\\/")] {
            add(forms, ascii(&inner).into_bytes());
            add(forms, inner.into_bytes());
        }
    }
    add_hex(forms, bytes);
    for alignment in 0..3 {
        add_base64(forms, bytes, alignment);
    }
}

/// Adds a form, and as it reads when a text is decoded once and twice.
fn add(forms: &mut Forms, form: Vec<u8>) {
    let once = view::read(&form);
    let twice = view::read(&once);
    for form in [form, once, twice] {
        forms.insert(form, Edges::default());
    }
}

/// URL-encoded but for letters, digits and these; a space among these becomes `+`.
fn percent(bytes: &[u8], kept: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() * 3);
    for byte in bytes {
        match byte {
            b' ' if kept.contains(byte) => out.push(b'+'),
            _ if byte.is_ascii_alphanumeric() || kept.contains(byte) => out.push(*byte),
            _ => out.extend([b'%', digit(byte >> 4, b'A'), digit(byte & 15, b'A')]),
        }
    }
    out
}

fn html(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'&' => out.extend(b"&amp;"),
            b'<' => out.extend(b"&lt;"),
            b'>' => out.extend(b"&gt;"),
            b'"' => out.extend(b"&quot;"),
            b'\'' => out.extend(b"&#39;"),
            _ => out.push(*byte),
        }
    }
    out
}

/// The inside of a JSON string with escapes for what isn't ASCII.
fn ascii(json: &str) -> String {
    let (mut out, mut units) = (String::with_capacity(json.len()), [0; 2]);
    for char in json.chars() {
        if char.is_ascii() {
            out.push(char);
        } else {
            char.encode_utf16(&mut units).iter().for_each(|unit| out += &format!("\\u{unit:04x}"));
        }
    }
    out
}

fn add_hex(forms: &mut Forms, bytes: &[u8]) {
    for ten in [b'a', b'A'] {
        let digits = bytes.iter().flat_map(|byte| [digit(byte >> 4, ten), digit(byte & 15, ten)]);
        forms.insert(digits.collect(), Edges::default());
    }
}

/// The hexadecimal digit of this value, if this is the one for ten.
fn digit(value: u8, ten: u8) -> u8 {
    if value < 10 { b'0' + value } else { ten + value - 10 }
}

/// Adds the secret in base64, as it is behind this many bytes (and any multiple of three).
fn add_base64(forms: &mut Forms, bytes: &[u8], alignment: usize) {
    let mut padded = Zeroizing::new(vec![0; alignment]);
    padded.extend_from_slice(bytes);
    let (first, last) = ((alignment * 8).div_ceil(6), padded.len() * 8 / 6);
    let is_shared = |bits: usize| u8::from(!bits.is_multiple_of(6));
    let edges = Edges { before: is_shared(alignment * 8), behind: is_shared(padded.len() * 8) };
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        let text = Zeroizing::new(engine.encode(&padded));
        forms.insert(text.as_bytes()[first..last].to_vec(), edges);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(secret: &[u8], form: &str) -> bool {
        forms(secret).0.contains_key(form.as_bytes())
    }

    #[test]
    fn each_encoding_is_looked_for() {
        for form in [
            "p/s\"w <d>+",
            "p/s\\\"w <d>+",
            "p%2Fs%22w%20%3Cd%3E%2B",
            "p%2Fs%22w+%3Cd%3E%2B",
            "p/s&quot;w &lt;d&gt;+",
            "702f732277203c643e2b",
            "702F732277203C643E2B",
            "cC9zIncgPGQ+K",
            "cC9zIncgPGQ-K",
        ] {
            assert!(has(b"p/s\"w <d>+", form), "{form}");
        }
    }

    #[test]
    fn a_plain_secret_has_few_forms_and_none_is_short() {
        let plain = forms(b"abcdefgh12345678");
        assert!(plain.0.len() <= 6, "{}", plain.0.len());
        assert!(forms(b"\n\r\n\r\x08a%41b").0.keys().all(|form| form.len() >= SECRET_BYTES_MIN));
    }

    #[test]
    fn a_long_secret_is_looked_for_in_pieces_that_cover_it() {
        let secret: Vec<u8> = (0..3000_u32).map(|it| b'a' + (it * it % 26) as u8).collect();
        let mut covered = 0;
        for piece in pieces(&secret) {
            let start = piece.as_ptr().addr() - secret.as_ptr().addr();
            assert!(start + OVERLAP <= covered || start == 0);
            assert!(piece.len() <= SECRET_PIECE_BYTES);
            covered = start + piece.len();
        }
        assert_eq!(covered, secret.len());
        assert_eq!(pieces(b"short").collect::<Vec<_>>(), [b"short"]);
    }

    #[test]
    fn lines_of_keys_are_looked_for_and_their_frame_is_not() {
        let key =
            b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG\r\n  \"type\": \"service account\",\nshort\n";
        assert_eq!(lines(key).collect::<Vec<_>>(), [b"MIIEvQIBADANBgkqhkiG"]);
        assert_eq!(lines(b"a secret in one line").count(), 0);
    }
}
