//! Fences of tools as they are asked for on the command line: in the words of the options for a token's, without `--`.

use std::path::Path;
use std::str::FromStr;

use clap::Parser;
use hayward_api::error::did_you_mean;
use hayward_api::fence::tools::{ToolFences, ToolPattern};
use hayward_api::{Code, Error, Fence};
use hayward_host::TOOL_NAMES;

use super::{FenceArgs, checked, invalid};
use crate::failure::Failure;

/// How one is written.
const FORM: &str = "write e.g. bash_execute:profile=confined,root=/srv/app,memory=512MiB";

/// The fence of a tool, or of a family of tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToolFenceArg {
    tool: ToolPattern,
    fence: Fence,
}

/// The options of a fence, read from their words.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_version_flag = true)]
struct Words {
    #[command(flatten)]
    fence: FenceArgs,
}

impl FromStr for ToolFenceArg {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (tool, words) =
            text.split_once(':').ok_or_else(|| invalid("a tool without a fence").with_hint(FORM))?;
        let tool = ToolPattern::parse(tool.trim())?;
        known(&tool)?;
        let options = words.split(',').map(|word| format!("--{}", word.trim()));
        let words = Words::try_parse_from(options).map_err(|error| unread(&tool, &error))?;
        let fence = words.fence.fence()?;
        let mut alone = ToolFences::default();
        alone.add(tool.clone(), fence.clone())?;
        alone.check()?;
        Ok(Self { tool, fence })
    }
}

/// Reads one from the command line: what it says is told together with the way out.
pub(crate) fn tool_fence(text: &str) -> Result<ToolFenceArg, String> {
    text.parse().map_err(|error: Error| match error.hint {
        Some(hint) => format!("{}; hint: {hint}", error.message),
        None => error.message,
    })
}

/// The fences that were asked for, together. Only [`checked_tools`] knows whether this machine can grant them.
pub(crate) fn together(args: &[ToolFenceArg]) -> Result<ToolFences, Failure> {
    let mut fences = ToolFences::default();
    let added = args.iter().try_for_each(|arg| fences.add(arg.tool.clone(), arg.fence.clone()));
    let checked = added.and_then(|()| fences.check());
    checked.map_err(|error| Failure { exit_code: Failure::USAGE, ..error.into() })?;
    Ok(fences)
}

/// These fences with the real paths of their roots, if there are such tools and if they can be granted on this machine
/// by a daemon of this data directory.
pub(crate) fn checked_tools(fences: &ToolFences, data_dir: &Path) -> Result<ToolFences, Error> {
    fences.check()?;
    let mut real = ToolFences::default();
    for (tool, fence) in fences.iter() {
        known(tool)?;
        let fence = checked(fence, data_dir)
            .map_err(|error| Error { message: format!("tool `{tool}`: {}", error.message), ..error })?;
        real.add(tool.clone(), fence)?;
    }
    Ok(real)
}

/// Whether a tool of this machine is meant: no others run commands or reach files.
pub(crate) fn is_known(tool: &ToolPattern) -> bool {
    TOOL_NAMES.iter().any(|name| tool.matches(name))
}

/// Refuses what is no tool of this machine: a fence for a misspelt one would hold nothing, and a token that is bound to one
/// could call nothing.
pub(crate) fn known(tool: &ToolPattern) -> Result<(), Error> {
    if is_known(tool) {
        return Ok(());
    }
    let hint = match did_you_mean(tool.as_str().trim_end_matches('*'), TOOL_NAMES) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("there are {}", TOOL_NAMES.join(", ")),
    };
    Err(Error::new(Code::Invalid, format!("unknown tool `{tool}`")).with_hint(hint))
}

/// What the parser says of words that it can't read, as they were written.
fn unread(tool: &ToolPattern, error: &clap::Error) -> Error {
    let told = error.to_string();
    let line = told.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line).replace("'--", "'");
    invalid(format!("the fence of tool `{tool}`: {line}")).with_hint(FORM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_of_a_tool_is_said_in_the_words_of_the_options() {
        let read = |text: &str| {
            let ToolFenceArg { tool, fence } = text.parse().unwrap();
            format!("{tool}: {fence}")
        };
        for (text, expect) in [
            (
                "bash_execute:profile=confined,root=/srv/a,root=/srv/b,read-only=/opt,allow-network,memory=512MiB",
                "bash_execute: confined, changes /srv/a /srv/b, reads /opt, network, memory 512 MiB",
            ),
            ("read_*: profile=confined, root=/srv", "read_*: confined, changes /srv"),
            ("*:processes=9,cpu=50,file-size=1G", "*: full, processes 9, cpu 50 %, files 1 GiB"),
            ("grep:profile=confined,run-as=7:8", "grep: confined, as 7:8"),
        ] {
            assert_eq!(read(text), expect);
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_way_out() {
        for (text, expect) in [
            ("bash_execute", "hint: write e.g. bash_execute:profile"),
            ("bash_exec:profile=confined", "unknown tool `bash_exec`; hint: did you mean `bash_execute`?"),
            ("file_*:profile=confined", "unknown tool `file_*`; hint: "),
            ("x:profile=confined", "hint: there are bash_execute, read_file"),
            ("a b:profile=confined", "invalid name of a tool"),
            ("grep:", "takes nothing away; hint: say what"),
            ("grep:profile=full", "takes nothing away; hint: "),
            ("grep:profile=half", "invalid value 'half' for 'profile"),
            ("grep:profile=confined,profile=full", "cannot be used multiple times"),
            ("grep:root=/srv", "hint: choose the profile `confined`"),
            ("grep:profile=confined,root=srv", "hint: a root is an absolute path"),
            ("grep:profile=confined,root=/srv,read-only=/srv", "both changed and read only"),
            ("grep:profile=confined,roots=/srv", "unexpected argument 'roots'"),
            ("grep:profile=confined,network=none", "unexpected argument 'network'"),
            ("grep:profile=confined,memory=lots", "no size such as 512MiB"),
            ("grep:profile=confined,allow-network=no", "unexpected value 'no'"),
            ("grep:profile=confined,run-as=0:0", "does not run as root"),
            ("grep:processes=1", "a bound of processes"),
        ] {
            let told = tool_fence(text).unwrap_err();
            assert!(told.contains(expect) && told.contains("hint: "), "{text}: {told}");
        }
    }

    #[test]
    fn two_fences_for_the_same_tools_are_refused_and_roots_are_real() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let one: ToolFenceArg = format!("grep:profile=confined,root={}", root.display()).parse().unwrap();
        let data = root.join("data");
        assert_eq!(together(&[one.clone(), one.clone()]).unwrap_err().exit_code, Failure::USAGE);
        let read = |arg| checked_tools(&together(&[arg]).unwrap(), &data);
        assert_eq!(read(one).unwrap().of("grep").next().unwrap().roots, std::slice::from_ref(&root));
        let gone: ToolFenceArg =
            format!("grep:profile=confined,root={}", root.join("none").display()).parse().unwrap();
        let error = read(gone).unwrap_err();
        assert!(error.message.starts_with("tool `grep`: root ") && error.hint.is_some(), "{error}");
    }
}
