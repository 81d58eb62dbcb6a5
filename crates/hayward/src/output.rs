//! What people and scripts read: data on standard output, everything else on standard error.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::failure::Failure;

/// Writes data. A closed pipe (`| head`) is no failure.
pub(crate) fn data(text: &str) -> io::Result<()> {
    ignore_closed_pipe(io::stdout().lock().write_all(text.as_bytes()))
}

/// Writes a JSON document and a line break.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    data(&(text + "\n"))
}

/// Tells something that isn't data.
pub(crate) fn tell(text: &str) {
    // If standard error is closed, nobody listens.
    io::stderr().lock().write_all(text.as_bytes()).ok();
}

/// Tells a failure with its causes and its hint.
pub(crate) fn failure(failure: &Failure) -> ExitCode {
    let mut text = format!("error: {}\n", failure.error);
    for cause in failure.error.chain().skip(1) {
        text += &format!("  caused by: {cause}\n");
    }
    if let Some(hint) = &failure.hint {
        text += &format!("hint: {hint}\n");
    }
    tell(&text);
    ExitCode::from(failure.exit_code)
}

/// Rows under headings, columns as wide as their widest cell.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut headings.iter().copied());
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

fn ignore_closed_pipe(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".into(), "rw".into()], vec!["longer".into(), "ro".into()]];
        assert_eq!(table(&["NAME", "ROLE"], &rows), "NAME    ROLE\na       rw\nlonger  ro\n");
    }
}
