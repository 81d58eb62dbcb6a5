//! What people and scripts read: data on standard output, everything else on standard error.

pub(crate) mod age;
pub(crate) mod columns;
pub(crate) mod describe;
pub(crate) mod diff;
pub(crate) mod documents;
pub(crate) mod jsonpath;
pub(crate) mod path;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueEnum;

use crate::failure::Failure;

/// The forms of an answer.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    #[value(alias = "text")]
    Table,
    Json,
    Yaml,
}

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

/// Tells a failure with its causes and its hint; nothing of it steers a terminal.
pub(crate) fn failure(failure: &Failure) -> ExitCode {
    let mut text = format!("error: {}\n", failure.error);
    for cause in failure.error.chain().skip(1) {
        text += &format!("  caused by: {cause}\n");
    }
    if let Some(hint) = &failure.hint {
        text += &format!("hint: {hint}\n");
    }
    tell(&plain(&text));
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

/// Fails with the step that failed.
pub(crate) fn written(result: io::Result<()>) -> Result<(), Failure> {
    Ok(result.context("failed to write the answer")?)
}

/// Writes a value in this form, as a table of these rows.
pub(crate) fn show<T: serde::Serialize>(
    form: Form,
    value: &T,
    table: impl FnOnce() -> String,
) -> Result<(), Failure> {
    written(match form {
        Form::Table => data(&plain(&table())),
        Form::Json => safe_json(value, serde_json::to_string_pretty).and_then(|text| data(&(text + "\n"))),
        Form::Yaml => yaml(value).and_then(|text| data(&text)),
    })
}

/// JSON without characters that steer a terminal: what a client sent is in it.
pub(crate) fn safe_json<T: serde::Serialize>(
    value: &T,
    write: impl FnOnce(&T) -> serde_json::Result<String>,
) -> io::Result<String> {
    Ok(hayward_audit::escaped(write(value)?))
}

/// YAML without such characters.
pub(crate) fn yaml<T: serde::Serialize>(value: &T) -> io::Result<String> {
    serde_saphyr::to_string(value).map(|text| plain(&text)).map_err(io::Error::other)
}

/// Text for people, without such characters.
pub(crate) fn plain(text: &str) -> String {
    let steers = |c: char| hayward_audit::is_control(c) || (c.is_control() && c != '\n');
    text.chars().map(|c| if steers(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".into(), "rw".into()], vec!["longer".into(), "ro".into()]];
        assert_eq!(table(&["NAME", "ROLE"], &rows), "NAME    ROLE\na       rw\nlonger  ro\n");
    }

    #[test]
    fn what_a_client_sent_steers_no_terminal() {
        let evil = "a\u{1b}[2J\u{9b}\u{202e}b\n\u{7f}ä";
        let is_safe = |text: &str| !text.chars().any(|c| "\u{1b}\u{9b}\u{202e}\u{7f}".contains(c));
        let written = safe_json(&evil, serde_json::to_string).unwrap();
        assert!(is_safe(&written) && serde_json::from_str::<String>(&written).unwrap() == evil, "{written}");
        assert!(is_safe(&yaml(&evil).unwrap()) && is_safe(&plain(evil)));
        assert!(plain(evil).ends_with("ä") && plain(evil).contains('\n'));
    }
}
