//! Tools of servers: which are shown, which wait for somebody to approve them, and approving one.
//!
//! What is approved is the definition of a digest that whoever approves has seen: if its server says something else by then,
//! nothing is approved.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use hayward_api::Code;
use hayward_api::kinds::server::ServerSpec;
use hayward_auth::Verb;
use hayward_store::{Resource, StoreError, ToolPin};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::differences::{Difference, differences, visible};
use crate::plane::Plane;
use crate::ports::KeptBack;
use crate::refusal::Refusal;
use crate::wire::asked::{Asked, json};
use crate::wire::finish::{begin, finish};

/// What a server says to models before anything else is approved as a tool without a name is; here it has this one.
const INSTRUCTIONS: &str = "(instructions)";

/// How long an approval waits for the gateway to show what it is about.
const SHOWN_PATIENCE: Duration = Duration::from_secs(3);
/// How often it looks.
const SHOWN_PAUSE: Duration = Duration::from_millis(20);

/// How a tool stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Standing {
    /// It is shown.
    #[serde(rename = "shown")]
    Shown,
    /// It waits for somebody to approve it.
    #[serde(rename = "waits")]
    Waits,
    /// It is not shown, and approving it makes no difference.
    #[serde(rename = "kept back")]
    KeptBack,
}

/// A tool, as it is answered.
#[derive(Debug, Serialize)]
struct Tool {
    name: String,
    state: Standing,
    why: Option<String>,
    approved: Option<Defined>,
    pending: Option<Defined>,
    /// What is another in what waits.
    changes: Vec<Difference>,
}

/// What a server said of a tool at some time.
#[derive(Debug, Serialize)]
struct Defined {
    digest: String,
    definition: Value,
}

impl Defined {
    fn new(digest: String, definition: &str) -> Self {
        let definition = serde_json::from_str(definition).unwrap_or_else(|_| definition.into());
        Self { digest, definition }
    }
}

impl Tool {
    /// A tool that was approved, or waits; `kept` is what the gateway keeps back of its server.
    fn new(pin: ToolPin, spec: &ServerSpec, kept: &[KeptBack]) -> Self {
        let is_hidden = spec.tools.get(&pin.name).is_some_and(|said| said.hidden);
        let kept = kept.iter().find(|kept| kept.is_tool && !kept.waits && kept.name == pin.name);
        let (state, why) = match (&pin.pending, kept) {
            (_, Some(kept)) => (Standing::KeptBack, Some(visible(&kept.why))),
            // Only what can be approved is kept until somebody does.
            (Some(pending), None) => (Standing::Waits, Some(visible(&pending.why))),
            (None, None) if is_hidden => {
                (Standing::KeptBack, Some("`tools` of the server hides it".to_owned()))
            }
            (None, None) => (Standing::Shown, None),
        };
        let name = if pin.name.is_empty() { INSTRUCTIONS.to_owned() } else { pin.name };
        let approved =
            pin.digest.map(|digest| Defined::new(digest, pin.definition.as_deref().unwrap_or_default()));
        let pending = pin.pending.map(|pending| Defined::new(pending.digest, &pending.definition));
        let changes = pending.as_ref().map_or_else(Vec::new, |pending| {
            differences(approved.as_ref().map(|it| &it.definition), Some(&pending.definition))
        });
        Self { name, state, why, approved, pending, changes }
    }
}

/// The tools that are known of a server, by name.
async fn known(asked: &Asked, server: &Resource) -> Result<Vec<Tool>, Refusal> {
    let spec: ServerSpec = server.spec()?;
    let pins = asked.plane.guarded.tool_pins(server).await?;
    let seen = asked.plane.gateway.seen(server.metadata.name.as_str());
    Ok(told(pins, &spec, &seen.map(|seen| seen.kept_back).unwrap_or_default()))
}

/// Those that were approved or wait, and those that are kept back and never were approved.
fn told(pins: Vec<ToolPin>, spec: &ServerSpec, kept: &[KeptBack]) -> Vec<Tool> {
    let is_new =
        |kept: &&KeptBack| kept.is_tool && !kept.waits && pins.iter().all(|pin| pin.name != kept.name);
    let bare =
        |kept: &KeptBack| ToolPin { name: kept.name.clone(), digest: None, definition: None, pending: None };
    let never: Vec<ToolPin> = kept.iter().filter(is_new).map(bare).collect();
    let mut tools: Vec<Tool> = pins.into_iter().chain(never).map(|pin| Tool::new(pin, spec, kept)).collect();
    tools.sort_by(|one, other| one.name.cmp(&other.name));
    tools.dedup_by(|one, other| one.name == other.name);
    tools
}

/// `GET /servers/{id}/tools`.
pub(crate) async fn list(asked: Asked) -> Result<Response, Refusal> {
    let (_, server) = asked.may_this(Verb::View).await?;
    let tools = known(&asked, &server).await?;
    asked.look(async move { json(StatusCode::OK, &tools) }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Approve {
    digest: String,
}

/// `POST /servers/{id}/tools/{name}/approve {"digest": DIGEST}`.
pub(crate) async fn approve(asked: Asked) -> Result<Response, Refusal> {
    let (allowed, server) = asked.may_this(Verb::Edit).await?;
    let Approve { digest } = asked.object().await?;
    let word = asked.part("name").to_owned();
    let tools = known(&asked, &server).await?;
    approvable(&tools, (server.metadata.name.as_str(), &word), &digest)?;
    let (is_dry, plane) = (asked.query.is_dry_run()?, Arc::clone(&asked.plane));
    let name = if word == INSTRUCTIONS { String::new() } else { word.clone() };
    let said = [("digest", digest.clone().into())];
    let told = json!({ "server": server.metadata.name, "name": word, "digest": digest });
    let (seeing, server_name) = (Arc::clone(&plane), server.metadata.name.to_string());
    asked
        .change(said, async move {
            let mut change = begin(&plane, &[&allowed]).await?;
            let approved = change.approve_tool(&allowed, &server, (&name, &digest)).await;
            approved.map_err(|error| match error {
                // It was there a moment ago.
                StoreError::NotFound { .. } => overtaken(server.metadata.name.as_str(), &name),
                error => error.into(),
            })?;
            finish(change, is_dry).await
        })
        .await?;
    if !is_dry {
        shown(&seeing, &server_name, &word).await;
    }
    json(StatusCode::OK, &told)
}

/// Waits until the gateway shows what was approved, so that whoever calls it next finds it; not for long.
async fn shown(plane: &Plane, server: &str, tool: &str) {
    let waits = || {
        let seen = plane.gateway.seen(server);
        seen.is_some_and(|seen| {
            seen.kept_back.iter().any(|kept| kept.waits && kept.is_tool && kept.name == tool)
        })
    };
    let until = Instant::now() + SHOWN_PATIENCE;
    while waits() && Instant::now() < until {
        sleep(SHOWN_PAUSE).await;
    }
}

/// Whether what waits of a tool is the definition of this digest.
fn approvable(tools: &[Tool], (server, word): (&str, &str), digest: &str) -> Result<(), Refusal> {
    let shown = word.escape_debug();
    let Some(tool) = tools.iter().find(|tool| tool.name == word) else {
        let message = format!("no tool `{shown}` is known of server `{server}`");
        let refusal = Refusal::new(Code::NotFound, message);
        return Err(refusal.hint(format!("`hayward describe server {server}` says which are")));
    };
    match (&tool.pending, tool.state) {
        (Some(pending), Standing::Waits) if pending.digest == digest => Ok(()),
        (_, Standing::Waits) => Err(overtaken(server, word)),
        (_, Standing::KeptBack) => {
            let why = tool.why.as_deref().unwrap_or_default();
            let message = format!("tool `{shown}` of server `{server}` is kept back: {why}");
            Err(Refusal::new(Code::Conflict, message).hint("to approve it changes nothing of that"))
        }
        (_, Standing::Shown) => {
            let message = format!("nothing of tool `{shown}` of server `{server}` waits");
            Err(Refusal::new(Code::Conflict, message).hint("it is approved as its server describes it"))
        }
    }
}

fn overtaken(server: &str, tool: &str) -> Refusal {
    let message =
        format!("what waits of tool `{}` of server `{server}` is another one than that", tool.escape_debug());
    Refusal::new(Code::Conflict, message)
        .hint(format!("look at it again, and approve what you see: `hayward approve {server}`"))
}

#[cfg(test)]
mod tests {
    use hayward_store::PendingTool;

    use super::*;

    fn pin(name: &str, digest: Option<&str>, pending: Option<(&str, &str)>) -> ToolPin {
        let definition = |digest: &str| format!("{{\"name\":\"{name}\",\"description\":\"{digest}\"}}");
        ToolPin {
            name: name.to_owned(),
            digest: digest.map(ToOwned::to_owned),
            definition: digest.map(definition),
            pending: pending.map(|(digest, why)| PendingTool {
                digest: digest.to_owned(),
                definition: definition(digest),
                why: why.to_owned(),
            }),
        }
    }

    fn tools() -> Vec<Tool> {
        let spec = json!({"command": ["x"], "tools": {"quiet": {"hidden": true}}});
        let spec: ServerSpec = serde_json::from_value(spec).unwrap();
        let pins = vec![
            pin("shown", Some("a"), None),
            pin("quiet", Some("a"), None),
            pin("changed", Some("a"), Some(("b", "it is not what was approved any more"))),
            pin("new", None, Some(("b", "it waits"))),
            pin("bad", Some("a"), None),
            pin("", Some("a"), None),
        ];
        let kept = |name: &str, waits: bool, is_tool: bool| KeptBack {
            name: name.to_owned(),
            why: "`description` holds U+200B".to_owned(),
            waits,
            is_tool,
        };
        // A prompt that is kept back says nothing of the tool of its name.
        let kept = [
            kept("bad", false, true),
            kept("worse", false, true),
            kept("new", true, true),
            kept("shown", false, false),
        ];
        told(pins, &spec, &kept)
    }

    fn tool(name: &str) -> Tool {
        tools().into_iter().find(|tool| tool.name == name).unwrap()
    }

    #[test]
    fn a_tool_is_shown_or_waits_or_is_kept_back_whatever_is_approved() {
        let told: Vec<_> = tools().iter().map(|tool| (tool.name.clone(), tool.state)).collect();
        let expect = [
            (INSTRUCTIONS, Standing::Shown),
            ("bad", Standing::KeptBack),
            ("changed", Standing::Waits),
            ("new", Standing::Waits),
            ("quiet", Standing::KeptBack),
            ("shown", Standing::Shown),
            ("worse", Standing::KeptBack),
        ];
        assert_eq!(told, expect.map(|(name, state)| (name.to_owned(), state)));
        let paths = |name: &str| tool(name).changes.into_iter().map(|it| it.path).collect::<Vec<_>>();
        assert_eq!(paths("changed"), ["description"]);
        assert_eq!(paths("new"), ["name", "description"]);
        assert!(tool("bad").approved.is_some() && tool("worse").approved.is_none());
        assert_eq!(tool("worse").why.as_deref(), Some("`description` holds U+200B"));
    }

    #[test]
    fn only_what_waits_is_approved_and_only_by_its_digest() {
        let check = |tool: &str, digest: &str, code: Option<Code>| {
            let told = approvable(&tools(), ("s", tool), digest);
            assert_eq!(told.as_ref().err().map(|refusal| refusal.error.code), code, "{tool} {digest}");
            assert!(told.err().is_none_or(|refusal| refusal.error.hint.is_some()), "{tool} {digest}");
        };
        check("changed", "b", None);
        check("new", "b", None);
        check("changed", "a", Some(Code::Conflict));
        check("new", "", Some(Code::Conflict));
        check("shown", "a", Some(Code::Conflict));
        check("bad", "b", Some(Code::Conflict));
        check("worse", "", Some(Code::Conflict));
        check("none", "b", Some(Code::NotFound));
    }
}
