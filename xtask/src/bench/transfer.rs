//! One large file, up and down, past the calls: as fast as `curl` can, beside mymcp.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::figures::median;
use super::rig::Running;
use super::server::{Endpoint, Server};
use crate::{output, step};

/// Bytes of the file: a gibibyte, which neither memory nor a pipe hides.
const BYTES: u64 = 1 << 30;
/// Bytes of a short round.
const BYTES_QUICK: u64 = 64 << 20;

const ACCEPT: &str = "Accept: application/json, text/event-stream";

/// Who speaks TLS.
pub(crate) const TLS: &str = "Hayward, TLS";

/// The figures of one server.
pub(crate) struct Moved {
    /// Whose they are.
    pub(crate) name: &'static str,
    /// MiB per second into a file.
    pub(crate) up: f64,
    /// … and out of one.
    pub(crate) down: f64,
    /// The most memory that it held, in MiB.
    pub(crate) peak_mib: f64,
}

/// Measures all of them, round by round. The servers are their own: what they hold is what this takes.
pub(crate) fn measure(running: &Running, rounds: u32, is_quick: bool) -> Result<Vec<Moved>> {
    output::step("transfers");
    let folder = tempfile::tempdir().context("failed to make a scratch folder")?;
    let source = folder.path().join("source");
    let bytes = if is_quick { BYTES_QUICK } else { BYTES };
    fill(&source, bytes)?;
    let fresh = |name: &str| {
        running.rig.hayward(&folder.path().join(name), &folder.path().join(format!("{name}.ready")))
    };
    let synced =
        running.rig.synced_hayward(&folder.path().join("synced"), &folder.path().join("synced.ready"))?;
    let tls = running.rig.tls_hayward(&folder.path().join("tls"), &folder.path().join("tls.ready"))?;
    let servers: [(&'static str, Server); 4] = [
        ("Hayward", fresh("plain")?),
        (TLS, tls),
        ("Hayward, file synced", synced),
        ("mymcp 3.1.0", running.rig.mymcp_native()?),
    ];
    let mut seconds = vec![(Vec::new(), Vec::new()); servers.len()];
    for _ in 0..rounds {
        for ((_, server), (up, down)) in servers.iter().zip(&mut seconds) {
            let target = folder.path().join("target");
            up.push(upload(&server.endpoint, &source, &target)?);
            ensure!(target.metadata().context("no file came")?.len() == bytes, "a part of the file came");
            down.push(download(&server.endpoint, &target)?);
            std::fs::remove_file(&target).context("failed to remove a file")?;
        }
    }
    let mib = f64::from(u32::try_from(bytes >> 20)?);
    let moved = servers.iter().zip(seconds).map(|((name, server), (up, down))| {
        let rate = |seconds: Vec<f64>| mib / median(seconds.into_iter()).unwrap_or(f64::NAN);
        Ok(Moved { name, up: rate(up), down: rate(down), peak_mib: server.peak_mib()? })
    });
    moved.collect()
}

fn fill(path: &Path, bytes: u64) -> Result<()> {
    let file = File::create(path).context("failed to make a file")?;
    let mut zeros = std::io::Read::take(std::io::repeat(0x5a), bytes);
    std::io::copy(&mut zeros, &mut std::io::BufWriter::new(file)).context("failed to fill a file")?;
    Ok(())
}

/// Seconds.
fn upload(endpoint: &Endpoint, source: &Path, target: &Path) -> Result<f64> {
    let arguments = serde_json::json!({ "dest_path": target });
    let url = ticket(endpoint, "prepare_upload", &arguments)?;
    timed(curl(endpoint).args(["-o", "/dev/null", "-T"]).arg(source).arg(url))
}

fn download(endpoint: &Endpoint, source: &Path) -> Result<f64> {
    let url = ticket(endpoint, "prepare_download", &serde_json::json!({ "src_path": source }))?;
    timed(curl(endpoint).args(["-o", "/dev/null", &url]))
}

/// Fails on a refusal; knows the certificate of the server.
fn curl(endpoint: &Endpoint) -> Command {
    let mut curl = step::command("curl");
    curl.args(["-sS", "--fail-with-body"]);
    if let Some(certificate) = &endpoint.certificate {
        curl.arg("--cacert").arg(certificate);
    }
    curl
}

fn timed(command: &mut Command) -> Result<f64> {
    let begun = Instant::now();
    step::run(command)?;
    Ok(begun.elapsed().as_secs_f64())
}

/// The URL of a new ticket.
fn ticket(endpoint: &Endpoint, tool: &str, arguments: &serde_json::Value) -> Result<String> {
    let call = serde_json::json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": tool, "arguments": arguments },
    });
    let bearer = format!("Authorization: Bearer {}", endpoint.token);
    let mut asking = curl(endpoint);
    for header in ["Content-Type: application/json", "MCP-Protocol-Version: 2025-06-18", &bearer, ACCEPT] {
        asking.args(["-H", header]);
    }
    let answer = step::capture(asking.args(["--data-binary", &call.to_string(), &endpoint.url]))?;
    let path = path_in(&answer).with_context(|| format!("no ticket: {answer}"))?;
    Ok(endpoint.at(path).url)
}

fn path_in(answer: &str) -> Option<&str> {
    let from = answer.find("/files/raw/")?;
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_');
    let length = answer[from..].find(|c| !is_part(c)).unwrap_or(answer.len() - from);
    Some(&answer[from..from + length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_found_in_whatever_form_it_is_told() {
        assert_eq!(path_in(r#"{\"url\": \"/files/raw/aB-_9\", \"x\""#), Some("/files/raw/aB-_9"));
        assert_eq!(path_in("http://h:1/files/raw/x"), Some("/files/raw/x"));
        assert_eq!(path_in("nothing"), None);
    }
}
