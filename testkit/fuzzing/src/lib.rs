//! What holds of every input of the protocol crate, of what a listener reads in headers, of documents, and of the check of the record, whatever it is:
//! the checks that the fuzz targets in `fuzz/` and the tests that replay their corpora share.
//!
//! Each check compares our code with something made another way: `serde_json`, a few lines of
//! model, or itself on the same input in other pieces. A check that fails panics; it must not look
//! at the clock, at the disk or at chance, so that an input that failed once fails again.

mod envelope;
mod events;
mod headers;
mod kinds;
mod lines;
mod pieces;
mod proxies;
mod ranges;
mod records;
mod requests;
mod states;

pub mod emitted;
pub mod tree;

/// A limit that no input reaches.
const UNLIMITED: usize = usize::MAX / 2;

/// A check and the name that its fuzz target and its corpus bear.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The file in `fuzz/fuzz_targets/`, the folder in `fuzz/corpus/`.
    pub name: &'static str,
    /// Panics if something doesn't hold of the input.
    pub check: fn(&[u8]),
}

/// Every target, by name.
pub const TARGETS: [Target; 11] = [
    Target { name: "differential", check: emitted::check },
    Target { name: "envelope", check: envelope::check },
    Target { name: "headers", check: headers::check },
    Target { name: "kinds", check: kinds::check },
    Target { name: "proxies", check: proxies::check },
    Target { name: "ranges", check: ranges::check },
    Target { name: "requests", check: requests::check },
    Target { name: "sse", check: events::check },
    Target { name: "state", check: states::check },
    Target { name: "stdio", check: lines::check },
    Target { name: "verify", check: records::check },
];

/// Runs the check of a target.
///
/// # Panics
/// If something doesn't hold of the input, or if there is no such target.
pub fn check(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of the table");
    (target.check)(input);
}
