//! The fences that somebody has, each tried out on this machine.

use hayward_api::Fence;
use hayward_api::fence::narrow::Apart;
use hayward_api::fence::tools::{ToolFences, narrowed};
use hayward_exec::{Assessment, ExecError, Executor, Fence as Held, State};
use hayward_gateway::Fencing;
use hayward_host::fence::{profile, quota};
use hayward_host::{Limits, TOOL_NAMES};
use hayward_store::TokenEntry;
use serde::Serialize;

use super::Verdict;
use crate::output;

/// What a confined command is kept to wherever it runs (SECURITY.md); the rest depends on the machine.
const PROMISED: [Held; 6] =
    [Held::Reads, Held::Writes, Held::Protected, Held::Sockets, Held::Privileges, Held::SystemCalls];

/// The tool that runs commands; the others are file tools.
const COMMANDS: &str = TOOL_NAMES[0];

/// A fence, who has it, and what it gets here.
#[derive(Serialize)]
pub(super) struct Fenced {
    /// Names of tokens, or whom else it is for.
    users: Vec<String>,
    fence: Fence,
    pub(super) verdict: Verdict,
    /// Why its commands don't run at all, or calls of its tools are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What was tried; nothing where no commands run under it.
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

/// A fence, and who has it.
pub(super) struct Had {
    users: Vec<String>,
    fence: Fence,
    /// Whether commands run under it.
    has_commands: bool,
    /// Why a tool is refused whose fence has nothing in common with this one.
    apart: Option<Apart>,
}

/// Each fence once, with who has it: `full`, that of whoever has none, and those of enabled tokens; and what tools
/// leave of them.
pub(super) fn of(common: &Fence, stored: &[TokenEntry], fencing: &Fencing) -> Vec<Had> {
    let none = ToolFences::default();
    let unnamed = ("temporary tokens and local clients".to_owned(), common, &none);
    let tokens = stored.iter().filter(|token| token.spec.enabled);
    let tokens = tokens
        .map(|token| (format!("token {}", token.metadata.name), &token.spec.fence, &token.spec.tool_fences));
    let had = |user: String, fence, has_commands| Had { users: vec![user], fence, has_commands, apart: None };
    let mut all = vec![had("any token with profile full".to_owned(), Fence::default(), true)];
    for (user, fence, own) in std::iter::once(unnamed).chain(tokens) {
        put(&mut all, had(user.clone(), fence.clone(), true));
        for tool in TOOL_NAMES {
            let user = format!("{user} with {tool}");
            match narrowed(fence, own.of(tool).chain(fencing.of_all.of(tool)), &fencing.ground) {
                Ok(left) if left == *fence => {}
                Ok(left) => put(&mut all, had(user, left, tool == COMMANDS)),
                Err(apart) => put(&mut all, Had { apart: Some(apart), ..had(user, fence.clone(), false) }),
            }
        }
    }
    all
}

fn put(all: &mut Vec<Had>, had: Had) {
    match all.iter_mut().find(|known| known.fence == had.fence && known.apart == had.apart) {
        Some(known) => {
            known.users.extend(had.users);
            known.has_commands |= had.has_commands;
        }
        None => all.push(had),
    }
}

impl Fenced {
    /// Finds out what a fence gets.
    pub(super) async fn try_out(executor: &Executor, had: Had, limits: &Limits) -> Self {
        let Had { users, fence, has_commands, apart } = had;
        if !has_commands {
            let verdict = if apart.is_some() { Verdict::Warning } else { Verdict::Ok };
            let error = apart.map(|apart| apart.to_string());
            return Self { users, fence, verdict, error, held: Vec::new() };
        }
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
            let what =
                if self.verdict == Verdict::Failed { "commands don't run" } else { "calls are refused" };
            text += &format!("  its {what}: {error}\n");
            return text;
        }
        if self.held.is_empty() {
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
    use hayward_api::fence::tools::ToolPattern;
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
        let fencing = Fencing::default();
        let fences = of(&confined(), &[], &fencing);
        assert_eq!(fences.len(), 2);
        assert_eq!(of(&Fence::default(), &[], &fencing)[0].users.len(), 2);
        assert_eq!(name(Held::SystemCalls), "system calls");
    }

    #[test]
    fn what_tools_leave_is_shown_beside_and_what_changes_nothing_is_not() {
        let (mut fencing, root) =
            (Fencing::default(), |root: &str| Fence { roots: vec![root.into()], ..confined() });
        for (tool, fence) in [("bash_execute", root("/srv/a")), ("read_*", root("/opt")), ("grep", root("/"))]
        {
            fencing.of_all.add(ToolPattern::parse(tool).unwrap(), fence).unwrap();
        }
        let all = of(&root("/srv"), &[], &fencing);
        let shown: Vec<_> =
            all.iter().map(|had| (had.users[0].as_str(), had.has_commands, had.apart.is_some())).collect();
        let user = "temporary tokens and local clients";
        let (commands, reads) = (format!("{user} with bash_execute"), format!("{user} with read_file"));
        assert_eq!(shown[1..], [(user, true, false), (&*commands, true, false), (&*reads, false, true)]);
    }
}
