//! Target `kinds`: the check is `hayward_fuzzing`'s, which tests run on the corpus as well.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hayward_fuzzing::check("kinds", input));
