//! What the gateway sees of a server, or of what a project says of tools, beside what is stored. It is told to whoever looks at
//! one, and kept nowhere.

use hayward_api::kinds::Condition;
use hayward_store::{Resource, Status};
use serde_json::{Value, json};

use crate::plane::Plane;

/// The member of the status that tells it.
const GATEWAY: &str = "gateway";
/// Whether tools wait for somebody to approve them.
const TOOLS_WAIT: &str = "ToolsWait";
/// Whether something is said of tools that nobody has.
const UNKNOWN_TOOL: &str = "UnknownTool";

/// Has a server say, in its status, how much of it is shown, what isn't and why, and how it is spoken to.
pub(crate) fn tell_seen(plane: &Plane, server: &mut Resource) {
    let name = server.metadata.name.to_string();
    let Some(seen) = plane.gateway.seen(&name) else { return };
    let waiting = seen.kept_back.iter().filter(|kept| kept.waits).count();
    if waiting > 0 {
        let message = format!(
            "{waiting} of what it offers waits for somebody to approve it, and is shown to nobody: \
             `hayward approve {name}` shows it"
        );
        tell(server, &Condition::new(TOOLS_WAIT, "True", "NotApproved", message));
    }
    if let Some(condition) = unknown(plane, [("tools".to_owned(), name, server.spec.get("tools"))]) {
        tell(server, &condition);
    }
    if let Some(status) = status(server).as_object_mut() {
        status.insert(GATEWAY.to_owned(), json!(seen));
    }
}

/// Has a project say which of its overrides mean tools that nobody has.
pub(crate) fn tell_unknown(plane: &Plane, project: &mut Resource) {
    let overrides = project.spec.get("serverOverrides").and_then(Value::as_object).into_iter().flatten();
    let said = overrides
        .map(|(server, said)| (format!("serverOverrides.{server}.tools"), server.clone(), said.get("tools")));
    if let Some(condition) = unknown(plane, said) {
        tell(project, &condition);
    }
}

/// What is said of tools that their servers don't have: where, of which server, and what.
fn unknown<'a>(
    plane: &Plane,
    said: impl IntoIterator<Item = (String, String, Option<&'a Value>)>,
) -> Option<Condition> {
    let mut wrong = Vec::new();
    for (field, server, tools) in said {
        let names: Vec<&str> =
            tools.and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let unknown = plane.gateway.unknown(&server, &names);
        wrong.extend(unknown.iter().map(|tool| {
            format!("`{field}` names `{}`, which server `{server}` doesn't have", tool.escape_debug())
        }));
    }
    let message = wrong.join("; ");
    (!wrong.is_empty()).then(|| Condition::new(UNKNOWN_TOOL, "True", "NotOffered", message))
}

fn tell(resource: &mut Resource, condition: &Condition) {
    let conditions =
        status(resource).as_object_mut().map(|it| it.entry("conditions").or_insert_with(|| json!([])));
    if let Some(conditions) = conditions.and_then(Value::as_array_mut) {
        conditions.push(json!(condition));
    }
}

/// The status as it is told, made if there is none.
fn status(resource: &mut Resource) -> &mut Value {
    let (observed_generation, updated_at) =
        (resource.metadata.generation, resource.metadata.updated_at.clone());
    let none = || Status { observed_generation, status: json!({}), updated_at };
    &mut resource.status.get_or_insert_with(none).status
}
