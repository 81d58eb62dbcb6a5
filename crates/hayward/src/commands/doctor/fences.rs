//! The fences that somebody has, each tried out on this machine.

use hayward_api::Fence;
use hayward_exec::{Assessment, ExecError, Executor, Fence as Held, State};
use hayward_host::Limits;
use hayward_host::fence::{profile, quota};
use hayward_store::TokenEntry;
use serde::Serialize;

use super::Verdict;
use crate::output;

/// What a confined command is kept to wherever it runs (SECURITY.md); the rest depends on the machine.
const PROMISED: [Held; 6] =
    [Held::Reads, Held::Writes, Held::Protected, Held::Sockets, Held::Privileges, Held::SystemCalls];

/// A fence, who has it, and what it gets here.
#[derive(Serialize)]
pub(super) struct Fenced {
    /// Names of tokens, or whom else it is for.
    users: Vec<String>,
    fence: Fence,
    pub(super) verdict: Verdict,
    /// Why its commands don't run at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    held: Vec<Line>,
}

/// One thing that a fence keeps, or doesn't.
#[derive(Serialize)]
struct Line {
    fence: Held,
    state: State,
    /// Whether it is meant to be held.
    promised: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    why: String,
}

/// Each fence once, with who has it: `full`, that of whoever has none, and those of enabled tokens.
pub(super) fn of(common: Fence, stored: &[TokenEntry]) -> Vec<(Vec<String>, Fence)> {
    let mut fences = vec![(vec!["any token with profile full".to_owned()], Fence::default())];
    let unnamed = ("temporary tokens and local clients".to_owned(), common);
    let tokens = stored.iter().filter(|token| token.spec.enabled);
    let tokens = tokens.map(|token| (format!("token {}", token.metadata.name), token.spec.fence.clone()));
    for (user, fence) in std::iter::once(unnamed).chain(tokens) {
        match fences.iter_mut().find(|(_, known)| *known == fence) {
            Some((users, _)) => users.push(user),
            None => fences.push((vec![user], fence)),
        }
    }
    fences
}

impl Fenced {
    /// Finds out what a fence gets.
    pub(super) async fn try_out(
        executor: &Executor,
        users: Vec<String>,
        fence: Fence,
        limits: &Limits,
    ) -> Self {
        match executor.assess(&profile(&fence)).await {
            Ok(assessment) => {
                let held = lines(&fence, &assessment, limits);
                let verdict = held.iter().map(Line::verdict).max().unwrap_or(Verdict::Ok);
                Self { users, fence, verdict, error: None, held }
            }
            Err(error) => {
                let why = chain(&error);
                Self { users, fence, verdict: Verdict::Failed, error: Some(why), held: Vec::new() }
            }
        }
    }

    /// The fence for people.
    pub(super) fn told(&self) -> String {
        let mut text = format!("{}: {} [{}]\n", self.users.join(", "), self.fence, self.verdict.as_str());
        if let Some(error) = &self.error {
            text += &format!("  its commands don't run: {error}\n");
            return text;
        }
        if !self.fence.is_confined() && rustix::process::geteuid().is_root() {
            text += "  as root, nothing can keep such a command in\n";
        }
        let rows: Vec<Vec<String>> = self.held.iter().map(Line::row).collect();
        for line in output::table(&["FENCE", "STATE", "PROMISED", "WHY"], &rows).lines() {
            text += &format!("  {line}\n");
        }
        text
    }
}

impl Line {
    fn verdict(&self) -> Verdict {
        match (self.promised, self.state) {
            (_, State::Held) | (false, _) => Verdict::Ok,
            // A bound on each process by itself is less than one on all of them, and said so.
            (true, State::Weaker) if matches!(self.fence, Held::Memory | Held::ProcessCount | Held::End) => {
                Verdict::Warning
            }
            (true, State::Weaker | State::Absent) => Verdict::Failed,
        }
    }

    fn row(&self) -> Vec<String> {
        let promised = if self.promised { "yes" } else { "" };
        vec![name(self.fence), self.state.to_string(), promised.to_owned(), self.why.clone()]
    }
}

/// An error with its causes and its hint.
fn chain(error: &ExecError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let steps: Vec<String> =
        std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect();
    let hint = error.hint().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
    format!("{}{hint}", steps.join(": "))
}

/// The word for a fence, as in JSON.
fn name(fence: Held) -> String {
    let word = serde_json::to_value(fence).ok();
    word.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().replace('_', " ")
}

fn lines(fence: &Fence, assessment: &Assessment, limits: &Limits) -> Vec<Line> {
    let lines = assessment.fences.iter().map(|held| Line {
        fence: held.fence,
        state: held.state,
        promised: is_promised(fence, held.fence, limits),
        why: held.why.clone(),
    });
    lines.collect()
}

fn is_promised(fence: &Fence, held: Held, limits: &Limits) -> bool {
    let quota = quota(fence, limits);
    match held {
        Held::End => true,
        Held::Memory => quota.memory_bytes.is_some(),
        Held::ProcessCount => quota.processes.is_some(),
        Held::Cpu => quota.cpu_percent.is_some(),
        Held::Network => fence.is_confined() && fence.network.is_none(),
        other => fence.is_confined() && PROMISED.contains(&other),
    }
}

#[cfg(test)]
mod tests {
    use hayward_api::fence::{Network, Profile, Quota};

    use super::*;

    fn confined() -> Fence {
        Fence { profile: Profile::Confined, ..Fence::default() }
    }

    #[test]
    fn only_what_was_asked_for_is_promised() {
        let limits = Limits::default();
        let promised = |fence: &Fence, held| is_promised(fence, held, &limits);
        let (full, online) = (Fence::default(), Fence { network: Network::Shared, ..confined() });
        assert!(!promised(&full, Held::Reads) && promised(&confined(), Held::Reads));
        assert!(promised(&confined(), Held::Network) && !promised(&online, Held::Network));
        assert!(!promised(&confined(), Held::Attributes));
        let bound = Fence { quota: Quota { cpu_percent: Some(5), ..Quota::default() }, ..full.clone() };
        assert!(promised(&bound, Held::Cpu) && !promised(&full, Held::Cpu));
        let limits = Limits { bash_processes_max: 7, ..limits };
        assert!(is_promised(&full, Held::ProcessCount, &limits));
    }

    #[test]
    fn what_is_promised_and_not_held_fails() {
        let verdict = |fence, state, promised| Line { fence, state, promised, why: String::new() }.verdict();
        for (fence, state, promised, expect) in [
            (Held::Reads, State::Held, true, Verdict::Ok),
            (Held::Reads, State::Absent, false, Verdict::Ok),
            (Held::Reads, State::Weaker, true, Verdict::Failed),
            (Held::Cpu, State::Absent, true, Verdict::Failed),
            (Held::Memory, State::Weaker, true, Verdict::Warning),
            (Held::End, State::Weaker, true, Verdict::Warning),
        ] {
            assert_eq!(verdict(fence, state, promised), expect, "{fence:?} {state:?} {promised}");
        }
    }

    #[test]
    fn equal_fences_are_tried_once() {
        let fences = of(confined(), &[]);
        assert_eq!(fences.len(), 2);
        assert_eq!(of(Fence::default(), &[])[0].0.len(), 2);
        assert_eq!(name(Held::SystemCalls), "system calls");
    }
}
