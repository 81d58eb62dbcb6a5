//! Files of MCP clients: Claude Desktop, Claude Code, VS Code.

use serde_json::{Map, Value, json};

use super::plan::Plan;
use super::suspicion::is_in;
use crate::failure::Failure;
use crate::words::usage;

/// Members of a server that are understood.
const KNOWN: [&str; 12] = [
    "command",
    "args",
    "env",
    "type",
    "url",
    "serverUrl",
    "headers",
    "description",
    "disabled",
    "transport",
    "alwaysAllow",
    "autoApprove",
];

/// `mcpServers`, at the top or in the projects of `~/.claude.json`.
pub(super) fn claude(file: &Value, plan: &mut Plan) -> Result<(), Failure> {
    let mut is_known = servers(file.get("mcpServers"), plan);
    for (path, project) in file.get("projects").and_then(Value::as_object).into_iter().flatten() {
        let list = project.get("mcpServers").and_then(Value::as_object);
        if list.is_some_and(|list| !list.is_empty()) {
            plan.note(format!("servers of the folder `{path}` are taken over for everybody"));
        }
        is_known |= servers(project.get("mcpServers"), plan);
    }
    if is_known { Ok(()) } else { Err(usage("the file has no `mcpServers`".to_owned())) }
}

/// `servers` of `mcp.json`, `mcp.servers` of `settings.json`.
pub(super) fn vscode(file: &Value, plan: &mut Plan) -> Result<(), Failure> {
    let file = file.get("mcp").unwrap_or(file);
    for input in file.get("inputs").and_then(Value::as_array).into_iter().flatten() {
        let member = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or("-");
        let (id, about) = (member("id"), member("description"));
        plan.note(format!("VS Code asks for input `{id}` ({about}); here it is to be put into a secret"));
    }
    let is_known = servers(file.get("servers"), plan) | servers(file.get("mcpServers"), plan);
    if is_known { Ok(()) } else { Err(usage("the file has no `servers`".to_owned())) }
}

/// Takes servers over; whether there is such a member.
fn servers(list: Option<&Value>, plan: &mut Plan) -> bool {
    let Some(list) = list.and_then(Value::as_object) else { return false };
    for (name, server) in list {
        let Some(server) = server.as_object() else {
            plan.note(format!("server `{name}` is no object, and is left out"));
            continue;
        };
        let name = plan.named("server", name);
        if let Some(document) = document(&name, server, plan) {
            plan.add("server", document);
        }
    }
    true
}

fn document(name: &str, server: &Map<String, Value>, plan: &mut Plan) -> Option<Value> {
    let text = |member: &str| server.get(member).and_then(Value::as_str);
    let mut document = Map::new();
    document.insert("name".to_owned(), json!(name));
    if let Some(about) = text("description") {
        document.insert("description".to_owned(), json!(about));
    }
    match (text("url").or(text("serverUrl")), text("command")) {
        (Some(url), _) => remote(&mut document, url, text("type").or(text("transport"))),
        (None, Some(command)) => local(&mut document, command, &words(server.get("args"))),
        (None, None) => {
            plan.note(format!("server `{name}` has neither a command nor a URL, and is left out"));
            return None;
        }
    }
    tell(name, server, plan);
    if let Some(variables) = server.get("env").and_then(Value::as_object) {
        let env = plan.environment(name, variables);
        if !env.is_empty() {
            document.insert("env".to_owned(), Value::Array(env));
        }
    }
    if server.get("disabled") == Some(&Value::Bool(true)) {
        document.insert("replicas".to_owned(), json!(0));
    }
    Some(Value::Object(document))
}

fn words(list: Option<&Value>) -> Vec<String> {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    list.and_then(Value::as_array).into_iter().flatten().map(word).collect()
}

/// Tells what isn't taken over as it is.
fn tell(name: &str, server: &Map<String, Value>, plan: &mut Plan) {
    if server.get("headers").and_then(Value::as_object).is_some_and(|headers| !headers.is_empty()) {
        plan.note(format!("server `{name}`: its `headers` are not taken over, since servers have none yet"));
    }
    for word in words(server.get("args")) {
        if is_in(&word) {
            plan.note(format!(
                "server `{name}`: an argument looks like a secret; whoever sees the server sees it"
            ));
        }
        if word.contains("${") {
            plan.note(format!(
                "server `{name}`: its client fills in the argument `{word}`, and nobody does here"
            ));
        }
    }
    for member in server.keys().filter(|member| !KNOWN.contains(&member.as_str())) {
        plan.note(format!("server `{name}`: `{member}` is not taken over"));
    }
}

fn remote(document: &mut Map<String, Value>, url: &str, kind: Option<&str>) {
    let transport = if kind == Some("sse") { "SSE" } else { "STREAMABLE_HTTP" };
    document.insert("transport".to_owned(), json!(transport));
    document.insert("externalUrl".to_owned(), json!(url));
}

/// A package where `npx` or `uvx` starts one and is told nothing else, the command as it is otherwise.
fn local(document: &mut Map<String, Value>, command: &str, args: &[String]) {
    document.insert("transport".to_owned(), json!("STDIO"));
    let runtime = match command.rsplit('/').next() {
        Some("npx") => Some("node"),
        Some("uvx") => Some("python"),
        _ => None,
    };
    let is_yes = |word: &&String| ["-y", "--yes"].contains(&word.as_str());
    let rest: Vec<&String> = args.iter().skip_while(is_yes).collect();
    if let (Some(runtime), Some((package, args))) = (runtime, rest.split_first())
        && !package.starts_with('-')
    {
        document.insert("packageName".to_owned(), json!(package));
        document.insert("runtime".to_owned(), json!(runtime));
        if !args.is_empty() {
            document.insert("args".to_owned(), json!(args));
        }
        return;
    }
    let words: Vec<&str> = std::iter::once(command).chain(args.iter().map(String::as_str)).collect();
    document.insert("command".to_owned(), json!(words));
}

#[cfg(test)]
mod tests {
    use super::super::comments::without_comments;
    use super::*;

    fn read(read: fn(&Value, &mut Plan) -> Result<(), Failure>, text: &str) -> Plan {
        let value = serde_saphyr::from_str(&without_comments(text)).unwrap();
        let mut plan = Plan::default();
        read(&value, &mut plan).unwrap();
        plan
    }

    #[test]
    fn servers_of_claude_become_servers() {
        let plan = read(
            claude,
            r#"{"mcpServers": {
            "home assistant": {"command": "npx", "args": ["-y", "@x/ha", "--v"], "env": {"HA_TOKEN": "hush", "URL": "http://ha"}},
            "py": {"command": "uvx", "args": ["mcp-server-time"]},
            "own": {"command": "/opt/x", "args": ["-v"], "disabled": true},
            "far": {"type": "sse", "url": "https://x.org/sse", "headers": {"Authorization": "Bearer hush"}},
            "odd": {}
        }}"#,
        );
        let servers = &plan.lists()["servers"];
        assert_eq!(servers[0]["packageName"], "@x/ha");
        assert_eq!((&servers[0]["runtime"], &servers[0]["args"]), (&json!("node"), &json!(["--v"])));
        let reference = json!({"name": "home-assistant-env", "key": "HA_TOKEN"});
        assert_eq!(servers[0]["env"][1]["valueFrom"]["secretRef"], reference);
        assert_eq!(servers[1]["runtime"], "python");
        assert_eq!((&servers[2]["command"], &servers[2]["replicas"]), (&json!(["/opt/x", "-v"]), &json!(0)));
        let far = (&servers[3]["transport"], &servers[3]["externalUrl"]);
        assert_eq!(far, (&json!("SSE"), &json!("https://x.org/sse")));
        let notes = plan.notes.join("\n");
        assert!(notes.contains("`headers`") && notes.contains("`odd`") && !notes.contains("hush"), "{notes}");
    }

    #[test]
    fn files_of_vs_code_have_comments_and_inputs_which_are_told() {
        let text = "{ // servers\n \"inputs\": [{\"id\": \"tok\", \"description\": \"A // token\",}],\n /* all */ \
                    \"servers\": {\"x\": {\"command\": \"x\", \"env\": {\"T\": \"${input:tok}\"}}}}";
        let plan = read(vscode, text);
        let notes = plan.notes.join("\n");
        assert!(notes.contains("`tok` (A // token)") && notes.contains("${input:tok}"), "{notes}");
        assert_eq!(plan.lists()["servers"][0]["command"], json!(["x"]));
        assert!(vscode(&json!({"x": 1}), &mut Plan::default()).is_err());
    }

    #[test]
    fn every_folder_of_claude_code_is_looked_at() {
        let text = r#"{"projects": {"/a": {"mcpServers": {"x": {"command": "x"}}}, "/b": {"mcpServers": {"x": {"command": "y"}}}}}"#;
        assert_eq!(read(claude, text).lists()["servers"][1]["name"], "x-2");
    }
}
