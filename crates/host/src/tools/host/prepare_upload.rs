//! `prepare_upload`: makes a ticket under which one file can be sent here, past the calls.

use std::sync::Arc;
use std::time::Duration;

use hayward_api::{Code, Tier};
use hayward_tool::{Annotations, Caller, Cx, Direction, ToolError, TypedTool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::path_said;
use crate::fs::{Fs, FsError, Overwrite};
use crate::host::Host;
use crate::transfers::{Minted, Order, lifetime, mint, switched_off};

/// What a model is told to do with the ticket.
const INSTRUCTIONS: &str = "Run the curl above from the MCP client's local shell. The file's raw bytes go in the \
    request body. On success the server returns {\"ok\": true, \"path\": \"...\", \"bytes_written\": N}.";

/// And if that fails.
const ON_ERROR: &str = "The answer names what was wrong (error) and what to do (hint). If the stream broke off, ask \
    with `curl -I` how much has come (Upload-Offset), and send the rest with Content-Range: bytes FIRST-LAST/TOTAL. \
    If the ticket was used or has expired, call prepare_upload again.";

/// The tool.
pub(crate) struct PrepareUpload(pub(crate) Arc<Host>);

/// Make a one-time URL for sending a file to this machine with a plain HTTP PUT (for example curl -T), for binary
/// files and for those that are too large for `write_file`. The bytes do not pass through the conversation. The file
/// appears at `dest_path` at once when all of it has come; missing parent directories are created then.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PrepareUploadArgs {
    /// Absolute path that the file gets.
    dest_path: String,
    /// Bytes that it may have (default and at most 2147483648).
    #[serde(default)]
    max_bytes: Option<i64>,
    /// Seconds until the URL expires (default 300, at most 900).
    #[serde(default)]
    expires_in: Option<i64>,
    /// Whether a file that is there may be replaced (default true). It is checked again when the file comes.
    #[serde(default = "yes")]
    overwrite: bool,
    /// SHA-256 that the file must have, in hexadecimal; one that has another is thrown away.
    #[serde(default)]
    sha256: Option<String>,
}

fn yes() -> bool {
    true
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct PrepareUploadOutput {
    /// Always true.
    success: bool,
    /// Where to send the file; without a host if the server doesn't know under which address you reach it.
    url: String,
    /// PUT.
    method: &'static str,
    /// The ticket: whoever has it may send the file.
    ticket: String,
    /// Seconds until it expires.
    expires_in: u64,
    /// When that is (RFC 3339, UTC).
    expires_at: String,
    /// Bytes that the file may have.
    max_bytes: u64,
    /// The path that it gets.
    dest_path: String,
    /// A command that sends a file.
    curl_example: String,
    /// How to use it.
    instructions: &'static str,
    /// What to do if it fails.
    on_error: &'static str,
}

impl TypedTool for PrepareUpload {
    const NAME: &'static str = "prepare_upload";
    const TITLE: &'static str = "Prepare upload";
    const TIER: Tier = Tier::Operate;
    const ANNOTATIONS: Annotations =
        Annotations { read_only: false, destructive: true, idempotent: false, open_world: false };
    type Args = PrepareUploadArgs;
    type Output = PrepareUploadOutput;

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.0.limits.file_timeout_ms)
    }

    async fn run(
        &self,
        cx: &Cx,
        caller: &Caller,
        args: PrepareUploadArgs,
    ) -> Result<PrepareUploadOutput, ToolError> {
        let desk = self.0.desk.as_ref().ok_or_else(switched_off)?;
        let limits = &self.0.limits;
        let path = path_said("dest_path", &args.dest_path)?;
        let bytes_max = bytes_max(args.max_bytes, limits.transfer_bytes_max)?;
        let ttl = lifetime(args.expires_in, limits)?;
        let sha256 = args.sha256.as_deref().map(digest).transpose()?;
        let overwrite = if args.overwrite { Overwrite::Allow } else { Overwrite::Refuse };
        let target = path.clone();
        let work = move |fs: &Fs, _: &Cx| {
            let exists = fs.check_target(&target)?;
            if exists && overwrite == Overwrite::Refuse {
                return Err(FsError::Exists { path: target.as_path().to_owned() }.into());
            }
            Ok(())
        };
        self.0.on_files(cx, caller, work).await?;
        let order = Order {
            direction: Direction::Upload,
            path,
            shown: args.dest_path.clone(),
            caller: caller.clone(),
            bytes_max,
            overwrite,
            sha256,
            version: None,
        };
        let Minted { url, ticket, expires_in, expires_at, reachable } = mint(desk, order, ttl)?;
        Ok(PrepareUploadOutput {
            success: true,
            url,
            method: Direction::Upload.method(),
            ticket,
            expires_in,
            expires_at,
            max_bytes: bytes_max,
            dest_path: args.dest_path,
            curl_example: format!("curl -fsS -T /local/path/to/file '{reachable}'"),
            instructions: INSTRUCTIONS,
            on_error: ON_ERROR,
        })
    }
}

fn bytes_max(given: Option<i64>, most: u64) -> Result<u64, ToolError> {
    match given.map(u64::try_from) {
        None => Ok(most),
        Some(Ok(bytes)) if bytes > 0 => Ok(bytes.min(most)),
        Some(_) => Err(ToolError::new("InvalidMaxBytes", Code::Invalid, "max_bytes must be positive.")
            .suggest("Leave it out, or say how many bytes the file has")),
    }
}

fn digest(text: &str) -> Result<[u8; 32], ToolError> {
    let bad = || {
        ToolError::new("InvalidSha256", Code::Invalid, "sha256 must be 64 hexadecimal digits.")
            .suggest("Take the first word that `sha256sum FILE` prints")
    };
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex {
        return Err(bad());
    }
    let mut digest = [0; 32];
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| bad())?;
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_64_hexadecimal_digits() {
        let text = format!("{}fF", "00".repeat(31));
        assert_eq!(digest(&text).unwrap()[31], 0xff);
        for bad in ["", "ff", &"g".repeat(64), &"ä".repeat(32), &format!("+f{}", "0".repeat(62))] {
            assert_eq!(digest(bad).unwrap_err().code, "InvalidSha256", "{bad}");
        }
    }

    #[test]
    fn a_size_is_positive_and_cut_to_what_the_server_takes() {
        assert_eq!((bytes_max(None, 9).unwrap(), bytes_max(Some(99), 9).unwrap()), (9, 9));
        for bad in [0, -1, i64::MIN] {
            assert_eq!(bytes_max(Some(bad), 9).unwrap_err().message, "max_bytes must be positive.");
        }
    }
}
