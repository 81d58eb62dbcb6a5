//! The only place of xtask that prints. It decides nothing.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "automation talks to the person who runs it")]

/// Prints a line of the answer.
pub(crate) fn line(text: impl std::fmt::Display) {
    println!("{text}");
}

/// Prints the start of a step.
pub(crate) fn step(name: &str) {
    eprintln!("\n▸ {name}");
}

/// Prints something worth knowing that is not the answer.
pub(crate) fn note(text: impl std::fmt::Display) {
    eprintln!("  {text}");
}

/// Prints an error with its causes.
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}
