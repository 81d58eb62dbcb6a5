//! What the children of tests count, too: supervisors and stages, whose environment is empty and who mostly end by a
//! signal or become somebody else.
//!
//! Elsewhere LLVM's runtime is told by a variable where to write, and writes when the process exits. Here the product
//! stays as it is, and so does the emptiness of that environment: the file's name is linked into what is counted, in
//! place of the one that the compiler puts there, and the counters lie in that file from the start of the process
//! (LLVM's continuous mode), so that what a fence shuts out or a signal ends has no need to write any more.
//!
//! Who runs as another user can't write there; that is little.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{step, workspace};

/// The symbol that holds the name, by its name in the runtime.
const SYMBOL: &str = "__llvm_profile_filename";

/// Makes this run of Cargo count what children do as well.
pub(super) fn count(cargo: &mut Command) -> Result<()> {
    let folder = workspace::target().join("coverage");
    std::fs::create_dir_all(&folder).context("failed to make a folder for coverage")?;
    let (source, object) = (folder.join("children.c"), folder.join("children.o"));
    std::fs::write(&source, source_of(&counters(&workspace::target(), &workspace::root())))
        .context("failed to write the name of the counters")?;
    step::run(step::command("cc").arg("-c").arg("-o").args([&object, &source]))?;
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(&object).join("\x1f"));
    Ok(())
}

/// Where they count: one file for each program (`%m`), mapped (`%c`), with a name by which `cargo llvm-cov` finds and
/// removes it.
fn counters(target: &Path, root: &Path) -> PathBuf {
    let workspace = root.file_name().unwrap_or_default().to_string_lossy();
    target.join("llvm-cov-target").join(format!("{workspace}-children-%m%c.profraw"))
}

fn source_of(counters: &Path) -> String {
    let name = counters.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
    format!("__attribute__((visibility(\"hidden\"))) char __wrap_{SYMBOL}[] = \"{name}\";\n")
}

fn flags(object: &Path) -> [String; 6] {
    let words = [
        // Without it the counters can't be moved into the file.
        "llvm-args=-runtime-counter-relocation",
        &format!("link-arg={}", object.display()),
        &format!("link-arg=-Wl,--wrap={SYMBOL}"),
    ];
    let [relocation, object, wrap] = words.map(str::to_owned);
    ["-C".to_owned(), relocation, "-C".to_owned(), object, "-C".to_owned(), wrap]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_lie_where_the_report_looks_for_them() {
        let counters = counters(Path::new("/t"), Path::new("/w/hayward"));
        assert_eq!(counters, Path::new("/t/llvm-cov-target/hayward-children-%m%c.profraw"));
    }

    #[test]
    fn any_path_is_a_string_of_c() {
        let source = source_of(Path::new("/a\"b\\c"));
        assert!(source.ends_with("char __wrap___llvm_profile_filename[] = \"/a\\\"b\\\\c\";\n"), "{source}");
    }
}
