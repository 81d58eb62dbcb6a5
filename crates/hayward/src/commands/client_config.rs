//! `hayward client-config`: what to paste into a client, so that it finds a server.
//!
//! The token is a placeholder unless a file of it is named: what is printed ends in terminals and chats.

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{self, written};
use crate::remote::{Url, token_of};

/// Stands where a token is to be put.
const PLACEHOLDER: &str = "YOUR_TOKEN";

/// Prints what to paste into a client, so that it finds a server.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Whose configuration
    client: Client,

    /// Address of the server
    #[arg(long, env = "HAYWARD_URL", value_name = "URL", default_value = "http://127.0.0.1:8765", value_parser = Url::parse)]
    url: Url,

    /// File that holds the token; a placeholder if left out
    #[arg(long, env = "HAYWARD_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// What the client calls the server
    #[arg(long, default_value = "hayward", value_parser = name)]
    name: String,
}

/// The clients.
#[derive(ValueEnum, Clone, Copy, Debug)]
enum Client {
    ClaudeCode,
    ClaudeDesktop,
    Cursor,
    Vscode,
    Gemini,
    Codex,
}

impl Client {
    /// Where it is pasted.
    const fn place(self) -> &'static str {
        match self {
            Self::ClaudeCode => "run this in a shell",
            Self::ClaudeDesktop => {
                "claude_desktop_config.json (Settings, Developer, Edit Config); needs Node.js"
            }
            Self::Cursor => "~/.cursor/mcp.json, or .cursor/mcp.json in a project",
            Self::Vscode => ".vscode/mcp.json, or `MCP: Open User Configuration`",
            Self::Gemini => "~/.gemini/settings.json",
            Self::Codex => "~/.codex/config.toml",
        }
    }

    /// What is pasted. `url`, `token` and `name` have no character that means something in a shell or in TOML.
    fn text(self, name: &str, url: &Url, token: Option<&str>) -> String {
        let mcp = url.at("/mcp");
        let bearer = format!("Bearer {}", token.unwrap_or(PLACEHOLDER));
        let headers = json!({ "Authorization": bearer });
        let in_servers = |server: Value| pretty(&json!({ "mcpServers": { name: server } }));
        match self {
            Self::ClaudeCode => {
                format!("claude mcp add --transport http {name} '{mcp}' --header 'Authorization: {bearer}'\n")
            }
            Self::ClaudeDesktop => {
                // Its file knows programs only; this one speaks HTTP for it. A header with a blank goes by the environment.
                let mut args =
                    vec!["-y", "mcp-remote", &mcp, "--header", "Authorization:${HAYWARD_AUTHORIZATION}"];
                args.extend(mcp.starts_with("http://").then_some("--allow-http"));
                let env = json!({ "HAYWARD_AUTHORIZATION": bearer });
                in_servers(json!({ "command": "npx", "args": args, "env": env }))
            }
            Self::Cursor => in_servers(json!({ "url": mcp, "headers": headers })),
            Self::Vscode => vscode(name, &mcp, token),
            Self::Gemini => in_servers(json!({ "httpUrl": mcp, "headers": headers })),
            Self::Codex => {
                let auth = match token {
                    Some(token) => format!("http_headers = {{ Authorization = \"Bearer {token}\" }}"),
                    None => "bearer_token_env_var = \"HAYWARD_TOKEN\"".to_owned(),
                };
                format!("[mcp_servers.{name}]\nurl = \"{mcp}\"\n{auth}\n")
            }
        }
    }
}

/// It asks for a token that isn't there, and keeps it.
fn vscode(name: &str, mcp: &str, token: Option<&str>) -> String {
    let input = format!("{name}-token");
    let bearer = format!("Bearer {}", token.map_or_else(|| format!("${{input:{input}}}"), str::to_owned));
    let server = json!({ "type": "http", "url": mcp, "headers": { "Authorization": bearer } });
    let mut file = json!({ "servers": { name: server } });
    if token.is_none() {
        let asked = json!({ "type": "promptString", "id": input, "description": "Token of Hayward", "password": true });
        file["inputs"] = json!([asked]);
    }
    pretty(&file)
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn name(text: &str) -> Result<String, String> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if starts_well && text.len() <= 64 && text.bytes().all(is_good) {
        return Ok(text.to_owned());
    }
    Err("a name is up to 64 letters, digits, - and _, and begins with a letter or a digit".to_owned())
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let token = args.token_file.as_deref().map(token_of).transpose()?;
    output::tell(&format!("# {}\n", args.client.place()));
    if token.is_none() {
        output::tell("# make a token with `hayward token add --name NAME --role ro|rw`\n");
    }
    written(output::data(&args.client.text(&args.name, &args.url, token.as_deref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "tok_0123456789abcdef0123456789abcdef";

    fn text(client: Client, token: Option<&str>) -> String {
        client.text("box", &Url::parse("https://nas.example.org/x/").unwrap(), token)
    }

    #[test]
    fn each_client_gets_url_and_token_where_it_looks_for_them() {
        for client in Client::value_variants() {
            let with = text(*client, Some(TOKEN));
            assert!(
                with.contains("https://nas.example.org/x/mcp") && with.contains(TOKEN),
                "{client:?}: {with}"
            );
            let without = text(*client, None);
            let asks = [PLACEHOLDER, "${input:box-token}", "HAYWARD_TOKEN"];
            assert!(asks.iter().any(|ask| without.contains(ask)), "{client:?}: {without}");
        }
    }

    #[test]
    fn what_is_pasted_is_json_or_toml() {
        use Client::{ClaudeDesktop, Codex, Cursor, Gemini, Vscode};
        for token in [None, Some(TOKEN)] {
            for (client, server) in [
                (ClaudeDesktop, "/mcpServers/box/args/2"),
                (Cursor, "/mcpServers/box/url"),
                (Gemini, "/mcpServers/box/httpUrl"),
                (Vscode, "/servers/box/url"),
            ] {
                let file: Value = serde_json::from_str(&text(client, token)).unwrap();
                assert_eq!(file.pointer(server).unwrap(), "https://nas.example.org/x/mcp", "{client:?}");
            }
            let file: toml_edit::DocumentMut = text(Codex, token).parse().unwrap();
            assert_eq!(file["mcp_servers"]["box"]["url"].as_str(), Some("https://nas.example.org/x/mcp"));
        }
    }

    #[test]
    fn names_and_addresses_that_break_out_of_a_command_are_refused() {
        for bad in ["", "-x", "a b", "a'b", "a;b", "a$b", &"a".repeat(65)] {
            assert!(name(bad).is_err(), "{bad}");
        }
        for bad in
            ["nas", "ftp://x", "http://x/'", "http://x/$(id)", "http://x/`id`", "http://a@b", "http://"]
        {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }
}
