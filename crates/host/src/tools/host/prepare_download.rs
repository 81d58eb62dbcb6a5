//! `prepare_download`: makes a ticket under which one file can be fetched from here, past the calls.

use std::sync::Arc;
use std::time::Duration;

use hayward_api::{Code, Tier};
use hayward_tool::{Annotations, Caller, Cx, Direction, Source, ToolError, TypedTool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::path_said;
use crate::fs::{Fs, FsError, Overwrite};
use crate::host::Host;
use crate::transfers::{Minted, Order, digest, find, lifetime, mint, switched_off};

/// What a model is told to do with the ticket.
const INSTRUCTIONS: &str = "Run the curl above from the MCP client's local shell. The file's raw bytes are the body \
    of the answer.";

/// And if that fails.
const ON_ERROR: &str = "The answer names what was wrong (error) and what to do (hint). If the stream broke off, run \
    the same command with `-C -` to go on. If the ticket was used or has expired, call prepare_download again.";

/// The tool.
pub(crate) struct PrepareDownload(pub(crate) Arc<Host>);

/// Make a one-time URL for fetching a file from this machine with a plain HTTP GET (for example curl -o), for binary
/// files and for those that are too large for `read_file`. The bytes do not pass through the conversation.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PrepareDownloadArgs {
    /// Absolute path of the file.
    src_path: String,
    /// Seconds until the URL expires (default 300, at most 900).
    #[serde(default)]
    expires_in: Option<i64>,
    /// Whether to tell the SHA-256 of the file, which reads all of it first (default false). The URL then serves
    /// exactly this version of the file.
    #[serde(default)]
    sha256: bool,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct PrepareDownloadOutput {
    /// Always true.
    success: bool,
    /// Where to fetch the file; without a host if the server doesn't know under which address you reach it.
    url: String,
    /// GET.
    method: &'static str,
    /// The ticket: whoever has it may fetch the file.
    ticket: String,
    /// Seconds until it expires.
    expires_in: u64,
    /// When that is (RFC 3339, UTC).
    expires_at: String,
    /// Bytes of the file.
    size: u64,
    /// Its path.
    src_path: String,
    /// Its SHA-256 in hexadecimal, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// A command that fetches it.
    curl_example: String,
    /// How to use it.
    instructions: &'static str,
    /// What to do if it fails.
    on_error: &'static str,
}

impl TypedTool for PrepareDownload {
    const NAME: &'static str = "prepare_download";
    const TITLE: &'static str = "Prepare download";
    const TIER: Tier = Tier::Read;
    const ANNOTATIONS: Annotations =
        Annotations { read_only: true, destructive: false, idempotent: false, open_world: false };
    type Args = PrepareDownloadArgs;
    type Output = PrepareDownloadOutput;

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.0.limits.file_timeout_ms)
    }

    async fn run(
        &self,
        cx: &Cx,
        caller: &Caller,
        args: PrepareDownloadArgs,
    ) -> Result<PrepareDownloadOutput, ToolError> {
        let desk = self.0.desk.as_ref().ok_or_else(switched_off)?;
        let path = path_said("src_path", &args.src_path)?;
        let ttl = lifetime(args.expires_in, &self.0.limits)?;
        let (wanted, source_path) = (args.sha256, path.clone());
        let work = move |fs: &Fs, cx: &Cx| {
            let (file, source) = find(fs, &source_path).map_err(not_there)?;
            let sha256 = wanted.then(|| digest(&file, &source_path, cx)).transpose()?;
            Ok((source, sha256))
        };
        let (Source { bytes, version, .. }, sha256) = self.0.on_files(cx, caller, work).await?;
        let order = Order {
            direction: Direction::Download,
            path,
            shown: args.src_path.clone(),
            caller: caller.clone(),
            bytes_max: bytes,
            overwrite: Overwrite::Refuse,
            sha256: None,
            version: sha256.is_some().then_some(version),
        };
        let Minted { url, ticket, expires_in, expires_at, reachable } = mint(desk, order, ttl)?;
        Ok(PrepareDownloadOutput {
            success: true,
            url,
            method: Direction::Download.method(),
            ticket,
            expires_in,
            expires_at,
            size: bytes,
            src_path: args.src_path,
            sha256: sha256.map(hexadecimal),
            curl_example: format!("curl -fsS '{reachable}' -o /local/path/to/file"),
            instructions: INSTRUCTIONS,
            on_error: ON_ERROR,
        })
    }
}

/// Why a file can't be fetched, in the words of the seed.
fn not_there(error: FsError) -> ToolError {
    let told = |code, kind, message: String| {
        ToolError::new(code, kind, message).suggest("Check the file path, or look for it with glob")
    };
    match error {
        FsError::NotFound { path } => {
            told("FileNotFound", Code::NotFound, format!("{} does not exist.", path.display()))
        }
        FsError::IsDirectory { path } | FsError::NotRegular { path, .. } => {
            told("NotARegularFile", Code::Invalid, format!("{} is not a regular file.", path.display()))
        }
        error => error.into(),
    }
}

fn hexadecimal(digest: [u8; 32]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _written = write!(text, "{byte:02x}");
        text
    })
}
