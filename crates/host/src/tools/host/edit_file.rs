//! `edit_file`: replaces a text in a file, and touches no other byte of it.

mod replacement;

use std::sync::Arc;
use std::time::Duration;

use hayward_api::{Code, Tier};
use hayward_tool::{Annotations, Caller, Cx, ToolError, TypedTool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{megabytes, path_of};
use crate::fs::{AbsPath, Fs, FsError, Written};
use crate::host::Host;
use crate::limits::size;
use replacement::{NoReplacement, Replacement};

/// The tool.
pub(crate) struct EditFile(pub(crate) Arc<Host>);

/// Replace a text in a file. `old_string` must occur exactly once, unless `replace_all` is true: give
/// enough of the surrounding lines to make it unique, without the line numbers that `read_file` shows.
/// All other bytes of the file stay as they are. The change is atomic, unless the result says
/// `atomic: false`. If somebody else changes the file at the same time, nobody's change is lost, except
/// where the file system can't exchange two files or the file can only be overwritten where it stands:
/// there a change in the last instant before this one is lost.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditFileArgs {
    /// Absolute path of the file.
    file_path: String,
    /// The text to find, exactly as it stands in the file (at most 1 MiB).
    old_string: String,
    /// The text to put in its place (at most 1 MiB).
    new_string: String,
    /// Replace every occurrence (default false).
    #[serde(default)]
    replace_all: bool,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct EditFileOutput {
    /// Always true.
    success: bool,
    /// How many occurrences were replaced.
    replacements: usize,
    /// False if the file had to be overwritten where it stands, so that readers may have seen a part;
    /// absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    atomic: Option<bool>,
}

impl TypedTool for EditFile {
    const NAME: &'static str = "edit_file";
    const TITLE: &'static str = "Edit file";
    const TIER: Tier = Tier::Operate;
    const ANNOTATIONS: Annotations =
        Annotations { read_only: false, destructive: true, idempotent: false, open_world: false };
    type Args = EditFileArgs;
    type Output = EditFileOutput;

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.0.limits.file_timeout_ms)
    }

    async fn run(&self, cx: &Cx, caller: &Caller, args: EditFileArgs) -> Result<EditFileOutput, ToolError> {
        let path = path_of("file_path", &args.file_path)?;
        let bytes_max = size(self.0.limits.edit_string_bytes_max);
        for (name, text) in [("old_string", &args.old_string), ("new_string", &args.new_string)] {
            if text.len() > bytes_max {
                let message = format!("{name} exceeds {} limit", megabytes(bytes_max));
                return Err(ToolError::new("FileTooLarge", Code::TooLarge, message)
                    .suggest("Replace a smaller part, or write the whole file"));
            }
        }
        let bytes_max = size(self.0.limits.edit_file_bytes_max);
        let work = move |fs: &Fs, cx: &Cx| edit(fs, cx, &path, &args, bytes_max);
        let (replacements, written) = self.0.on_files(cx, caller, work).await?;
        let atomic = (written == Written::InPlace).then_some(false);
        Ok(EditFileOutput { success: true, replacements, atomic })
    }
}

fn edit(
    fs: &Fs,
    cx: &Cx,
    path: &AbsPath,
    args: &EditFileArgs,
    bytes_max: usize,
) -> Result<(usize, Written), ToolError> {
    let replacement = Replacement {
        old: args.old_string.as_bytes(),
        new: args.new_string.as_bytes(),
        all: args.replace_all,
    };
    let mut count = 0;
    let written = fs.edit(cx, path, bytes_max, |content| {
        let (changed, replaced) = replacement.apply(content, bytes_max).map_err(|why| refused(&why))?;
        count = replaced;
        Ok::<_, EditError>(changed)
    });
    match written {
        Ok(written) => Ok((count, written)),
        Err(EditError(error)) => Err(error),
    }
}

/// What can go wrong in the course of an edit, as the caller is told.
struct EditError(ToolError);

impl From<FsError> for EditError {
    fn from(error: FsError) -> Self {
        Self(error.into())
    }
}

fn refused(why: &NoReplacement) -> EditError {
    let (code, kind, hint) = match why {
        NoReplacement::Empty => ("InvalidArgument", Code::Invalid, "Use write_file to make a new file"),
        NoReplacement::NotFound => (
            "StringNotFound",
            Code::NotFound,
            "Read the file again and copy the text exactly, without line numbers",
        ),
        NoReplacement::Ambiguous { .. } => {
            ("AmbiguousMatch", Code::Invalid, "Give more of the surrounding text, or set replace_all=true")
        }
        NoReplacement::TooLarge { .. } => {
            ("FileTooLarge", Code::TooLarge, "Use a command for files of this size")
        }
    };
    EditError(ToolError::new(code, kind, why.to_string()).suggest(hint))
}
