//! Files of MCP clients: Claude Desktop, Claude Code, VS Code.

use std::path::Path;

use hayward_api::definition::Runtime;
use hayward_api::package::{PackageError, pinned};
use serde_json::{Map, Value, json};

use super::docker::{self, Run};
use super::exposed;
use super::plan::Plan;

/// Members of a server that are understood.
const KNOWN: [&str; 12] = [
    "command",
    "args",
    "env",
    "type",
    "url",
    "serverUrl",
    "httpUrl",
    "headers",
    "description",
    "disabled",
    "enabled",
    "transport",
];

/// What is otherwise for a server that starts here.
const JAIL: &str = "what starts here has no network, and sees nothing of this machine but its own folder: `network: shared` and `mounts` \
                    give it more";

/// Members in which an address stands.
const ADDRESSES: [&str; 3] = ["url", "serverUrl", "httpUrl"];

/// Where the files of VS Code have `servers` and `inputs`: `mcp.json`, `settings.json`, workspaces, containers.
const PLACES: [&str; 4] = ["", "/mcp", "/settings/mcp", "/customizations/vscode/mcp"];

/// `mcpServers`, at the top or in the projects of `~/.claude.json`.
pub(super) fn claude(file: &Value, plan: &mut Plan) -> Result<(), String> {
    let mut is_known = servers("mcpServers", file, plan)?;
    for (path, project) in file.get("projects").and_then(Value::as_object).into_iter().flatten() {
        let list = project.get("mcpServers").and_then(Value::as_object);
        if list.is_some_and(|list| !list.is_empty()) {
            plan.note(format!("servers of the folder `{path}` are taken over for everybody"));
        }
        is_known |= servers("mcpServers", project, plan)?;
    }
    if is_known { Ok(()) } else { Err("there is no `mcpServers` in it".to_owned()) }
}

/// `servers` of `mcp.json`, `mcp.servers` of `settings.json`.
pub(super) fn vscode(file: &Value, plan: &mut Plan) -> Result<(), String> {
    let mut is_known = servers("mcp.servers", file, plan)?;
    for place in PLACES.into_iter().filter_map(|place| file.pointer(place)) {
        inputs(place, plan);
        is_known |= servers("servers", place, plan)? | servers("mcpServers", place, plan)?;
    }
    if is_known { Ok(()) } else { Err("there is no `servers` in it".to_owned()) }
}

/// The command that takes over a file like this one, if it is any that is known.
pub(super) fn meant(file: &Value) -> Option<&'static str> {
    let has = |member: &str| file.get(member).is_some_and(Value::is_object);
    let is_code = |place: &str| file.pointer(place).is_some_and(|place| place.get("servers").is_some());
    if has("mcpServers") || has("projects") {
        Some("claude-code")
    } else if has("servers") || PLACES.into_iter().skip(1).any(is_code) || has("mcp.servers") {
        Some("vscode")
    } else {
        None
    }
}

fn inputs(file: &Value, plan: &mut Plan) {
    for input in file.get("inputs").and_then(Value::as_array).into_iter().flatten() {
        let member = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or("-");
        let (id, about) = (member("id"), member("description"));
        plan.note(format!("VS Code asks for input `{id}` ({about}); here it is to be put into a secret"));
    }
}

/// Takes servers over; whether there is such a member.
fn servers(member: &str, file: &Value, plan: &mut Plan) -> Result<bool, String> {
    let Some(list) = file.get(member).filter(|list| !list.is_null()) else { return Ok(false) };
    let list =
        list.as_object().ok_or_else(|| format!("`{member}` is no object with a member for each server"))?;
    for (name, server) in list {
        let Some(server) = server.as_object() else {
            plan.note(format!("server `{name}` is no object, and is left out"));
            continue;
        };
        let name = plan.named("server", name);
        if let Some(document) = document(&name, server, plan) {
            exposed::tell(&name, &document, plan);
            plan.add("server", document);
        }
    }
    Ok(true)
}

fn document(name: &str, server: &Map<String, Value>, plan: &mut Plan) -> Option<Value> {
    let run = run(server);
    let with_its_env = run.as_ref().map(|run| with_env(name, server, run, plan));
    let server = with_its_env.as_ref().unwrap_or(server);
    let text = |member: &str| server.get(member).and_then(Value::as_str).filter(|text| !text.is_empty());
    let mut document = Map::new();
    document.insert("name".to_owned(), json!(name));
    if let Some(about) = text("description") {
        document.insert("description".to_owned(), json!(about));
    }
    let mut command = command(server);
    command.extend(arguments(name, server, plan));
    match (ADDRESSES.into_iter().find_map(text), has_command(server)) {
        (Some(url), is_both) => {
            if is_both || !command.is_empty() {
                plan.note(format!("server `{name}` has a URL: its command and arguments are not taken over"));
            }
            document.insert("transport".to_owned(), json!(transport(name, server, plan)));
            document.insert("externalUrl".to_owned(), json!(url));
            if let Some(said) = server.get("headers").and_then(Value::as_object) {
                let headers = plan.headers(name, said);
                if !headers.is_empty() {
                    document.insert("headers".to_owned(), Value::Array(headers));
                }
            }
        }
        (None, true) => {
            if let Some(said) =
                kind(server).filter(|said| !["stdio", "local"].contains(&plain(said).as_str()))
            {
                plan.note(format!("server `{name}` has a command: its type {said} is not taken over"));
            }
            document.insert("transport".to_owned(), json!("STDIO"));
            plan.note(JAIL);
            match &run {
                Some(run) => run.write(&mut document, name, plan),
                None => local(&mut document, name, command, plan),
            }
        }
        (None, false) => {
            plan.note(format!("server `{name}` has neither a command nor a URL, and is left out"));
            return None;
        }
    }
    tell(name, server, plan);
    unseen(name, &document, plan);
    settings(&mut document, name, server, plan);
    Some(Value::Object(document))
}

/// Tells which paths of this machine its arguments name: an instance sees none of them unless it is mounted.
fn unseen(name: &str, document: &Map<String, Value>, plan: &mut Plan) {
    let list = |member: &str| document.get(member).and_then(Value::as_array).into_iter().flatten();
    let words = list("command").skip(1).chain(list("args")).filter_map(Value::as_str);
    let mounted: Vec<&str> = list("mounts").filter_map(|mount| mount.get("path")?.as_str()).collect();
    let is_unseen = |path: &&str| {
        path.len() > 1
            && path.starts_with('/')
            && !mounted.iter().any(|mount| Path::new(path).starts_with(mount))
    };
    let paths: Vec<String> = words.filter(is_unseen).map(|path| format!("`{path}`")).collect();
    if !paths.is_empty() {
        plan.note(format!(
            "server `{name}` sees of this machine only what is in its `mounts`, and its arguments name {}",
            paths.join(", ")
        ));
    }
}

/// What is the same for all servers: their environment, and whether they run.
fn settings(document: &mut Map<String, Value>, name: &str, server: &Map<String, Value>, plan: &mut Plan) {
    if let Some(variables) = server.get("env").and_then(Value::as_object) {
        let env = plan.environment(name, variables);
        if !env.is_empty() {
            document.insert("env".to_owned(), Value::Array(env));
        }
    }
    if server.get("disabled") == Some(&json!(true)) || server.get("enabled") == Some(&json!(false)) {
        document.insert("replicas".to_owned(), json!(0));
    }
}

/// The container that its command starts, if it is `docker run`, or that of Podman.
fn run(server: &Map<String, Value>) -> Option<Run> {
    let mut words = command(server);
    let args = server.get("args").and_then(Value::as_array).into_iter().flatten();
    words.extend(args.filter_map(Value::as_str).map(str::to_owned));
    let (command, words) = words.split_first()?;
    ["docker", "podman"].contains(&program(command).as_str()).then(|| docker::read(words)).flatten()
}

/// A server with the variables that its container gets, and no others: the rest of `env` is for whatever starts it. One without a
/// value has it there, or nowhere.
fn with_env(name: &str, server: &Map<String, Value>, run: &Run, plan: &mut Plan) -> Map<String, Value> {
    let said = server.get("env").and_then(Value::as_object);
    let mut env = Map::new();
    for (variable, value) in &run.env {
        let said = || said.and_then(|said| said.get(variable)).cloned();
        let value = value.as_ref().map(|value| json!(value)).or_else(said);
        env.insert(variable.clone(), value.unwrap_or_else(|| json!(format!("${{{variable}}}"))));
    }
    for variable in
        said.into_iter().flatten().map(|(variable, _)| variable).filter(|it| !env.contains_key(*it))
    {
        plan.note(format!("server `{name}`: `{variable}` is not handed to its container (`-e {variable}` would), and is left out"));
    }
    let mut server = server.clone();
    server.insert("env".to_owned(), env.into());
    server
}

fn has_command(server: &Map<String, Value>) -> bool {
    command(server).first().is_some_and(|word| !word.is_empty())
}

/// The command, which some write as a list.
fn command(server: &Map<String, Value>) -> Vec<String> {
    let word = |value: &Value| value.as_str().filter(|word| !word.is_empty()).map(str::to_owned);
    match server.get("command") {
        Some(Value::Array(list)) => list.iter().map(word).collect::<Option<_>>().unwrap_or_default(),
        other => other.and_then(word).into_iter().collect(),
    }
}

/// The arguments; what is none is told.
fn arguments(name: &str, server: &Map<String, Value>, plan: &mut Plan) -> Vec<String> {
    let list = match server.get("args") {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(_) => {
            plan.note(format!("server `{name}`: its `args` are no list, and are left out"));
            return Vec::new();
        }
    };
    let mut words = Vec::new();
    for (at, value) in list.iter().enumerate() {
        match value {
            Value::String(text) => words.push(text.clone()),
            Value::Number(_) | Value::Bool(_) => words.push(value.to_string()),
            _ => plan.note(format!("server `{name}`: `args[{at}]` is no text, and is left out")),
        }
    }
    words
}

/// Tells what isn't taken over as it is.
fn tell(name: &str, server: &Map<String, Value>, plan: &mut Plan) {
    let is_empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    for (member, what, is_so) in [
        ("env", "object", Value::is_object as fn(&Value) -> bool),
        ("headers", "object", Value::is_object),
        ("description", "text", Value::is_string),
        ("disabled", "`true` or `false`", Value::is_boolean),
        ("enabled", "`true` or `false`", Value::is_boolean),
    ] {
        if server.get(member).is_some_and(|value| !value.is_null() && !is_so(value)) {
            let what = if what.starts_with('`') { format!("is not {what}") } else { format!("is no {what}") };
            plan.note(format!("server `{name}`: its `{member}` {what}, and is left out"));
        }
    }
    for (member, value) in server {
        if !KNOWN.contains(&member.as_str()) && !is_empty(value) {
            plan.note(format!("server `{name}`: `{member}` is not taken over"));
        }
    }
}

/// What a server says of how it is spoken to.
fn kind(server: &Map<String, Value>) -> Option<&Value> {
    server.get("type").or(server.get("transport")).filter(|said| !said.is_null())
}

fn plain(kind: &Value) -> String {
    kind.as_str().unwrap_or_default().to_lowercase().replace(['-', '_'], "")
}

/// How a server at an address is spoken to.
fn transport(name: &str, server: &Map<String, Value>, plan: &mut Plan) -> &'static str {
    let Some(said) = kind(server) else { return "STREAMABLE_HTTP" };
    match plain(said).as_str() {
        "sse" => "SSE",
        "http" | "streamablehttp" => "STREAMABLE_HTTP",
        _ => {
            plan.note(format!(
                "server `{name}`: a URL of type {said} is not known, and is taken as streamable HTTP"
            ));
            "STREAMABLE_HTTP"
        }
    }
}

/// A package where `npx` or `uvx` starts one and is told nothing else, the command as it is otherwise.
fn local(document: &mut Map<String, Value>, name: &str, mut words: Vec<String>, plan: &mut Plan) {
    if words.len() > 2 && program(&words[0]) == "cmd" && words[1].eq_ignore_ascii_case("/c") {
        plan.note(format!("server `{name}`: `cmd /c` of Windows is left out"));
        words.drain(..2);
    }
    let Some((command, args)) = words.split_first() else { return };
    let runtime = match program(command).as_str() {
        "npx" => Some("node"),
        "uvx" => Some("python"),
        _ => None,
    };
    let is_yes = |word: &&String| ["-y", "--yes"].contains(&word.as_str());
    let rest: Vec<&String> = args.iter().skip_while(is_yes).collect();
    if let (Some(runtime), Some((package, args))) = (runtime, rest.split_first())
        && !package.starts_with('-')
    {
        let exact = pinned(package, if runtime == "python" { Runtime::Python } else { Runtime::Node });
        if let Err(PackageError::Unpinned { example }) = exact {
            plan.note(format!(
                "server `{name}`: package `{package}` has no exact version, and is not started until it has one: `{example}`; say it with \
                 `hayward edit server {name}`"
            ));
        }
        document.insert("packageName".to_owned(), json!(package));
        document.insert("runtime".to_owned(), json!(runtime));
        if !args.is_empty() {
            document.insert("args".to_owned(), json!(args));
        }
        return;
    }
    document.insert("command".to_owned(), json!(words));
}

/// The program of a path, without what Windows adds.
fn program(command: &str) -> String {
    let name = command.rsplit(['/', '\\']).next().unwrap_or_default().to_lowercase();
    let plain = [".cmd", ".exe"].into_iter().find_map(|ending| name.strip_suffix(ending));
    plain.unwrap_or(&name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::comments::without_comments;
    use super::*;

    fn read(read: fn(&Value, &mut Plan) -> Result<(), String>, text: &str) -> Plan {
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
        assert!(notes.contains("`odd`") && !notes.contains("hush"), "{notes}");
        let header = json!([{"name": "Authorization", "valueFrom": {"secretRef": {"name": "far-headers", "key": "Authorization"}}}]);
        assert_eq!(servers[3]["headers"], header);
        assert!(plan.lists()["secrets"].to_string().contains("Bearer hush"));
        assert!(notes.contains("`@x/ha@1.2.3`") && notes.contains("`mcp-server-time==1.2.3`"), "{notes}");
    }

    #[test]
    fn a_container_becomes_an_image_with_its_variables() {
        let plan = read(
            claude,
            r#"{"mcpServers": {"gh": {"command": "docker",
                "args": ["run", "-i", "--rm", "-e", "GITHUB_TOKEN", "-e", "A=1", "-e", "HERE", "-p", "80:80", "ghcr.io/x/y", "stdio"],
                "env": {"GITHUB_TOKEN": "ghp_0123456789", "DOCKER_HOST": "tcp://x"}},
                "odd": {"command": "docker", "args": ["exec", "-i", "x", "y"]}}}"#,
        );
        let servers = &plan.lists()["servers"];
        let gh = &servers[0];
        assert_eq!((&gh["dockerImage"], &gh["args"]), (&json!("ghcr.io/x/y"), &json!(["stdio"])));
        assert!(gh.get("command").is_none(), "{gh}");
        assert!(plan.lists()["secrets"].to_string().contains("ghp_0123456789"));
        let names: Vec<_> =
            gh["env"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["A", "GITHUB_TOKEN"], "what its client fills in, nobody does here");
        assert_eq!(servers[1]["command"], json!(["docker", "exec", "-i", "x", "y"]));
        let notes = plan.notes.join("\n");
        assert!(
            notes.contains("`-p 80:80`") && notes.contains("${HERE}") && notes.contains("`DOCKER_HOST`"),
            "{notes}"
        );
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

    #[test]
    fn what_is_not_what_it_should_be_is_told() {
        for (server, expect) in [
            (json!({"command": "x", "args": "str"}), "its `args` are no list"),
            (json!({"command": "x", "args": ["a", null]}), "`args[1]` is no text"),
            (json!({"command": "x", "env": ["A=b"]}), "its `env` is no object"),
            (json!({"command": "x", "description": 1}), "its `description` is no text"),
            (json!({"command": "x", "disabled": "yes"}), "its `disabled` is not `true` or `false`"),
            (json!({"command": "x", "alwaysAllow": ["a"]}), "`alwaysAllow` is not taken over"),
            (json!({"command": "x", "autoApprove": ["a"]}), "`autoApprove` is not taken over"),
            (json!({"command": "x", "cwd": "/x"}), "`cwd` is not taken over"),
            (
                json!({"command": "npx", "args": ["-y", "fs@1.0.0", "/home/me", "/"]}),
                "its arguments name `/home/me`",
            ),
            (json!({"command": "docker", "args": ["run", "-v", "/a:/a", "x", "/a/b", "/c"]}), "name `/c`"),
            (json!({"command": "${HOME}/x"}), "`${HOME}`"),
            (json!({"command": "x", "args": ["--token", "t"]}), "`--token`"),
            (json!({"command": "x", "url": "https://x.org"}), "has a URL"),
            (json!({"url": "https://x.org", "args": ["x"]}), "has a URL"),
            (json!({"url": "https://x.org", "type": "ws"}), "of type \"ws\""),
            (json!({"command": "x", "type": "http"}), "its type \"http\" is not taken over"),
            (json!({"command": 5}), "neither a command nor a URL"),
        ] {
            let mut plan = Plan::default();
            claude(&json!({ "mcpServers": { "c": server } }), &mut plan).unwrap();
            let notes = plan.notes.join("\n");
            assert!(notes.contains(expect), "{notes} does not say {expect}");
        }
        let plain = json!({"command": "x", "args": null, "alwaysAllow": [], "headers": {}, "enabled": true});
        let mut plan = Plan::default();
        claude(&json!({ "mcpServers": { "c": plain } }), &mut plan).unwrap();
        assert_eq!(plan.notes, [JAIL]);
    }

    #[test]
    fn other_ways_to_write_the_same_are_understood() {
        for (server, member, expect) in [
            (json!({"command": ["npx", "-y", "@x/ha"], "args": ["--v"]}), "args", json!(["--v"])),
            (json!({"command": "cmd", "args": ["/c", "npx", "-y", "@x/ha"]}), "packageName", json!("@x/ha")),
            (json!({"command": "C:\\node\\npx.cmd", "args": ["@x/ha"]}), "packageName", json!("@x/ha")),
            (json!({"command": "", "httpUrl": "https://x.org"}), "externalUrl", json!("https://x.org")),
            (
                json!({"type": "streamable-http", "url": "https://x.org"}),
                "transport",
                json!("STREAMABLE_HTTP"),
            ),
            (json!({"command": "x", "enabled": false}), "replicas", json!(0)),
        ] {
            let mut plan = Plan::default();
            claude(&json!({ "mcpServers": { "c": server } }), &mut plan).unwrap();
            assert_eq!(plan.lists()["servers"][0][member], expect, "{member}");
        }
    }

    #[test]
    fn servers_of_vs_code_stand_in_files_of_four_kinds() {
        let servers = json!({"servers": {"x": {"command": "x"}}});
        for file in [
            servers.clone(),
            json!({ "mcp": servers }),
            json!({ "settings": { "mcp": servers } }),
            json!({ "customizations": { "vscode": { "mcp": servers } } }),
            json!({ "mcp.servers": servers["servers"] }),
        ] {
            let mut plan = Plan::default();
            vscode(&file, &mut plan).unwrap();
            assert_eq!(plan.lists()["servers"][0]["name"], "x", "{file}");
            assert_eq!(meant(&file), Some("vscode"));
        }
        assert_eq!(meant(&json!({"mcpServers": {}})), Some("claude-code"));
        assert_eq!(meant(&json!({"servers": []})), None);
        let told = claude(&json!({"mcpServers": []}), &mut Plan::default()).unwrap_err();
        assert!(told.contains("`mcpServers` is no object"), "{told}");
    }
}
