//! How something is at this moment, which is stored nowhere: what the gateway sees of a server, and what its node knows of an
//! instance.

use hayward_api::kinds::Descriptor;
use hayward_client::{Client, Target};
use serde_json::{Map, Value, json};

use crate::output::age::rounded;
use crate::output::describe::section;

/// Further sections of a document. What can't be learnt is left out, and what is told here stands nowhere else in it.
pub(super) async fn sections(client: &Client, kind: &'static Descriptor, document: &mut Value) -> String {
    match kind.name {
        "server" => {
            if document.pointer("/status/gateway").is_none() {
                // A list doesn't have it.
                let word = document.get("id").and_then(Value::as_str).unwrap_or_default();
                let whole = client.get(Target { kind, word, project: None }).await;
                let seen = whole.ok().and_then(|mut whole| taken(&mut whole));
                return seen.map_or_else(String::new, |seen| section("Gateway", &of_server(&seen)));
            }
            taken(document).map_or_else(String::new, |seen| section("Gateway", &of_server(&seen)))
        }
        "instance" => {
            let word = document.get("id").and_then(Value::as_str).unwrap_or_default();
            match client.inspect(word).await {
                Ok(known) => section("Now", &of_instance(&known)),
                Err(error) => section("Now", &json!({ "unknown": error.to_string() })),
            }
        }
        _ => String::new(),
    }
}

/// What the gateway sees, taken out.
fn taken(document: &mut Value) -> Option<Value> {
    document.get_mut("status")?.as_object_mut()?.shift_remove("gateway")
}

fn of_server(seen: &Value) -> Value {
    let count = |member: &str| seen.pointer(&format!("/shown/{member}")).and_then(Value::as_u64).unwrap_or(0);
    let (tools, resources, prompts) = (count("tools"), count("resources"), count("prompts"));
    json!({
        "protocol": seen["revision"], "shown": format!("{tools} tools, {resources} resources, {prompts} prompts"),
        "stale": seen["stale"], "kept back": seen["keptBack"],
    })
}

fn of_instance(known: &Value) -> Value {
    let mut told = Map::new();
    for (heading, member) in [
        ("state", "/state"),
        ("trouble", "/trouble"),
        ("node", "/node"),
        ("placement", "/placement"),
        ("started", "/startedAt"),
        ("ended", "/endedAt"),
        ("protocol", "/protocol"),
        ("calls in flight", "/callsInFlight"),
        ("health", "/health/verdict"),
        ("failures", "/health/failures"),
        ("asked", "/health/lastCheckAt"),
        ("answered in", "/health/latencyMs"),
        ("why", "/health/why"),
    ] {
        let Some(value) = known.pointer(member).filter(|value| !value.is_null()) else { continue };
        let value = match (heading, value.as_u64()) {
            ("answered in", Some(ms @ 0..10_000)) => format!("{ms} ms").into(),
            ("answered in", Some(ms)) => rounded(ms / 1_000).into(),
            _ => value.clone(),
        };
        told.insert(heading.to_owned(), value);
    }
    told.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_gateway_and_a_node_know_is_told_in_words() {
        let mut server = json!({"name": "s", "status": {"phase": "x", "gateway": {
            "revision": "2025-11-25", "shown": {"tools": 2, "resources": 0, "prompts": 1}, "stale": null,
            "keptBack": [{"name": "t", "why": "it waits"}]}}});
        let told = section("Gateway", &of_server(&taken(&mut server).unwrap()));
        for expect in ["\nGateway:\n", "2025-11-25", "2 tools, 0 resources, 1 prompts", "t     it waits"] {
            assert!(told.contains(expect), "{expect:?} in {told}");
        }
        assert!(!told.contains("stale") && server["status"].get("gateway").is_none());
        let known = json!({"state": "RUNNING", "trouble": null, "callsInFlight": 0,
            "health": {"verdict": "healthy", "failures": 0, "latencyMs": 3}});
        let told = section("Now", &of_instance(&known));
        for expect in ["RUNNING", "calls in flight:", "3 ms", "healthy"] {
            assert!(told.contains(expect), "{expect:?} in {told}");
        }
        assert!(!told.contains("trouble"), "{told}");
    }
}
