//! `hayward config claude`: the `.mcp.json` by which Claude Code reaches the servers of a project.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::output::{self, data, plain, safe_json, tell, written};
use crate::ready;
use crate::server::{ServerArgs, block_on};
use crate::words::usage;

/// Bytes of a file that is there already.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where it is written, and from what.
#[derive(clap::Args)]
pub(super) struct ClaudeArgs {
    /// Project that is to be reached; the token is taken from `HAYWARD_TOKEN` when the client starts
    #[arg(long, short, value_name = "PROJECT")]
    project: String,

    /// File that is written; `-` prints it
    #[arg(long, value_name = "FILE", default_value = ".mcp.json")]
    file: PathBuf,

    /// Puts the token that this command has into the file, which only its owner can read then; without, the file names the
    /// variable
    #[arg(long)]
    with_token: bool,

    /// Prints what the file would hold, and writes nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    server: ServerArgs,
}

/// Writes the file; servers that others have put there stay.
pub(super) fn run(args: &ClaudeArgs) -> Result<(), Failure> {
    let client = args.server.client()?;
    let mut config = block_on(async { Ok(client.mcp_config(&args.project).await?) })?;
    reached(&mut config, &client.address().to_string());
    if args.with_token {
        let token = args.server.token()?.ok_or_else(|| {
            usage("there is no token to put into the file".to_owned())
                .hint("log in with `hayward login`, or set HAYWARD_TOKEN")
        })?;
        authorized(&mut config, &token);
    }
    if args.file.as_os_str() == "-" {
        return print(&config);
    }
    let shown = args.file.display();
    let merged = merged(there(&args.file)?, config)?;
    if args.dry_run {
        return print(&merged);
    }
    let text = serde_json::to_string_pretty(&merged).map_err(anyhow::Error::from)?;
    replace(&args.file, &(text + "\n"), args.with_token)
        .with_context(|| format!("failed to write `{shown}`"))?;
    tell(&output::plain(&format!("written to {shown}\n")));
    Ok(())
}

fn print(config: &Value) -> Result<(), Failure> {
    written(safe_json(config, serde_json::to_string_pretty).and_then(|text| data(&(text + "\n"))))
}

/// Writes a file as a whole, or not at all. One that is there keeps its mode, unless it is to hold a secret.
fn replace(path: &Path, text: &str, is_secret: bool) -> std::io::Result<()> {
    // What stands for another file stays what it is.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let known = std::fs::metadata(&path).map(|known| known.permissions().mode() & 0o777);
    let mode = known.ok().filter(|_| !is_secret).unwrap_or(0o600);
    ready::place(&path, text.as_bytes(), mode)
}

/// Puts a token where the variable for one stands.
fn authorized(config: &mut Value, token: &str) {
    let servers = config.get_mut("mcpServers").and_then(Value::as_object_mut);
    for server in servers.into_iter().flat_map(Map::values_mut) {
        server["headers"]["Authorization"] = format!("Bearer {token}").into();
    }
}

/// Whoever runs this knows under which address the server is reached from here; the server may know another.
fn reached(config: &mut Value, address: &str) {
    let servers = config.get_mut("mcpServers").and_then(Value::as_object_mut);
    for (project, server) in servers.into_iter().flatten() {
        let path = format!("/projects/{project}/mcp");
        if server["url"].as_str().is_some_and(|url| url.ends_with(&path)) {
            server["url"] = format!("{}{path}", address.trim_end_matches('/')).into();
        }
    }
}

/// What the file holds already.
fn there(path: &Path) -> Result<Value, Failure> {
    use std::io::Read;
    let mut text = String::new();
    match std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Value::Object(Map::new())),
        Err(error) => {
            Err(anyhow::Error::from(error).context(format!("failed to read `{}`", path.display())).into())
        }
        Ok(_) => serde_json::from_str(&text).ok().filter(Value::is_object).ok_or_else(|| {
            usage(plain(&format!("`{}` is there, and is no object of JSON", path.display())))
                .hint("mend or move it, or name another with `--file`")
        }),
    }
}

/// What is there, with these servers in the place of those of their names.
fn merged(there: Value, config: Value) -> Result<Value, Failure> {
    let (Value::Object(mut there), Value::Object(config)) = (there, config) else { return Ok(Value::Null) };
    for (member, value) in config {
        match (there.get_mut(&member), value) {
            (Some(Value::Object(servers)), Value::Object(new)) => servers.extend(new),
            (Some(_), Value::Object(_)) => {
                return Err(usage(format!("`{member}` of the file is no object"))
                    .hint("mend or move it, or name another with `--file`"));
            }
            (_, value) => drop(there.insert(member, value)),
        }
    }
    Ok(Value::Object(there))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_project_is_at_the_address_that_was_asked() {
        let entry = |url: &str| json!({"mcpServers": {"home": {"type": "http", "url": url}}});
        let mut config = entry("http://inside:8765/projects/home/mcp");
        reached(&mut config, "https://nas.example.org/base/");
        assert_eq!(config, entry("https://nas.example.org/base/projects/home/mcp"));
    }

    #[test]
    fn servers_of_others_stay() {
        let there = json!({"mcpServers": {"a": 1, "b": 2}, "x": 3});
        let expect = json!({"mcpServers": {"a": 1, "b": 4, "c": 5}, "x": 3});
        assert_eq!(merged(there, json!({"mcpServers": {"b": 4, "c": 5}})).ok(), Some(expect));
        let odd = json!({"mcpServers": ["somebody's"]});
        assert!(merged(odd, json!({"mcpServers": {"b": 4}})).is_err(), "what isn't understood is left alone");
    }

    #[test]
    fn a_token_stands_in_the_file_only_where_it_was_asked_for() {
        let entry = |text: &str| json!({"mcpServers": {"home": {"headers": {"Authorization": text}}}});
        let mut config = entry("Bearer ${HAYWARD_TOKEN}");
        authorized(&mut config, "hwd_x");
        assert_eq!(config, entry("Bearer hwd_x"));
    }
}
