//! `hayward tools`: what a client would see at an endpoint.

use hayward_mcp::request::List;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{Form, show, table};
use crate::server::block_on;
use crate::speaking::{EndpointArgs, failed, speak};

/// Characters of a description in a table.
const DESCRIPTION_CHARS: usize = 80;

/// Lists the tools of a server, of a project, or of `/mcp`: what a client with this credential sees.
///
/// Names are those that a client calls them by. `hayward call` calls one.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Form of the output
    #[arg(long, short, value_enum, default_value = "table")]
    output: Form,

    #[command(flatten)]
    endpoint: EndpointArgs,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let at = args.endpoint.at();
    block_on(async {
        let upstream = speak(&args.endpoint.server, &at).await?;
        let listed = upstream.list(List::Tools).await.map_err(|error| failed(error, &at))?;
        let listed = listed.map_err(|error| crate::speaking::refused(&error.to_raw()))?;
        let tools: Vec<Value> = listed.elements.iter().filter_map(|tool| tool.view().ok()).collect();
        upstream.close().await;
        show(args.output, &json!({ "tools": tools }), || rows(&tools))
    })
}

fn rows(tools: &[Value]) -> String {
    let row = |tool: &Value| {
        let text = |key: &str| tool[key].as_str().unwrap_or_default().to_owned();
        let arguments = tool["inputSchema"]["properties"].as_object();
        let required = tool["inputSchema"]["required"].as_array();
        let is_required = |name: &str| required.is_some_and(|all| all.iter().any(|it| it == name));
        let arguments: Vec<String> = arguments
            .into_iter()
            .flatten()
            .map(|(name, _)| if is_required(name) { name.clone() } else { format!("[{name}]") })
            .collect();
        let description = text("description");
        let first = description.lines().next().unwrap_or_default();
        let short: String = first.chars().take(DESCRIPTION_CHARS).collect();
        vec![text("name"), arguments.join(" "), short]
    };
    table(&["NAME", "ARGUMENTS", "DESCRIPTION"], &tools.iter().map(row).collect::<Vec<_>>())
}
