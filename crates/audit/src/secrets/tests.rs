//! What holds of secrets in texts, whatever they are.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Holds these values, named `s0`, `s1`, ….
fn holding(values: &[&[u8]]) -> Arc<Redaction> {
    let secrets = Secrets::new(TagKey::new([7; 32]));
    let values = values.iter().enumerate();
    secrets.hold(values.filter_map(|(index, it)| Secret::new(&format!("s{index}"), it).ok())).unwrap();
    secrets.current()
}

fn redacted(redaction: &Redaction, text: &str) -> String {
    redaction.redact(text, RuleSet::NONE).into_owned()
}

/// The text with each tag as `#`.
fn short(text: &str) -> String {
    let (mut out, mut at) = (String::new(), 0);
    for tag in tag::tags(text.as_bytes()) {
        out += &text[at..tag.start];
        out.push('#');
        at = tag.end;
    }
    out + &text[at..]
}

fn check(secrets: &[&str], text: &str, expect: &str) {
    let values: Vec<_> = secrets.iter().map(|it| it.as_bytes()).collect();
    assert_eq!(short(&redacted(&holding(&values), text)), expect, "{text:?}");
}

fn json_inner(text: &str) -> String {
    let json = serde_json::to_string(text).unwrap();
    json[1..json.len() - 1].to_owned()
}

/// As Python writes JSON.
fn json_ascii(text: &str) -> String {
    json_inner(text).chars().fold(String::new(), |mut out, char| {
        if char.is_ascii() {
            out.push(char);
        } else {
            char.encode_utf16(&mut [0; 2]).iter().for_each(|unit| write!(out, "\\u{unit:04x}").unwrap());
        }
        out
    })
}

fn percent(text: &[u8], kept: &str, is_lower: bool) -> String {
    text.iter().fold(String::new(), |mut out, byte| {
        let char = char::from(*byte);
        match char {
            _ if char.is_ascii_alphanumeric() || kept.contains(char) => out.push(char),
            ' ' if kept.contains('+') => out.push('+'),
            _ if is_lower => write!(out, "%{byte:02x}").unwrap(),
            _ => write!(out, "%{byte:02X}").unwrap(),
        }
        out
    })
}

fn html(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&#34;").replace('\'', "&#x27;")
}

fn hex(text: &[u8]) -> String {
    text.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

/// With this between any two characters.
fn spread(text: &str, between: &str) -> String {
    text.chars().map(String::from).collect::<Vec<_>>().join(between)
}

/// Encodings of a text, other than those of [`hidden_in_base64`].
const ENCODINGS: usize = 19;

fn encoded(text: &str, how: usize) -> String {
    let bytes = text.as_bytes();
    match how {
        0 => text.to_owned(),
        1 => json_inner(text),
        2 => json_inner(text).replace('/', "\\/"),
        3 => json_ascii(text),
        4 => json_ascii(text).replace('/', "\\/"),
        5 => json_inner(&json_inner(text)),
        6 => percent(bytes, "-_.~", false),
        7 => percent(bytes, "-_.~/", true),
        8 => percent(bytes, "-_.*+", false).replace("%2B", "%2b"),
        9 => percent(bytes, "", false),
        10 => html(text),
        11 => hex(bytes),
        12 => hex(bytes).to_uppercase(),
        13 => spread(text, "\x1b[1;31m"),
        14 => spread(text, "\r"),
        15 => spread(text, "\x1b]0;title\x07"),
        16 => json_inner(&spread(text, "\x1b[0m\x08\r\n")),
        17 => json_inner(text).replace('<', "\\u003c").replace('>', "\\u003E").replace('&', "\\u0026"),
        _ => spread(text, "\n"),
    }
}

/// Whether the secret stands in this text in any encoding, with or without controls in between.
fn survives(secret: &str, text: &str) -> bool {
    let without = String::from_utf8_lossy(&view::without_controls(text.as_bytes())).into_owned();
    let forms: Vec<_> = (0..ENCODINGS).map(|how| encoded(secret.trim(), how)).collect();
    [text, &without].iter().any(|text| forms.iter().any(|form| text.contains(form.as_str())))
}

/// Cuts a text where these say.
fn pieces<'t>(text: &'t [u8], cuts: &[prop::sample::Index]) -> Vec<&'t [u8]> {
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).chain([text.len()]).collect();
    ends.sort_unstable();
    let starts = [0].into_iter().chain(ends.clone());
    starts.zip(ends.clone()).map(|(start, end)| &text[start..end]).collect()
}

/// What a stream makes of it; each piece that comes out ends between two characters.
fn streamed(redaction: &Arc<Redaction>, rules: RuleSet, pieces: &[&[u8]], is_text: bool) -> Vec<u8> {
    let mut redactor = Redactor::new(Arc::clone(redaction), rules);
    let mut out = Vec::new();
    for piece in pieces {
        let given = redactor.push(piece);
        assert!(!is_text || std::str::from_utf8(&given).is_ok(), "{given:?}");
        out.extend(given);
    }
    out.extend(redactor.finish());
    out
}

#[test]
fn a_secret_becomes_its_tag_in_every_encoding() {
    for secret in [
        "abcdefgh",
        "p/s\"w <d>&+'\\",
        "pässwörd😀",
        "a.b*c[d]{2}|$^",
        "line1\nline2\tx",
        "a%41&amp;b%2Fc\\nxyz",
    ] {
        let redaction = holding(&[secret.as_bytes()]);
        let expect = redacted(&redaction, secret);
        assert!(expect.starts_with("[redacted:s0:"), "{expect}");
        for how in 0..ENCODINGS {
            let text = format!("say {}, ok", encoded(secret, how));
            assert_eq!(redacted(&redaction, &text), format!("say {expect}, ok"), "{how}: {text}");
        }
    }
}

#[test]
fn a_secret_goes_from_base64_at_every_alignment() {
    let redaction = holding(&["s3cr3t/?~>password".as_bytes()]);
    for before in 0..7 {
        for behind in 0..5 {
            let text = format!(
                "{}s3cr3t/?~>password{}",
                "ÿ>x?y~z".get(..before).unwrap_or("abcdefg"),
                "~".repeat(behind)
            );
            for engine in [STANDARD, URL_SAFE] {
                let encoded = engine.encode(&text);
                let out = redacted(&redaction, &format!("data:{encoded};"));
                assert!(
                    contains_tag(out.as_bytes()) && out.starts_with("data:") && out.ends_with(';'),
                    "{out}"
                );
                let left: usize = short(&out).len() - "data:#;".len();
                assert!(left <= encoded.len() - 24, "{out}");
            }
            assert!(contains_tag(redacted(&redaction, &URL_SAFE_NO_PAD.encode(&text)).as_bytes()));
            let wrapped = spread(&STANDARD.encode(&text), "\n");
            assert!(contains_tag(redacted(&redaction, &wrapped).as_bytes()));
        }
    }
    assert_eq!(short(&redacted(&redaction, &STANDARD.encode("s3cr3t/?~>password"))), "#");
    assert_eq!(short(&redacted(&redaction, &STANDARD.encode("s3cr3t/?~>password!"))), "#IQ==");
}

#[test]
fn overlapping_secrets_go_as_one_and_neighbours_as_two() {
    check(&["abcdefgh12", "gh12345678"], "-abcdefgh12345678-", "-#-");
    check(&["abcdefgh", "abcdefghijkl"], "abcdefghijkl abcdefghijk", "# #ijk");
    check(&["abcdefgh", "cdefghij"], "abcdefghcdefghij", "##");
    check(&["abcdefgh", "abcdefgh"], "abcdefghabcdefgh", "##");
    check(&["abcdabcd"], "abcdabcdabcdab-", "#ab-");
}

#[test]
fn what_is_no_secret_stays() {
    for text in
        ["", "abcdefg", "abcdefg h", "ABCDEFGH", "61626364656667", "YWJjZGVmZw==", "\x1b[31m", "100%\\"]
    {
        let redaction = holding(&[b"abcdefgh"]);
        assert!(matches!(redaction.redact(text, RuleSet::ALL), Cow::Borrowed(it) if it == text), "{text}");
    }
    assert!(matches!(holding(&[]).redact("abcdefgh", RuleSet::ALL), Cow::Borrowed(_)));
}

#[test]
fn what_would_be_found_by_chance_is_refused() {
    let refused = |value: &[u8]| Secret::new("a", value).err();
    assert_eq!(refused(b"abcdefg"), Some(SecretError::TooShort { bytes: 7 }));
    assert_eq!(refused(b" abcdefg\n"), Some(SecretError::TooShort { bytes: 7 }));
    assert_eq!(refused(b"-----------"), Some(SecretError::TooPlain));
    assert_eq!(
        refused(&b"abcd".repeat(SECRET_BYTES_MAX)),
        Some(SecretError::TooLong { bytes: 4 * SECRET_BYTES_MAX })
    );
    assert_eq!(refused(b"a\nb\nc\nd\ne\nf"), Some(SecretError::TooShort { bytes: 6 }));
    assert_eq!(refused(b"abcdefgh"), None);
}

#[test]
fn secrets_come_and_go_and_a_reader_keeps_its_moment() {
    let secrets = Secrets::new(TagKey::new([1; 32]));
    let secret = |name: &str, value: &str| Secret::new(name, value.as_bytes()).unwrap();
    let shorts = |text: &str| short(&redacted(&secrets.current(), text));
    secrets.hold([secret("a", "abcdefgh"), secret("b", "12345678")]).unwrap();
    secrets.hold([secret("a", "ABCDEFGH"), secret("a", "abcdefgh")]).unwrap();
    let before = secrets.current();
    assert_eq!(shorts("abcdefgh ABCDEFGH 12345678"), "# # #");
    secrets.release(["a", "none"]).unwrap();
    assert_eq!(shorts("abcdefgh ABCDEFGH 12345678"), "abcdefgh ABCDEFGH #");
    secrets.replace([secret("c", "abcdefgh")]).unwrap();
    assert_eq!(shorts("abcdefgh ABCDEFGH 12345678"), "# ABCDEFGH 12345678");
    assert_eq!(short(&redacted(&before, "abcdefgh ABCDEFGH 12345678")), "# # #");
    let many = (0..=SECRETS_HELD).map(|it| secret("d", &format!("abcd{it:08}")));
    assert_eq!(secrets.hold(many).unwrap_err(), SecretError::TooMany);
    let long = (0..5).map(|it| secret("e", &format!("abcd{it}").repeat(13_000)));
    assert_eq!(secrets.hold(long).unwrap_err(), SecretError::TooMany);
    assert_eq!(shorts("abcdefgh"), "#");
}

#[test]
fn a_key_goes_whole_and_line_by_line() {
    let line = |seed: usize| -> String {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let digit = |at: usize| (at * at * seed + at * 31 + seed * 7) % letters.len();
        (0..64).map(|at| char::from(letters[digit(at)])).collect()
    };
    let lines: Vec<_> = (1..40).map(|seed| line(seed * 7919)).collect();
    let key = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    let redaction = holding(&[key.as_bytes()]);
    for text in [key.trim_end().to_owned(), json_inner(key.trim_end()), key.trim_end().replace('\n', "\r\n")]
    {
        assert_eq!(short(&redacted(&redaction, &format!("a {text} b"))), "a # b");
    }
    assert_eq!(short(&redacted(&redaction, &STANDARD.encode(key.trim_end()))), "#");
    for line in &lines {
        assert_eq!(short(&redacted(&redaction, &format!("3: {line}"))), "3: #");
    }
    assert_eq!(redacted(&redaction, "-----BEGIN PRIVATE KEY-----"), "-----BEGIN PRIVATE KEY-----");
}

#[test]
fn what_is_redacted_already_stays() {
    let redaction = holding(&[b"abcdefgh"]);
    let text = format!("token: abcdefgh, password=hunter2hunter3, ghp_{}", "a1B2".repeat(9));
    let once = redaction.redact(&text, RuleSet::ALL).into_owned();
    assert_eq!(short(&once), "token: #, password=#, #");
    assert_eq!(redaction.redact(&once, RuleSet::ALL), once);
}

#[test]
fn a_held_secret_names_the_tag_of_what_rules_take_too() {
    let token = format!("ghp_{}", "a1B2".repeat(9));
    let out = redacted(&holding(&[token.as_bytes()]), &token);
    assert_eq!(holding(&[token.as_bytes()]).redact(&token, RuleSet::ALL), out);
    assert!(out.starts_with("[redacted:s0:"), "{out}");
    let looks_like = holding(&[]).redact(&token, RuleSet::ALL).into_owned();
    assert_eq!(out.split(':').nth(2).map(|it| &it[..6]), looks_like.split(':').nth(2).map(|it| &it[..6]));
}

#[test]
fn json_stays_json_whatever_a_secret_is() {
    for (secret, text, expect) in [
        ("12345678", r#"{"a":12345678,"b":[912345678]}"#, r##"{"a":"#","b":["#"]}"##),
        (r#"aaa":"bcd"#, r#"{"aaa":"bcd"}"#, r##"{"#":"#"}"##),
        ("nabcdefgh", r#"{"a":"\nabcdefgh"}"#, r##"{"a":"#"}"##),
        ("e4abcdefgh", r#"["\u00e4abcdefgh"]"#, r##"["#"]"##),
        ("abcdefgh\\", r#"["abcdefgh\\","abcdefgh\"x"]"#, r##"["#","#x"]"##),
        ("abcdefgh", r#"{"abcdefgh":"\"abcdefgh\\"}"#, r##"{"#":"\"#\\"}"##),
    ] {
        let out = holding(&[secret.as_bytes()]).redact_json(text, RuleSet::ALL).into_owned();
        assert_eq!(short(&out), expect, "{secret}");
        assert!(serde_json::from_str::<Value>(&out).is_ok(), "{out}");
    }
    let out = holding(&[b"abcdefgh"]).redact_json("not JSON: (abcdefgh", RuleSet::ALL).into_owned();
    assert_eq!(short(&out), "not JSON: (#");
    let text = r#"{"password":"hunter2hunter3","token":98765432109876}"#;
    let out = holding(&[]).redact_json(text, RuleSet::ALL).into_owned();
    assert_eq!(short(&out), r##"{"password":"#","token":98765432109876}"##);
}

#[test]
fn a_stream_holds_back_little_and_never_without_bound() {
    let redaction = holding(&[b"abcdefgh"]);
    let mut redactor = Redactor::new(Arc::clone(&redaction), RuleSet::NONE);
    assert_eq!(redactor.push(b"nothing 123"), b"nothing 123");
    assert_eq!(redactor.push(b"0123456789012345678abc"), b"0123456");
    assert_eq!(redactor.finish(), b"789012345678abc");
    let mut redactor = Redactor::new(redaction, RuleSet::ALL);
    let (mut given, mut pushed) = (0, 0);
    for piece in [b"abcd".repeat(1000), b"\r".repeat(200_000), b"x".repeat(200_000), b"\x1b[".repeat(100_000)]
    {
        pushed += piece.len();
        given += redactor.push(&piece).len();
        assert!(pushed - given <= crate::limits::STREAM_HELD_BYTES);
    }
    assert_eq!(given + redactor.finish().len(), pushed);
}

#[test]
fn a_private_key_in_a_stream_is_held_back_to_its_end() {
    let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n";
    let text = format!("a\n-----BEGIN PRIVATE KEY-----\n{}-----END PRIVATE KEY-----\nb", line.repeat(20));
    let redaction = holding(&[]);
    let pieces: Vec<_> = text.as_bytes().chunks(7).collect();
    let out = String::from_utf8(streamed(&redaction, RuleSet::ALL, &pieces, true)).unwrap();
    assert_eq!(short(&out), "a\n#\nb");
    assert_eq!(redaction.redact(&text, RuleSet::ALL), out);
}

/// Text that has much in common with secrets, escapes and control sequences.
const AROUND: &str = "[a-d0-3 ,:;.\"/<>\\nä😀\u{1b}\r\n%&]{0,30}";
const SECRET: &str = r#"[a-dA-D0-3/+"' <>&%\\ä😀\n.*$]{8,24}"#;

fn is_fit(value: &str) -> bool {
    Secret::new("s", value.as_bytes()).is_ok()
}

/// Whether it has no escapes of its own, so that it is found whole in whatever way it is encoded.
fn is_plain(value: &str) -> bool {
    is_fit(value) && view::read(value.as_bytes()) == view::without_controls(value.as_bytes())
}

fn surroundings() -> impl Strategy<Value = String> {
    // What stands before a secret doesn't begin an escape that the secret would go on.
    "[e-hE-H ,:;.ä😀]{0,24}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_secret_survives_and_what_is_around_it_does(
        values in prop::collection::vec(SECRET, 1..6),
        parts in prop::collection::vec((surroundings(), any::<prop::sample::Index>(), 0..ENCODINGS), 1..6),
        end in surroundings(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let held: Vec<_> = values.iter().filter(|it| is_plain(it)).collect();
        prop_assume!(!held.is_empty());
        let redaction = holding(&held.iter().map(|it| it.as_bytes()).collect::<Vec<_>>());
        let (mut text, mut expect) = (String::new(), String::new());
        for (around, index, how) in parts {
            let value = held[index.index(held.len())].trim_ascii();
            text += &format!("{around}~{}~", encoded(value, how));
            expect += &format!("{around}~#~");
        }
        let (text, expect) = (text + &end, expect + &end);
        let out = redacted(&redaction, &text);
        prop_assert_eq!(short(&out), expect, "{:?}", text);
        let pieces = pieces(text.as_bytes(), &cuts);
        prop_assert_eq!(&streamed(&redaction, RuleSet::NONE, &pieces, true), out.as_bytes());
        prop_assert_eq!(streamed(&redaction, RuleSet::ALL, &pieces, true), redaction.redact_bytes(text.as_bytes(), RuleSet::ALL).into_owned());
    }

    #[test]
    fn no_secret_survives_anywhere(
        values in prop::collection::vec(SECRET, 1..6),
        parts in prop::collection::vec((AROUND, any::<prop::sample::Index>()), 1..5),
        end in AROUND,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let held: Vec<_> = values.iter().filter(|it| is_fit(it)).collect();
        prop_assume!(!held.is_empty());
        let redaction = holding(&held.iter().map(|it| it.as_bytes()).collect::<Vec<_>>());
        let mut text = String::new();
        for (around, index) in parts {
            text += &format!("{around}{}", held[index.index(held.len())].trim_ascii());
        }
        text += &end;
        let out = redacted(&redaction, &text);
        let streamed = streamed(&redaction, RuleSet::NONE, &pieces(text.as_bytes(), &cuts), true);
        for value in held {
            prop_assert!(!out.contains(value.trim_ascii()), "{out:?}");
            prop_assert!(!survives(value, &String::from_utf8(streamed.clone()).unwrap()), "{streamed:?}");
        }
    }

    #[test]
    fn text_without_a_secret_comes_out_as_it_is(text in AROUND, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..9)) {
        let redaction = holding(&[b"abcdefgh", b"a secret with spaces", b"0123ABCD\n%2F"]);
        let is_borrowed = matches!(redaction.redact(&text, RuleSet::ALL), Cow::Borrowed(_));
        prop_assert!(is_borrowed);
        let pieces = pieces(text.as_bytes(), &cuts);
        prop_assert_eq!(streamed(&redaction, RuleSet::ALL, &pieces, true), text.as_bytes());
    }

    #[test]
    fn any_bytes_may_come(bytes: Vec<u8>, value in prop::collection::vec(any::<u8>(), 8..20), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..9)) {
        let redaction = holding(&[&value]);
        let whole = redaction.redact_bytes(&bytes, RuleSet::ALL).into_owned();
        prop_assert_eq!(streamed(&redaction, RuleSet::ALL, &pieces(&bytes, &cuts), false), whole);
        let text = [bytes.as_slice(), &value, &bytes].concat();
        let is_held = Secret::new("s", &value).is_ok();
        prop_assert!(!is_held || contains_tag(&redaction.redact_bytes(&text, RuleSet::NONE)));
    }

    #[test]
    fn a_json_document_stays_one_without_the_secret(
        value in SECRET,
        around in prop::collection::vec(r#"[a-d0-3\\"/\n\u{1b}ä😀u]{0,12}"#, 4),
        number: i64,
    ) {
        prop_assume!(is_fit(&value));
        let value = value.trim_ascii();
        let with = |index: usize| format!("{}{value}{}", around[index], around[(index + 1) % 4]);
        let document = json!({ with(0): [with(1), number, true], "plain": { "x": around[2], "y": [[with(2)]] } });
        let redaction = holding(&[value.as_bytes(), number.to_string().as_bytes()]);
        for text in [document.to_string(), serde_json::to_string_pretty(&document).unwrap(), json_ascii(&document.to_string()).replace("\\\"", "\"").replace("\\\\", "\\")] {
            let out = redaction.redact_json(&text, RuleSet::ALL).into_owned();
            prop_assert!(serde_json::from_str::<Value>(&text).is_err() || serde_json::from_str::<Value>(&out).is_ok(), "{text} {out}");
            let Ok(decoded) = serde_json::from_str::<Value>(&out) else { continue };
            prop_assert!(!strings(&decoded).iter().any(|it| it.contains(value)), "{out}");
        }
    }
}

/// Every string of a document, keys too.
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(strings).collect(),
        Value::Object(members) => {
            members.iter().flat_map(|(key, value)| [vec![key.clone()], strings(value)].concat()).collect()
        }
        _ => Vec::new(),
    }
}
