//! The table of the `host` toolset, in the order in which the tools are listed.

mod host;

use std::sync::Arc;

use hayward_tool::{Tool, Toolset, Typed, TypedTool};

use crate::host::Host;
use host::{bash_execute, edit_file, glob, grep, prepare_download, prepare_upload, read_file, write_file};

/// What a model should know before it uses any of the tools.
const INSTRUCTIONS: &str = "Works on the machine that this server runs on. Paths are absolute. \
    Prefer read_file, edit_file, glob and grep over shell commands: their results are bounded and exact.";

/// What the tools are called, in the order in which they are listed.
pub const TOOL_NAMES: [&str; 8] = [
    bash_execute::BashExecute::NAME,
    read_file::ReadFile::NAME,
    write_file::WriteFile::NAME,
    edit_file::EditFile::NAME,
    glob::Glob::NAME,
    prepare_upload::PrepareUpload::NAME,
    prepare_download::PrepareDownload::NAME,
    grep::Grep::NAME,
];

/// The `host` toolset.
pub fn toolset(host: Arc<Host>) -> Toolset {
    let tools: Vec<Arc<dyn Tool>> = vec![
        Arc::new(Typed::new(bash_execute::BashExecute(Arc::clone(&host)))),
        Arc::new(Typed::new(read_file::ReadFile(Arc::clone(&host)))),
        Arc::new(Typed::new(write_file::WriteFile(Arc::clone(&host)))),
        Arc::new(Typed::new(edit_file::EditFile(Arc::clone(&host)))),
        Arc::new(Typed::new(glob::Glob(Arc::clone(&host)))),
        Arc::new(Typed::new(prepare_upload::PrepareUpload(Arc::clone(&host)))),
        Arc::new(Typed::new(prepare_download::PrepareDownload(Arc::clone(&host)))),
        Arc::new(Typed::new(grep::Grep::new(host))),
    ];
    Toolset::of_tools("host", INSTRUCTIONS, tools)
}
