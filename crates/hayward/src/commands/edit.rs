//! `hayward edit`: a resource in an editor, written back if it was changed.
//!
//! What can't be written is lost nowhere: the file stays, and it is told where.

use std::io::{IsTerminal, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use hayward_api::Code;
use hayward_api::kinds::Descriptor;
use hayward_client::{Client, Target, Write};
use serde_json::Value;

use crate::config;
use crate::documents::shown;
use crate::documents::stripped;
use crate::failure::Failure;
use crate::manifest;
use crate::output::documents::{Group, lists, yaml};
use crate::output::{data, plain, tell, written};
use crate::server::{ProjectArg, ServerArgs, block_on, target};

/// The editor, if nobody says one.
const EDITOR: &str = "vi";

/// Opens a resource in an editor, and writes back what was changed.
///
/// The editor is that of `$HAYWARD_EDITOR`, `$VISUAL` or `$EDITOR`, else vi. What can't be written back is kept in a file; a
/// resource that somebody else changed meanwhile is not overwritten.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// KIND NAME or KIND/NAME
    #[arg(required = true, value_name = "RESOURCE")]
    words: Vec<String>,

    #[command(flatten)]
    project: ProjectArg,

    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let (kind, name) = args.project.one(&args.words)?;
    let client = args.server.client()?;
    let (target, live, version) = block_on(async {
        let target = target(&client, (kind, &name), &args.project).await?;
        let (live, version) = client.get_versioned(target).await?;
        Ok((target, live, version))
    })?;
    let before = stripped(kind, &live);
    let text = lists_text(kind, &before)?;
    let file = Scratch::new(&name, &text)?;
    let edited = match edited(&file, kind) {
        Ok(edited) => edited,
        Err(failure) => return Err(file.kept(failure)),
    };
    let Some(document) = edited.filter(|document| *document != before) else {
        file.remove();
        tell("nothing was changed\n");
        return Ok(());
    };
    let write = Write { is_trial: false, precondition: version };
    match block_on(replace(&client, target, &document, write)) {
        Ok(document) => {
            file.remove();
            written(data(&plain(&format!("{} edited\n", shown(kind, &document)))))
        }
        Err(failure) => Err(file.kept(failure)),
    }
}

async fn replace(
    client: &Client,
    target: Target<'_>,
    document: &Value,
    write: Write,
) -> Result<Value, Failure> {
    client.replace(target, document, write).await.map_err(|error| {
        let is_stale = matches!(&error, hayward_client::Error::Refused(problem) if problem.status == 412 || problem.code == Code::Conflict);
        let failure = Failure::from(error);
        if is_stale { failure.hint("somebody changed it meanwhile: `hayward edit` it again, and take over what you kept") } else { failure }
    })
}

fn lists_text(kind: &'static Descriptor, document: &Value) -> Result<String, Failure> {
    let groups = [Group { kind, documents: vec![document.clone()] }];
    let text = yaml(&lists(&groups)).map_err(anyhow::Error::from)?;
    Ok(format!(
        "# What is saved here is written back when the editor ends. Leave it as it is to change nothing.\n{text}"
    ))
}

/// What the file says after the editor ended; nothing if it was emptied.
fn edited(file: &Scratch, kind: &'static Descriptor) -> Result<Option<Value>, Failure> {
    if !std::io::stdin().is_terminal() && editor() == EDITOR {
        return Err(anyhow!("there is no terminal for an editor").into());
    }
    let status = hayward_exec::edit(&editor(), &file.path).context("failed to start the editor")?;
    if !status.success() {
        return Err(Failure::from(anyhow!("the editor failed ({status}), so nothing is written"))
            .hint("EDITOR says which editor is started"));
    }
    let shown = file.path.display();
    let text = std::fs::read_to_string(&file.path).with_context(|| format!("failed to read `{shown}`"))?;
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(None);
    }
    manifest::read_one(&shown.to_string(), &text, kind).map(|manifest| Some(manifest.document))
}

fn editor() -> String {
    let said = ["HAYWARD_EDITOR", "VISUAL", "EDITOR"].into_iter().find_map(|name| {
        let value = config::variable(name).into_os_string().into_string().ok()?;
        Some(value).filter(|value| !value.trim().is_empty())
    });
    said.unwrap_or_else(|| EDITOR.to_owned())
}

/// The file that is edited; it stays unless it is removed.
struct Scratch {
    path: PathBuf,
    /// What was written into it at first.
    text: String,
}

impl Scratch {
    fn new(name: &str, text: &str) -> Result<Self, Failure> {
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || "-_.@".contains(*c);
        let name: String = name.chars().filter(is_plain).take(60).collect();
        let dir = std::env::temp_dir();
        for attempt in 0..100_u32 {
            let path = dir.join(format!("hayward-{name}-{}-{attempt}.yaml", std::process::id()));
            let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            match opened {
                Ok(mut file) => {
                    let failed = || format!("failed to write `{}`", path.display());
                    file.write_all(text.as_bytes()).with_context(failed)?;
                    return Ok(Self { path, text: text.to_owned() });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(anyhow::Error::from(error)
                        .context(format!("failed to make `{}`", path.display()))
                        .into());
                }
            }
        }
        Err(anyhow!("there is no name left for a file in `{}`", dir.display()).into())
    }

    fn remove(&self) {
        std::fs::remove_file(&self.path).ok();
    }

    /// The failure, with the place of what was written; a copy in which nothing was changed is of no use.
    fn kept(&self, failure: Failure) -> Failure {
        match std::fs::read_to_string(&self.path) {
            Ok(text) if text == self.text => {
                self.remove();
                return failure;
            }
            // The editor took it away.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return failure,
            _ => {}
        }
        let path: &Path = &self.path;
        tell(&plain(&format!("your edit is kept in {}\n", path.display())));
        failure
    }
}
