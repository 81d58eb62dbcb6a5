//! `read_file`: a page of numbered lines, in memory that doesn't grow with the file.

mod page;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::time::Duration;

use hayward_api::Tier;
use hayward_tool::{Annotations, Caller, Cx, Stop, ToolError, TypedTool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{clamp, path_of};
use crate::fs::{AbsPath, Fs, FsError};
use crate::host::Host;
use crate::limits::{CHUNK_BYTES, size};
use page::{Page, Window};

/// What a page is expected to have at most; a larger one grows.
const PAGE_BYTES_GUESS: usize = 256 << 10;

/// The tool.
pub(crate) struct ReadFile(pub(crate) Arc<Host>);

/// Read a text file as numbered lines: the number, a tab, the line. Long files come in pages: if
/// truncated is true, call again with a higher offset. Lines of more than 32 KiB are cut and end with
/// [LINE TRUNCATED]; bytes that aren't UTF-8 are shown as U+FFFD. Reads regular files only.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadFileArgs {
    /// Absolute path of the file.
    file_path: String,
    /// The first line to return, from 1 (default 1).
    #[serde(default)]
    offset: Option<i64>,
    /// How many lines to return (default 2000, at most 50000).
    #[serde(default)]
    limit: Option<i64>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct ReadFileOutput {
    /// The lines, each with its number and a tab before it.
    content: String,
    /// How many lines the file has.
    total_lines: u64,
    /// Whether lines follow after those returned.
    truncated: bool,
    /// Where to go on if the page was full before `limit` lines; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_offset: Option<u64>,
    /// True if time ran out while lines were counted, so that there are at least `total_lines`;
    /// absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    total_lines_is_lower_bound: Option<bool>,
}

impl TypedTool for ReadFile {
    const NAME: &'static str = "read_file";
    const TITLE: &'static str = "Read file";
    const TIER: Tier = Tier::Read;
    const ANNOTATIONS: Annotations = Annotations::READS;
    type Args = ReadFileArgs;
    type Output = ReadFileOutput;

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.0.limits.file_timeout_ms)
    }

    async fn run(&self, cx: &Cx, caller: &Caller, args: ReadFileArgs) -> Result<ReadFileOutput, ToolError> {
        let path = path_of("file_path", &args.file_path)?;
        let limits = &self.0.limits;
        let window = Window {
            first: clamp(args.offset, 1, u64::MAX),
            lines: clamp(args.limit, limits.read_lines, limits.read_lines_max),
            line_bytes_max: size(limits.read_line_bytes_max),
            page_bytes_max: size(limits.read_page_bytes_max),
        };
        if let Some(content) = self.0.unfenced(caller).and_then(|fs| fs.read_cached(&path)) {
            return Ok(page_of(&content, window));
        }
        self.0.on_files(cx, caller, move |fs, cx| Ok(read(fs, cx, &path, window)?)).await
    }
}

fn read(fs: &Fs, cx: &Cx, path: &AbsPath, window: Window) -> Result<ReadFileOutput, FsError> {
    let (file, stat) = fs.open_file(path)?;
    // A byte more than the file seems to have, so that its end is seen with the next read at once.
    let bytes = usize::try_from(stat.st_size).unwrap_or(CHUNK_BYTES).saturating_add(1);
    let mut chunk = vec![0; bytes.clamp(4 << 10, CHUNK_BYTES)];
    let mut page = Page::new(window, bytes.min(PAGE_BYTES_GUESS) / 4 * 5);
    let is_cut_short = loop {
        let count = read_chunk(&file, &mut chunk, path)?;
        if count == 0 {
            break false;
        }
        page.take(&chunk[..count]);
        match cx.stop() {
            Some(Stop::Deadline) if page.is_complete() => break true,
            Some(stop) => return Err(stop.into()),
            None => {}
        }
    };
    Ok(output(page, is_cut_short))
}

/// A page of a file that was read as a whole.
fn page_of(content: &[u8], window: Window) -> ReadFileOutput {
    let mut page = Page::new(window, content.len() / 4 * 5);
    if !content.is_empty() {
        page.take(content);
    }
    output(page, false)
}

fn read_chunk(mut file: &File, chunk: &mut [u8], path: &AbsPath) -> Result<usize, FsError> {
    loop {
        match file.read(chunk) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read.map_err(|error| FsError::of_io("read", path.as_path(), &error)),
        }
    }
}

fn output(page: Page, is_cut_short: bool) -> ReadFileOutput {
    let page = page.finish();
    ReadFileOutput {
        truncated: is_cut_short || page.next < page.total_lines + 1,
        next_offset: page.is_full.then_some(page.next),
        total_lines_is_lower_bound: is_cut_short.then_some(true),
        content: page.content,
        total_lines: page.total_lines,
    }
}
