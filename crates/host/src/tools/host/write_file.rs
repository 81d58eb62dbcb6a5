//! `write_file`: makes a text all that a file holds.

use std::sync::Arc;
use std::time::Duration;

use hayward_api::{Code, Tier};
use hayward_tool::{Annotations, Caller, Cx, ToolError, TypedTool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{megabytes, path_of};
use crate::fs::{Fs, Written};
use crate::host::Host;
use crate::limits::size;

/// The tool.
pub(crate) struct WriteFile(pub(crate) Arc<Host>);

/// Create a file or overwrite it as a whole. Missing parent directories are created. The change is
/// atomic: a reader sees the old content or the new one. Owner, mode and attributes of an existing
/// file are kept; a symbolic link is followed. To change a part of a file use `edit_file`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteFileArgs {
    /// Absolute path of the file.
    file_path: String,
    /// The whole new content (UTF-8, at most 10 MiB).
    content: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct WriteFileOutput {
    /// Always true.
    success: bool,
    /// Bytes that the file has now.
    bytes_written: usize,
    /// False if the file had to be overwritten where it stands (it has several names, is mounted, or
    /// its directory isn't writable), so that readers may have seen a part; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    atomic: Option<bool>,
}

impl TypedTool for WriteFile {
    const NAME: &'static str = "write_file";
    const TITLE: &'static str = "Write file";
    const TIER: Tier = Tier::Operate;
    const ANNOTATIONS: Annotations =
        Annotations { read_only: false, destructive: true, idempotent: true, open_world: false };
    type Args = WriteFileArgs;
    type Output = WriteFileOutput;

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.0.limits.file_timeout_ms)
    }

    async fn run(&self, cx: &Cx, caller: &Caller, args: WriteFileArgs) -> Result<WriteFileOutput, ToolError> {
        let path = path_of("file_path", &args.file_path)?;
        let (bytes, bytes_max) = (args.content.len(), size(self.0.limits.write_bytes_max));
        if bytes > bytes_max {
            let message = format!("Content is {bytes} bytes, max is {bytes_max} ({})", megabytes(bytes_max));
            return Err(ToolError::new("FileTooLarge", Code::TooLarge, message)
                .suggest("Write the file in parts with a command, or transfer it"));
        }
        let work = move |fs: &Fs, cx: &Cx| Ok(fs.write(cx, &path, args.content.as_bytes())?);
        let written = self.0.on_files(cx, caller, work).await?;
        let atomic = (written == Written::InPlace).then_some(false);
        Ok(WriteFileOutput { success: true, bytes_written: bytes, atomic })
    }
}
