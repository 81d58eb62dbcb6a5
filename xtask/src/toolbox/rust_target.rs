//! Targets of the compiler beside the machine's own.

use anyhow::{Context, Result};

use crate::step;

/// Adds the target, unless the compiler has it.
pub(crate) fn ensure(target: &str) -> Result<()> {
    // Where Rust came from elsewhere than rustup, its standard library is what tells.
    let sysroot = step::capture(step::command("rustc").args(["--print", "sysroot"]))?;
    let library = std::path::Path::new(sysroot.trim()).join("lib/rustlib").join(target).join("lib");
    if library.is_dir() {
        return Ok(());
    }
    step::run(step::command("rustup").args(["target", "add", target]))
        .with_context(|| format!("the compiler has no target `{target}`; hint: `rustup target add {target}`"))
}
