//! What commands that write have in common: trials, and how what was done is told.

use clap::ValueEnum;
use hayward_api::kinds::Descriptor;
use hayward_client::{Applied, AppliedOne};
use serde_json::Value;

use crate::documents;
use crate::failure::Failure;
use crate::output::{data, plain, tell, written};

/// Who applies, if nobody else is named.
const MANAGER: &str = "hayward-cli";

/// Who applies.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ManagerArg {
    /// Who applies: what another has applied is not pruned
    #[arg(long, value_name = "NAME", default_value = MANAGER)]
    pub(crate) manager: String,
}

/// Whether something is only tried.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct TrialArg {
    /// Only tries: `client` checks here and sends nothing, `server` says what it would do
    #[arg(long, value_enum, value_name = "WHERE", default_value = "none", num_args = 0..=1, default_missing_value = "server", require_equals = true)]
    dry_run: Trial,
}

/// Where something is tried.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trial {
    None,
    Client,
    Server,
}

impl TrialArg {
    pub(crate) fn trial(self) -> Trial {
        self.dry_run
    }
}

/// How results are told.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResultForm {
    Text,
    Json,
    Yaml,
    Name,
}

/// `server/ha`, with its project.
pub(crate) fn title(one: &AppliedOne) -> String {
    match &one.project {
        Some(project) => format!("{}/{} (project {project})", one.kind, one.name),
        None => format!("{}/{}", one.kind, one.name),
    }
}

/// Tells what came of each, and each token that was made, which nobody can learn later.
pub(crate) fn results(applied: &Applied, form: ResultForm, how: &str) -> Result<(), Failure> {
    let line = |one: &AppliedOne| match form {
        ResultForm::Name => format!("{}/{}\n", one.kind, one.name),
        _ => format!("{} {}{how}\n", title(one), one.action.as_str()),
    };
    match form {
        ResultForm::Text | ResultForm::Name => {
            written(data(&plain(&applied.results.iter().map(line).collect::<String>())))?;
            tokens(applied, form)
        }
        ResultForm::Json => crate::output::show(crate::output::Form::Json, applied, String::new),
        ResultForm::Yaml => crate::output::show(crate::output::Form::Yaml, applied, String::new),
    }
}

/// The tokens that were made; names are to stand alone on standard output.
fn tokens(applied: &Applied, form: ResultForm) -> Result<(), Failure> {
    for one in &applied.results {
        let Some(token) = &one.token else { continue };
        tell(&plain(&format!("the token of {} is shown this once, and kept nowhere:\n", title(one))));
        match form {
            ResultForm::Name => tell(&plain(&format!("{token}\n"))),
            _ => written(data(&plain(&format!("{token}\n"))))?,
        }
    }
    Ok(())
}

/// Tells what is the matter with what a document says although it is sound.
pub(crate) fn warn(kind: &Descriptor, document: &Value) {
    let Ok(read) = hayward_api::document::read(kind, document.clone()) else { return };
    for condition in (kind.conditions)(&read.spec) {
        tell(&plain(&format!("note: {}: {}\n", documents::shown(kind, document), condition.message)));
    }
}
