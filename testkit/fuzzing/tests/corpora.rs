//! Every input of `fuzz/corpus/` passes its check, in every run of the tests: an input that once found a
//! defect keeps looking for it.

#![cfg(test)]

use std::path::{Path, PathBuf};

use hayward_fuzzing::{TARGETS, Target};

/// A corpus is for finding again, not for keeping all that a fuzzer ever found.
const INPUTS_MAX: usize = 120;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The files of a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_input_of_a_corpus_passes_its_check() {
    for Target { name, check } in TARGETS {
        let files = files(&fuzz().join("corpus").join(name));
        assert!((1..=INPUTS_MAX).contains(&files.len()), "{name}: {} inputs", files.len());
        for file in files {
            println!("{}", file.display());
            check(&std::fs::read(&file).unwrap());
        }
    }
}

#[test]
fn every_check_has_a_target_and_every_target_a_check() {
    let programs: Vec<_> = files(&fuzz().join("fuzz_targets"))
        .iter()
        .map(|file| file.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(programs, TARGETS.map(|target| target.name));
    for name in programs {
        let program = std::fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("check(\"{name}\", input)")), "{name}");
    }
}
