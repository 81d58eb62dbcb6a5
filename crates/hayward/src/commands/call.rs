//! `hayward call`: calls a tool from the shell.

use std::io::Read as _;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use hayward_mcp::json::{Object, ObjectWriter, Raw};
use hayward_mcp::request::List;
use hayward_mcp::upstream::{Outgoing, Step, Upstream};
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::output::{self, data, plain, safe_json, written};
use crate::server::{ProjectArg, ServerArgs, block_on};
use crate::speaking::{At, failed, refused, speak};

/// Bytes of arguments that are read from a file or from standard input.
const ARGUMENTS_BYTES_MAX: u64 = 32 << 20;
/// How long a server may take to start; the first time it is fetched.
const START_PATIENCE: Duration = Duration::from_mins(2);
/// How long nobody asks again whether it has.
const START_PAUSE: Duration = Duration::from_secs(1);

/// Calls a tool, as a client would, and prints what it says.
///
/// `hayward call time/get_current_time timezone=UTC` calls a tool of the server `time` by its own name. With `--project`, or
/// without a server before it, the name is the one that clients of the project, or of `/mcp`, know it by.
///
/// A value becomes what the tool wants: `count=3` is a number where a number is wanted. `key:=JSON` says JSON.
/// Exit code 1: the tool says that it failed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// SERVER/TOOL, or the name of a tool
    #[arg(value_name = "TOOL")]
    tool: String,

    /// Arguments: key=value, or key:=JSON
    #[arg(value_name = "KEY=VALUE")]
    arguments: Vec<String>,

    /// All arguments as one JSON object; @FILE reads a file, - standard input
    #[arg(long = "args", value_name = "JSON")]
    object: Option<String>,

    /// Form of the output: what the tool says as text, or its whole result
    #[arg(long, short, value_enum, default_value = "text")]
    output: Shape,

    #[command(flatten)]
    project: ProjectArg,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(clap::ValueEnum, Clone, Copy)]
enum Shape {
    Text,
    Json,
    Yaml,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let (at, tool) = meant(&args.tool, args.project.name());
    let mut arguments = args.object.as_deref().map_or_else(|| Ok(Map::new()), object)?;
    block_on(async {
        let upstream = speak(&args.server, &at).await?;
        let until = Instant::now() + START_PATIENCE;
        let mut has_told = false;
        let result = loop {
            let schema = schema(&upstream, tool, &at).await?;
            for pair in &args.arguments {
                let (key, value) = argument(pair, schema.as_ref())?;
                arguments.insert(key, value);
            }
            let result = call(&upstream, tool, &arguments, &at).await?;
            // What is listed was called, whatever its server says of itself.
            if schema.is_some() || !is_starting(&result) || Instant::now() > until {
                break result;
            }
            if !has_told {
                output::tell(&format!(
                    "its server starts; waiting for up to {} s\n",
                    START_PATIENCE.as_secs()
                ));
                has_told = true;
            }
            tokio::time::sleep(START_PAUSE).await;
        };
        upstream.close().await;
        shown(args.output, &result)
    })
}

/// The endpoint, and the name of the tool there.
fn meant<'a>(tool: &'a str, project: Option<&str>) -> (At, &'a str) {
    match (project, tool.split_once('/')) {
        (Some(project), _) => (At::Project(project.to_owned()), tool),
        (None, Some((server, tool))) => (At::Server(server.to_owned()), tool),
        (None, None) => (At::Default, tool),
    }
}

fn object(said: &str) -> Result<Map<String, Value>, Failure> {
    let usage = |what: String| Failure { exit_code: Failure::USAGE, ..Failure::configuration(anyhow!(what)) };
    let text = match said.strip_prefix('@') {
        _ if said == "-" => read(std::io::stdin(), "standard input")?,
        Some(path) => {
            let file = std::fs::File::open(path).with_context(|| format!("failed to open `{path}`"))?;
            read(file, path)?
        }
        None => said.to_owned(),
    };
    match serde_json::from_str(&text) {
        Ok(Value::Object(arguments)) => Ok(arguments),
        Ok(_) => Err(usage("`--args` is no JSON object".to_owned())),
        Err(error) => Err(usage(format!("`--args` is no JSON: {error}"))),
    }
}

fn read(source: impl std::io::Read, name: &str) -> Result<String, Failure> {
    let mut text = String::new();
    source
        .take(ARGUMENTS_BYTES_MAX)
        .read_to_string(&mut text)
        .with_context(|| format!("failed to read {name}"))?;
    Ok(text)
}

/// The schema of the arguments of a tool, if it is listed.
async fn schema(upstream: &Upstream, tool: &str, at: &At) -> Result<Option<Value>, Failure> {
    let listed = upstream.list(List::Tools).await.map_err(|error| failed(error, at))?;
    let Ok(listed) = listed else { return Ok(None) };
    // `server/tool` is another name of what is listed as `server_tool`.
    let listed_as = tool.replacen(['/', '.'], "_", 1);
    let is_it = |it: &&Raw| {
        let name = Object::of(it).and_then(|it| it.get_str("name").map(std::borrow::Cow::into_owned));
        name.is_some_and(|name| name == tool || name == listed_as)
    };
    let found = listed.elements.iter().find(is_it).and_then(|it| it.view::<Value>().ok());
    Ok(found.map(|tool| tool["inputSchema"].clone()))
}

/// One argument, of the type that the tool wants.
fn argument(pair: &str, schema: Option<&Value>) -> Result<(String, Value), Failure> {
    let usage = |what: String| {
        Failure { exit_code: Failure::USAGE, ..Failure::configuration(anyhow!(what)) }
            .hint("write key=value or key:=JSON")
    };
    let (key, value) = pair.split_once('=').ok_or_else(|| usage(format!("`{pair}` is no argument")))?;
    if let Some(key) = key.strip_suffix(':') {
        let value =
            serde_json::from_str(value).map_err(|error| usage(format!("`{key}` is no JSON: {error}")))?;
        return Ok((key.to_owned(), value));
    }
    let wanted = schema.and_then(|schema| schema["properties"][key]["type"].as_str());
    let is_text = matches!(wanted, None | Some("string"));
    let value = if is_text { None } else { serde_json::from_str(value).ok() }.unwrap_or_else(|| value.into());
    Ok((key.to_owned(), value))
}

async fn call(
    upstream: &Upstream,
    tool: &str,
    arguments: &Map<String, Value>,
    at: &At,
) -> Result<Raw, Failure> {
    let arguments = Raw::of(arguments).context("the arguments can't be written")?;
    let params = ObjectWriter::new(256).str("name", tool).raw("arguments", &arguments).end();
    let outgoing = Outgoing { has_progress: true, ..Outgoing::new("tools/call", Some(&params)).on(tool) };
    let mut exchange = upstream.request(&outgoing).await.map_err(|error| failed(error, at))?;
    loop {
        match exchange.next().await.map_err(|error| failed(error, at))? {
            Step::Progress(progress) => tell(&progress),
            Step::Notification(_) | Step::Request(_) => {}
            Step::Response(Ok(result)) => return Ok(result),
            Step::Response(Err(error)) => return Err(refused(&error)),
        }
    }
}

/// Whether nothing was called, because the server of the tool has only begun to start.
fn is_starting(result: &Raw) -> bool {
    let said = result.view::<Value>().ok().filter(|result| result["isError"] == true);
    let told =
        said.and_then(|result| result["content"][0]["text"].as_str().map(serde_json::from_str::<Value>));
    told.and_then(Result::ok).is_some_and(|told| told["error"] == "ServerStarting")
}

/// How far it is, for who looks.
fn tell(progress: &Raw) {
    let Ok(progress) = progress.view::<Value>() else { return };
    let message = progress["message"].as_str().unwrap_or_default();
    let total = progress.get("total").map(|total| format!("/{total}")).unwrap_or_default();
    output::tell(&plain(&format!("{}{total} {message}\n", progress["progress"])));
}

fn shown(shape: Shape, result: &Raw) -> Result<(), Failure> {
    let value: Value = result.view().context("the result can't be read")?;
    if let (Shape::Text, Some(failure)) = (shape, refusal(&value)) {
        return Err(failure);
    }
    written(match shape {
        Shape::Text => data(&plain(&text(&value))),
        Shape::Json => safe_json(&value, serde_json::to_string_pretty).and_then(|text| data(&(text + "\n"))),
        Shape::Yaml => output::yaml(&value).and_then(|text| data(&text)),
    })?;
    if value["isError"] == true {
        return Err(Failure {
            exit_code: 1,
            ..Failure::unavailable(anyhow!("the tool says that it failed"))
        });
    }
    Ok(())
}

/// A failure that says in one text what is the matter and what helps, as those of this gateway do, for people to read.
fn refusal(result: &Value) -> Option<Failure> {
    let [block] = result["content"].as_array().filter(|_| result["isError"] == true)?.as_slice() else {
        return None;
    };
    let told: Value = serde_json::from_str(block["text"].as_str()?).ok()?;
    let (code, message) = (told["error"].as_str()?, told["message"].as_str()?);
    let failure = Failure { exit_code: 1, ..Failure::unavailable(anyhow!("{code}: {message}")) };
    Some(match told["suggestion"].as_str() {
        Some(hint) => failure.hint(hint.to_owned()),
        None => failure,
    })
}

/// What people read of a result.
fn text(result: &Value) -> String {
    let mut out = String::new();
    for block in result["content"].as_array().into_iter().flatten() {
        match block["type"].as_str() {
            Some("text") => out += block["text"].as_str().unwrap_or_default(),
            Some("resource_link") => out += block["uri"].as_str().unwrap_or_default(),
            Some("resource") => {
                let resource = &block["resource"];
                let held = resource["text"].as_str().or_else(|| resource["uri"].as_str());
                out += held.unwrap_or_default();
            }
            other => {
                let mime = block["mimeType"].as_str().unwrap_or_default();
                out += &format!("[{} {mime}; -o json shows it]", other.unwrap_or("something"));
            }
        }
        if !out.ends_with('\n') {
            out.push('\n');
        }
    }
    if out.is_empty() && !result["structuredContent"].is_null() {
        out = format!("{}\n", result["structuredContent"]);
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_leads_to_one_endpoint() {
        assert_eq!(meant("time/now", None), (At::Server("time".to_owned()), "now"));
        assert_eq!(meant("time_now", None), (At::Default, "time_now"));
        assert_eq!(meant("time/now", Some("home")), (At::Project("home".to_owned()), "time/now"));
    }

    #[test]
    fn only_a_server_that_starts_is_waited_for() {
        let said = |error: &str, is_error: bool| {
            let text = json!({"success": false, "error": error}).to_string();
            is_starting(
                &Raw::of(&json!({"content": [{"type": "text", "text": text}], "isError": is_error})).unwrap(),
            )
        };
        assert!(said("ServerStarting", true));
        assert!(!said("ServerStarting", false) && !said("UpstreamUnavailable", true));
        assert!(!is_starting(&Raw::of(&json!({"content": [], "isError": true})).unwrap()));
    }

    #[test]
    fn a_value_becomes_what_the_tool_wants() {
        let schema = json!({"properties": {"n": {"type": "integer"}, "s": {"type": "string"}, "b": {"type": "boolean"}}});
        let value = |pair: &str| argument(pair, Some(&schema)).unwrap().1;
        assert_eq!(value("n=3"), json!(3));
        assert_eq!(value("n=x"), json!("x"), "the tool says what is wrong with it");
        assert_eq!(value("s=3"), json!("3"));
        assert_eq!(value("b=true"), json!(true));
        assert_eq!(value("unknown=3"), json!("3"));
        assert_eq!(value("x:=[1]"), json!([1]));
        assert_eq!(value("s=a=b"), json!("a=b"));
        for bad in ["x", "x:={"] {
            assert_eq!(argument(bad, None).unwrap_err().exit_code, Failure::USAGE);
        }
    }

    #[test]
    fn people_read_text_and_are_told_of_the_rest() {
        let result = json!({"content": [
            {"type": "text", "text": "a"}, {"type": "image", "mimeType": "image/png", "data": "x"},
            {"type": "resource", "resource": {"uri": "u", "text": "t\n"}}]});
        assert_eq!(text(&result), "a\n[image image/png; -o json shows it]\nt\n");
        assert_eq!(text(&json!({"content": [], "structuredContent": {"a": 1}})), "{\"a\":1}\n");
    }
}
