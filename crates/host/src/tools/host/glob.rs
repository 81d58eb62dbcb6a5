//! `glob`: finds paths by pattern, newest first.

mod newest;
mod pattern;
mod search;

use std::sync::Arc;
use std::time::Duration;

use hayward_api::{Code, Tier};
use hayward_tool::{Annotations, Caller, Cx, ToolError, TypedTool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::path_of;
use crate::fs::{AbsPath, Fs};
use crate::host::Host;
use crate::limits::{Limits, size};
use pattern::{Pattern, PatternDefect, split_start};

/// The tool.
pub(crate) struct Glob(pub(crate) Arc<Host>);

/// Find files and directories by name pattern, newest first. In a pattern, * and ? match within a
/// name, [abc] one of these, {a,b} either, and ** as a whole component any number of directories:
/// **/*.py finds Python files at any depth. Names that start with a dot are found only if the pattern
/// names the dot. Returns at most 1000 paths and how many there are.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GlobArgs {
    /// The pattern, relative to path, such as **/*.log or src/*/mod.rs.
    pattern: String,
    /// Absolute path of the directory to start from (default /). Choose it as deep as you can.
    #[serde(default)]
    path: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct GlobOutput {
    /// The newest paths that match.
    files: Vec<String>,
    /// How many paths match.
    count: u64,
    /// Whether there are more than those returned.
    truncated: bool,
}

impl TypedTool for Glob {
    const NAME: &'static str = "glob";
    const TITLE: &'static str = "Find files";
    const TIER: Tier = Tier::Read;
    const ANNOTATIONS: Annotations = Annotations::READS;
    type Args = GlobArgs;
    type Output = GlobOutput;

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.0.limits.file_timeout_ms)
    }

    async fn run(&self, cx: &Cx, caller: &Caller, args: GlobArgs) -> Result<GlobOutput, ToolError> {
        let path = args.path.filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned());
        let base = path_of("path", &path)?;
        if args.pattern.contains('\0') {
            return Err(refused(&PatternDefect::Nul));
        }
        let (start, pattern) = split_start(&args.pattern);
        // Who has roots can't begin above them, and needs not: what leads there has no wildcards.
        let (base, pattern) = match start {
            Some(start) if caller.principal.fence.is_confined() => (path_of("pattern", start)?, pattern),
            _ => (base, args.pattern.as_str()),
        };
        let pattern = Pattern::parse(pattern).map_err(|defect| refused(&defect))?;
        let limits = self.0.limits.clone();
        self.0.on_files(cx, caller, move |fs, cx| find(fs, &limits, cx, &base, &pattern)).await
    }
}

fn find(
    fs: &Fs,
    limits: &Limits,
    cx: &Cx,
    base: &AbsPath,
    pattern: &Pattern,
) -> Result<GlobOutput, ToolError> {
    let base = pattern.base(base);
    // Where nobody has roots, a directory that isn't there simply holds nothing.
    if fs.is_narrow() {
        fs.look(&base)?;
    }
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let search = search::Search {
        cx,
        fence: fs.fence(),
        pattern,
        results_max: size(limits.glob_results_max),
        threads: threads.min(size(limits.search_threads_max)),
    };
    let found = search.run(base.as_path())?;
    let (files, count) = found.into_sorted();
    Ok(GlobOutput { truncated: count > files.len() as u64, files, count })
}

fn refused(defect: &PatternDefect) -> ToolError {
    ToolError::new("InvalidPattern", Code::Invalid, format!("pattern {defect}"))
        .suggest("Use *, ?, [abc], {a,b} and ** as in **/*.py")
}
