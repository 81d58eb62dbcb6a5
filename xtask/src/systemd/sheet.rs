//! What a trial found: a line for everything that has to hold.

use std::fmt::Display;

use crate::load::page::Line;

/// The lines of one trial.
pub(super) struct Sheet {
    trial: &'static str,
    pub(super) lines: Vec<Line>,
}

impl Sheet {
    /// An empty one.
    pub(super) fn of(trial: &'static str) -> Self {
        Self { trial, lines: Vec::new() }
    }

    /// Something that was found, and whether it is as `goal` says.
    pub(super) fn judge(&mut self, what: &str, figure: impl Display, goal: &str, is_met: bool) {
        let what = format!("{}: {what}", self.trial);
        self.lines.push(Line::goal(what, cell(&figure.to_string()), &cell(goal), is_met));
    }

    /// Something that has to be exactly this.
    pub(super) fn is(&mut self, what: &str, found: impl Display, wanted: impl Display) {
        let (found, wanted) = (found.to_string(), wanted.to_string());
        let is_met = found == wanted;
        self.judge(what, found, &wanted, is_met);
    }

    /// A text in which this has to stand.
    pub(super) fn says(&mut self, what: &str, text: &str, wanted: &str) {
        let is_met = text.contains(wanted);
        let figure = if is_met { wanted } else { text };
        self.judge(what, figure, &format!("says `{wanted}`"), is_met);
    }

    /// The trial couldn't go on.
    pub(super) fn broke_off(&mut self, error: &anyhow::Error) {
        self.judge("played to its end", format!("{error:#}"), "it is", false);
    }
}

/// Characters of a cell.
const CELL_CHARS_MAX: usize = 400;

/// A text as a cell of a table.
fn cell(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/");
    if line.chars().count() <= CELL_CHARS_MAX {
        return line;
    }
    line.chars().take(CELL_CHARS_MAX).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::page::Mark;

    #[test]
    fn what_is_not_as_wanted_is_a_miss() {
        let mut sheet = Sheet::of("x");
        sheet.is("a", 1, "1");
        sheet.says("b", "a hint: y", "hint");
        sheet.is("c", "1", "2");
        sheet.says("d", "nothing", "hint");
        sheet.broke_off(&anyhow::anyhow!("no").context("step"));
        let marks: Vec<_> = sheet.lines.iter().map(|line| line.mark).collect();
        assert_eq!(marks, [Mark::Met, Mark::Met, Mark::Missed, Mark::Missed, Mark::Missed]);
        assert_eq!(sheet.lines[4].figure, "step: no");
    }

    #[test]
    fn a_cell_is_one_line_without_bars() {
        assert_eq!(cell("a\n| b"), "a / b");
        assert_eq!(cell(&"x".repeat(500)).chars().count(), CELL_CHARS_MAX + 1);
    }
}
