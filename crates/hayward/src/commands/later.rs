//! Commands that later versions have: each asks the server, which says that it comes later and what to do meanwhile.

use hayward_api::{Code, Error};
use http::Method;
use serde_json::Value;

use crate::failure::Failure;
use crate::output::{Form, show};
use crate::server::{ServerArgs, block_on};

/// What all of them take.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Words that it will take
    #[arg(num_args = 0.., allow_hyphen_values = true, trailing_var_arg = true, value_name = "WORD")]
    words: Vec<String>,

    #[command(flatten)]
    server: ServerArgs,
}

/// A command of a later version.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Later {
    Backup,
    Cache,
    Console,
}

impl Later {
    /// The route that will be asked; none where no server is needed to say no.
    fn route(self, words: &[String]) -> Option<(Method, Vec<&str>)> {
        let word = words.first().map(String::as_str);
        match self {
            Self::Backup if word == Some("restore") => Some((Method::POST, vec!["restore"])),
            Self::Backup => Some((Method::GET, vec!["git", "backup", "status"])),
            Self::Cache if word == Some("clear") => Some((Method::DELETE, vec!["cache"])),
            Self::Cache => Some((Method::GET, vec!["cache", "stats"])),
            Self::Console => None,
        }
    }
}

pub(crate) fn run(later: Later, args: &Args) -> Result<(), Failure> {
    let Some((method, segments)) = later.route(&args.words) else {
        return Err(Error::new(Code::Unsupported, "the console is not offered yet")
            .with_hint("`hayward get -w` shows changes, `hayward audit tail` what is called")
            .into());
    };
    let client = args.server.client()?;
    block_on(async {
        // What is offered one day is shown as it is.
        let answer: Value = client.ask(method, &segments).await?;
        show(Form::Yaml, &answer, String::new)
    })
}
