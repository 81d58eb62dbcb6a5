//! Fences of single tools: what they take away from whoever calls these.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Fence;
use super::narrow::{Apart, Ground};
use crate::error::{Code, Error};
use crate::names::{ToolName, is_plain};

/// Fences of tools of one token, or of one server.
pub const TOOL_FENCES_MAX: usize = 32;

/// Bytes of the name that a server of others calls a tool by.
const OWN_BYTES_MAX: usize = 128;

/// Fences by the tools that they are for. Where several are for one tool, all of them hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ToolFences(BTreeMap<ToolPattern, Fence>);

/// The name of a tool of this machine, or with `*` at its end what names begin with. One of a server of others is named with
/// its server, `server/tool`, by the name that its server calls it by; `*` alone means every tool of all of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ToolPattern(String);

impl ToolPattern {
    /// Reads a name, or the beginning of names and `*`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let name = text.strip_suffix('*').unwrap_or(text);
        let is_of_server = |(server, own): (&str, &str)| {
            let is_own = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/');
            is_plain(server) && own.len() <= OWN_BYTES_MAX && own.bytes().all(is_own) && !text.ends_with('/')
        };
        let is_pattern =
            text == "*" || ToolName::parse(name).is_ok() || name.split_once('/').is_some_and(is_of_server);
        is_pattern.then(|| Self(text.to_owned())).ok_or_else(|| {
            let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
            Error::new(Code::Invalid, format!("invalid name of a tool `{shown}`"))
                .with_hint("name a tool, e.g. bash_execute, or what names begin with and `*`; one of another server as server/tool")
        })
    }

    /// The text that it was read from.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the tool of this machine of this name is meant.
    pub fn matches(&self, tool: &str) -> bool {
        self.0.strip_suffix('*').map_or(self.0 == tool, |start| tool.starts_with(start))
    }

    /// Whether this tool of another server is meant.
    pub fn matches_of(&self, server: &str, own: &str) -> bool {
        if self.0 == "*" {
            return true;
        }
        let Some((of, pattern)) = self.0.split_once('/') else { return false };
        of == server && pattern.strip_suffix('*').map_or(pattern == own, |start| own.starts_with(start))
    }

    /// Whether it can only mean tools of another server.
    fn is_of_server(&self) -> bool {
        self.0.contains('/')
    }
}

impl TryFrom<String> for ToolPattern {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        Self::parse(&text)
    }
}

impl From<ToolPattern> for String {
    fn from(pattern: ToolPattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for ToolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ToolFences {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one; refused if one is for the same tools already.
    pub fn add(&mut self, tool: ToolPattern, fence: Fence) -> Result<(), Error> {
        if self.0.contains_key(&tool) {
            let message = format!("tool `{tool}` has two fences");
            return Err(Error::new(Code::Invalid, message).with_hint("say all of it in one"));
        }
        self.0.insert(tool, fence);
        Ok(())
    }

    /// Each with the tools that it is for.
    pub fn iter(&self) -> impl Iterator<Item = (&ToolPattern, &Fence)> {
        self.0.iter()
    }

    /// Those that are for this tool.
    pub fn of<'a>(&'a self, tool: &str) -> impl Iterator<Item = &'a Fence> {
        self.0.iter().filter(move |(pattern, _)| pattern.matches(tool)).map(|(_, fence)| fence)
    }

    /// Refuses what can't be meant.
    pub fn check(&self) -> Result<(), Error> {
        if self.0.len() > TOOL_FENCES_MAX {
            return Err(Error::new(Code::Invalid, format!("more than {TOOL_FENCES_MAX} fences of tools"))
                .with_hint("name a family of tools, e.g. `read_*`"));
        }
        self.0.iter().try_for_each(|(tool, fence)| check(tool, fence))
    }
}

/// What is left of a fence to whoever calls a tool for which there are these.
pub fn narrowed<'a>(
    own: &Fence,
    tool: impl IntoIterator<Item = &'a Fence>,
    ground: &Ground,
) -> Result<Fence, Apart> {
    tool.into_iter().try_fold(own.clone(), |left, tool| left.narrowed(tool, ground))
}

fn check(tool: &ToolPattern, fence: &Fence) -> Result<(), Error> {
    if tool.is_of_server() {
        let message = format!("the fence of `{tool}` would reach nothing");
        return Err(Error::new(Code::Invalid, message)
            .with_hint("a server of others has the fence that its definition says"));
    }
    if fence.is_default() {
        let message = format!("the fence of tool `{tool}` takes nothing away");
        return Err(Error::new(Code::Invalid, message).with_hint(
            "say what the tool is kept to, e.g. profile=confined and its roots, or leave it out",
        ));
    }
    fence.check().map_err(|error| Error { message: format!("tool `{tool}`: {}", error.message), ..error })
}

/// What they say, in a line.
impl fmt::Display for ToolFences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(at, (tool, fence))| {
            let before = if at == 0 { "" } else { "; " };
            write!(f, "{before}{tool}: {fence}")
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<ToolFences, String> {
        let fences: ToolFences = serde_json::from_value(value).map_err(|error| error.to_string())?;
        fences.check().map_err(|error| error.to_string())?;
        Ok(fences)
    }

    #[test]
    fn a_name_means_one_tool_and_a_star_at_its_end_a_family() {
        for (pattern, tool, expect) in [
            ("read_file", "read_file", true),
            ("read_file", "read_files", false),
            ("read_*", "read_file", true),
            ("read_*", "write_file", false),
            ("read_file*", "read_file", true),
            ("*", "grep", true),
        ] {
            assert_eq!(ToolPattern::parse(pattern).unwrap().matches(tool), expect, "{pattern} {tool}");
        }
        for (pattern, server, own, expect) in [
            ("time/now", "time", "now", true),
            ("time/now", "time", "now2", false),
            ("time/*", "time", "a.b/c", true),
            ("time/get_*", "time", "get_now", true),
            ("time/get_*", "times", "get_now", false),
            ("*", "time", "now", true),
            // What a server calls its tools decides nothing.
            ("read_*", "time", "read_file", false),
            ("now", "time", "now", false),
        ] {
            assert_eq!(
                ToolPattern::parse(pattern).unwrap().matches_of(server, own),
                expect,
                "{pattern} {own}"
            );
        }
        assert!(!ToolPattern::parse("time/now").unwrap().matches("now"));
        for bad in ["", "*file", "a*b", "**", "a b", "a.b*", "ä", "/x", "a/", "a b/c", "a/b c", "*/x", "a/*b"]
        {
            let error = ToolPattern::parse(bad).unwrap_err();
            assert!(error.code == Code::Invalid && error.hint.is_some(), "{bad}");
        }
    }

    #[test]
    fn they_are_written_as_they_were_read_and_shown_in_a_line() {
        let said = json!({
            "bash_execute": {"profile": "confined", "roots": ["/srv"]},
            "read_*": {"profile": "confined", "readOnly": ["/srv/docs"]},
        });
        let fences = read(said.clone()).unwrap();
        assert_eq!(json!(fences), said);
        assert_eq!(
            fences.to_string(),
            "bash_execute: confined, changes /srv; read_*: confined, reads /srv/docs"
        );
        assert_eq!((fences.of("bash_execute").count(), fences.of("grep").count()), (1, 0));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let many: serde_json::Map<String, Value> = (0..=TOOL_FENCES_MAX)
            .map(|at| (format!("t{at}"), json!({"profile": "full", "quota": {"processes": 9}})))
            .collect();
        for bad in [
            json!({"bash_execute": {"profile": "full"}}),
            json!({"time/now": {"profile": "confined", "roots": ["/srv"]}}),
            json!({"bash_execute": {"profile": "full", "roots": ["/srv"]}}),
            json!({"bash_execute": {"profile": "confined", "root": ["/srv"]}}),
            json!({"bash_execute": {"profile": "confined", "roots": ["srv"]}}),
            json!({"bash execute": {"profile": "confined"}}),
            json!({"bash_execute": null}),
            json!([]),
            json!(many),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
        let mut fences = read(json!({"grep": {"profile": "confined"}})).unwrap();
        let again = fences.add(ToolPattern::parse("grep").unwrap(), Fence::default());
        assert!(again.is_err() && fences.add(ToolPattern::parse("glob").unwrap(), Fence::default()).is_ok());
    }

    #[test]
    fn where_several_are_for_a_tool_all_of_them_hold() {
        let fences = read(json!({
            "*": {"profile": "full", "quota": {"processes": 9}},
            "bash_execute": {"profile": "confined", "roots": ["/srv/a"]},
            "bash_*": {"profile": "confined", "roots": ["/srv"], "network": "shared"},
        }))
        .unwrap();
        let left = narrowed(&Fence::default(), fences.of("bash_execute"), &Ground::default()).unwrap();
        assert_eq!(left.to_string(), "confined, changes /srv/a, processes 9");
        let left = narrowed(&Fence::default(), fences.of("grep"), &Ground::default()).unwrap();
        assert_eq!(left.to_string(), "full, processes 9");
    }
}
