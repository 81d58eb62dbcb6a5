//! What of a server that is taken over is there for everybody to see, or was filled in by its client, is told.

use serde_json::Value;

use super::plan::Plan;
use super::suspicion::{is_chosen, is_flag_of_one, is_in};

/// Where servers have words.
const WORDS: [&str; 4] = ["packageName", "dockerImage", "command", "args"];

/// Tells of secrets and of what nobody fills in, in the words and the address of a server.
pub(super) fn tell(server: &str, document: &Value, plan: &mut Plan) {
    let mut last = "";
    for word in words(document) {
        if is_flag_of_one(last) && is_chosen(word) {
            secret(server, &format!("what follows its argument `{last}`"), plan);
        } else if is_in(word) {
            secret(server, "an argument", plan);
        }
        unfilled(server, "its command or arguments", word, plan);
        last = word;
    }
    if let Some(address) = document.get("externalUrl").and_then(Value::as_str) {
        if is_in(address) {
            secret(server, "its address", plan);
        }
        unfilled(server, "its address", address, plan);
    }
}

fn words(document: &Value) -> impl Iterator<Item = &str> {
    WORDS.into_iter().filter_map(|member| document.get(member)).flat_map(|value| match value {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        Value::String(text) => vec![text.as_str()],
        _ => Vec::new(),
    })
}

fn secret(server: &str, what: &str, plan: &mut Plan) {
    plan.note(format!("server `{server}`: {what} looks like a secret; whoever sees the server sees it"));
}

fn unfilled(server: &str, place: &str, text: &str, plan: &mut Plan) {
    if let Some(parts) = filled_in(text) {
        plan.note(format!("server `{server}`: its client fills in {parts} in {place}, and nobody does here"));
    }
}

/// The `${…}` of a text, if there are any; without what stands for them otherwise, which may be a secret.
pub(super) fn filled_in(text: &str) -> Option<String> {
    let name = |part: &str| {
        let name = part.split('}').next().unwrap_or_default();
        format!("`${{{}}}`", name.split(":-").next().unwrap_or_default())
    };
    let parts: Vec<String> = text.split("${").skip(1).map(name).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn notes(document: &Value) -> String {
        let mut plan = Plan::default();
        tell("x", document, &mut plan);
        plan.notes.join("\n")
    }

    #[test]
    fn secrets_in_words_and_addresses_are_told_and_not_shown() {
        for (document, expect) in [
            (json!({"command": ["x", "--password", "hunter2"]}), "what follows its argument `--password`"),
            (json!({"packageName": "x", "args": ["--token", "hunter2"]}), "`--token`"),
            (json!({"command": ["x", "--header", "Authorization: hunter2"]}), "an argument looks"),
            (json!({"externalUrl": "https://x.org/mcp?token=hunter2"}), "its address looks"),
        ] {
            let told = notes(&document);
            assert!(told.contains(expect) && !told.contains("hunter2"), "{document}: {told}");
        }
        let plain = json!({"command": ["x", "--token-file", "/run/x"], "externalUrl": "https://x.org/mcp"});
        assert_eq!(notes(&plain), "");
    }

    #[test]
    fn what_a_client_fills_in_is_told_by_its_name() {
        let told = notes(&json!({"command": ["${HOME}/bin/x", "${KEY:-hunter2}"]}));
        assert!(
            told.contains("`${HOME}`") && told.contains("`${KEY}`") && !told.contains("hunter2"),
            "{told}"
        );
        assert!(notes(&json!({"externalUrl": "https://${HOST}/mcp"})).contains("in its address"));
        assert_eq!(filled_in("$HOME"), None);
    }
}
