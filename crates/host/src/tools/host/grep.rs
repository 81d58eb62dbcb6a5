//! `grep`: searches the content of files, with ripgrep's rules and in its format.

mod lines;
mod patterns;
mod search;
mod sink;

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use grep_regex::RegexMatcher;
use hayward_api::{Code, Tier};
use hayward_tool::{Annotations, Caller, Cx, ToolError, TypedTool};
use ignore::overrides::{Override, OverrideBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{clamp, path_of};
use crate::fs::{AbsPath, Fs};
use crate::host::Host;
use crate::limits::{GLOB_BRACES_MAX, Limits, has_too_many_braces, size};
use lines::Limit;
use patterns::Patterns;
use search::Search;

/// The tool.
pub(crate) struct Grep {
    host: Arc<Host>,
    patterns: Arc<Patterns>,
}

impl Grep {
    pub(crate) fn new(host: Arc<Host>) -> Self {
        Self { host, patterns: Arc::default() }
    }
}

/// Search the content of files with a regular expression (Rust syntax: no look-around, no
/// backreferences), line by line. Hidden files, binary files and what .gitignore excludes are left
/// out; naming one file searches it in any case. Results are ordered by path and end with a
/// [TRUNCATED: …] line if there are more.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrepArgs {
    /// The regular expression.
    pattern: String,
    /// Absolute path of the file or directory to search (default /). Choose it as deep as you can.
    #[serde(default)]
    path: Option<String>,
    /// Only files whose name matches this glob, such as *.rs or *.{ts,tsx}; !*.log leaves out.
    #[serde(default)]
    glob: Option<String>,
    /// What to return: content (lines as path:number:text; default), files (paths), count
    /// (path:number of matching lines).
    #[serde(default)]
    output_mode: OutputMode,
    /// Lines to show before and after each match (default 0). Only for content.
    #[serde(default)]
    context_lines: i64,
    /// How many lines to return (default 500, at most 5000).
    #[serde(default)]
    max_results: Option<i64>,
    /// Ignore upper and lower case (default false).
    #[serde(default)]
    case_insensitive: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OutputMode {
    #[default]
    Content,
    Files,
    Count,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct GrepOutput {
    /// The lines, joined by line feeds.
    results: String,
    /// How many lines of output there are; at least so many if they are truncated.
    match_count: usize,
}

impl TypedTool for Grep {
    const NAME: &'static str = "grep";
    const TITLE: &'static str = "Search file contents";
    const TIER: Tier = Tier::Read;
    const ANNOTATIONS: Annotations = Annotations::READS;
    type Args = GrepArgs;
    type Output = GrepOutput;

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.host.limits.file_timeout_ms)
    }

    async fn run(&self, cx: &Cx, caller: &Caller, args: GrepArgs) -> Result<GrepOutput, ToolError> {
        let path = args.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
        let path = path_of("path", path)?;
        let (limits, patterns) = (self.host.limits.clone(), Arc::clone(&self.patterns));
        self.host.on_files(cx, caller, move |fs, cx| grep((fs, &limits), &patterns, cx, &path, &args)).await
    }
}

fn grep(
    (fs, limits): (&Fs, &Limits),
    patterns: &Patterns,
    cx: &Cx,
    path: &AbsPath,
    args: &GrepArgs,
) -> Result<GrepOutput, ToolError> {
    let context = u64::try_from(args.context_lines).unwrap_or(0).min(limits.grep_context_lines_max);
    let search = Search {
        cx,
        matcher: matcher(patterns, args, limits)?,
        mode: args.output_mode,
        context: if args.output_mode == OutputMode::Content { size(context) } else { 0 },
        limit: Limit {
            lines: size(clamp(args.max_results, limits.grep_results, limits.grep_results_max)),
            bytes: size(limits.grep_bytes_max),
            line_bytes: size(limits.grep_line_bytes_max),
        },
        buffer_bytes_max: size(limits.grep_buffer_bytes_max),
    };
    let threads = available_parallelism().map_or(1, NonZero::get).min(size(limits.search_threads_max));
    let filter = filter(args, path)?;
    let lines = search.run(fs, path, filter, threads)?;
    let (results, match_count) = lines.join();
    Ok(GrepOutput { results, match_count })
}

fn matcher(patterns: &Patterns, args: &GrepArgs, limits: &Limits) -> Result<RegexMatcher, ToolError> {
    patterns.compile(&args.pattern, args.case_insensitive, limits).map_err(|error| {
        ToolError::new("InvalidRegex", Code::Invalid, error.to_string())
            .suggest("Escape special characters with \\, and use neither look-around nor line feeds")
    })
}

/// The glob of the caller, held against paths relative to the directory that is searched.
fn filter(args: &GrepArgs, path: &AbsPath) -> Result<Override, ToolError> {
    let Some(glob) = args.glob.as_deref().filter(|glob| !glob.is_empty()) else {
        return Ok(Override::empty());
    };
    if has_too_many_braces(glob) {
        let message = format!("glob has more than {GLOB_BRACES_MAX} opening braces");
        return Err(ToolError::new("InvalidPattern", Code::Invalid, message)
            .suggest("Name the files with fewer alternatives, or search several times"));
    }
    let mut builder = OverrideBuilder::new(path.as_path());
    builder.add(glob).and_then(|builder| builder.build()).map_err(|error| {
        ToolError::new("InvalidPattern", Code::Invalid, format!("glob {error}"))
            .suggest("Use *, ?, [abc], {a,b} and ** as in src/**/*.rs")
    })
}

/// A file that stops to be read when its call has to stop.
struct Stopping<'a> {
    file: File,
    cx: &'a Cx,
}

impl Read for Stopping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.cx.stop() {
            Some(_) => Err(io::ErrorKind::TimedOut.into()),
            None => self.file.read(buffer),
        }
    }
}
