//! What the client machine asks of the host: over TLS, by name, with the certificate of the authority that it trusts.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::house::{HOST, House, SHARED, word};
use crate::toolbox::docker::Said;

/// Where the service listens.
pub(super) const PORT: u16 = 8765;

/// The service's address.
pub(super) fn url(path: &str) -> String {
    format!("https://{HOST}:{PORT}{path}")
}

impl House {
    /// Runs curl on the client with these words of the shell.
    pub(super) fn curl(&self, words: &str) -> Result<Said> {
        self.client.run(&curl(words))
    }

    /// The status that a request gets; `words` are further ones of curl's line, with the address.
    pub(super) fn status(&self, words: &str) -> Result<String> {
        Ok(self.curl(&format!("--output /dev/null --write-out '%{{http_code}}' {words}"))?.stdout)
    }

    /// The status that a token gets at a path.
    pub(super) fn status_of(&self, token: &str, path: &str) -> Result<String> {
        self.status(&format!("{} {}", bearer(token), url(path)))
    }

    /// The status that a token gets for a call of `tools/list`.
    pub(super) fn mcp_status(&self, token: &str) -> Result<String> {
        self.status(&request(token, "tools/list", &json!({})))
    }

    /// Calls a method; the answer.
    pub(super) fn ask(&self, token: &str, method: &str, params: &Value) -> Result<Value> {
        let said = self.curl(&request(token, method, params))?;
        answer(&said.stdout).with_context(|| format!("`{method}` got {said:?}"))
    }

    /// Calls a tool; the result.
    pub(super) fn call(&self, token: &str, tool: &str, arguments: &Value) -> Result<Value> {
        let answer = self.ask(token, "tools/call", &json!({ "name": tool, "arguments": arguments }))?;
        Ok(answer["result"].clone())
    }

    /// Begins a call on the client that goes on; its answer will lie in this file of the shared folder.
    pub(super) fn begin(&self, token: &str, command: &str, file: &str) -> Result<()> {
        let arguments = json!({ "command": command, "timeout": 600 });
        let params = json!({ "name": "bash_execute", "arguments": arguments });
        let curl = curl(&request(token, "tools/call", &params));
        self.client.good(&format!("rm -f {SHARED}/{file}; ({curl}) >{SHARED}/{file} 2>&1 &")).map(drop)
    }

    /// The tools that a token sees.
    pub(super) fn tools(&self, token: &str) -> Result<usize> {
        let answer = self.ask(token, "tools/list", &json!({}))?;
        Ok(answer["result"]["tools"].as_array().map_or(0, Vec::len))
    }

    /// Makes a token; it.
    pub(super) fn make_token(&self, admin: &str, name: &str, role: &str) -> Result<String> {
        let body = json!({ "name": name, "role": role }).to_string();
        let words = format!("{} --json {} {}", bearer(admin), word(&body), url("/admin/tokens"));
        let said = self.curl(&words)?;
        let made: Value =
            serde_json::from_str(&said.stdout).with_context(|| format!("no token: {said:?}"))?;
        Ok(made["token"].as_str().with_context(|| format!("no token in {made}"))?.to_owned())
    }
}

fn curl(words: &str) -> String {
    format!("curl --silent --show-error --max-time 120 --cacert {SHARED}/ca.pem {words}")
}

/// The header that shows a token.
pub(super) fn bearer(token: &str) -> String {
    format!("--header {}", word(&format!("Authorization: Bearer {token}")))
}

fn request(token: &str, method: &str, params: &Value) -> String {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    let accept = "--header 'Accept: application/json, text/event-stream'";
    format!(
        "{} {accept} --header 'Content-Type: application/json' --data-binary {} {}",
        bearer(token),
        word(&body),
        url("/mcp")
    )
}

/// What was answered, as one body or as the last event of a stream.
fn answer(text: &str) -> Result<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data:")).next_back();
    serde_json::from_str(data.unwrap_or(text)).context("no JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_body_or_the_last_event() {
        assert_eq!(answer("{\"a\":1}").unwrap()["a"], 1);
        assert_eq!(answer("event: message\ndata: {\"a\":1}\n\ndata: {\"a\":2}\n\n").unwrap()["a"], 2);
        assert!(answer("").is_err());
    }
}
