//! The image: built by the recipe in `deploy/`, started as the guide says, asked from outside.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::super::{Packages, VERSION, size};
use super::ask::{Asked, call};
use crate::toolbox::docker::Docker;
use crate::{step, workspace};

/// How long the container may take until it is healthy: its first check comes after an interval.
const HEALTHY_WITHIN: Duration = Duration::from_secs(90);
/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The endpoint, as it is published.
const URL: &str = "http://127.0.0.1:9765/mcp";

pub(super) fn check(packages: &Packages) -> Result<Vec<String>> {
    let docker = Docker::start()?;
    let bytes = built(&docker, &packages.context)?;
    refused(&docker)?;
    let token = first_token(&docker)?;
    started(&docker)?;
    healthy(&docker, "hayward")?;
    used(&docker, &token)?;
    stopped(&docker)?;
    composed(&docker)?;
    Ok(vec![
        "docker build from nothing, run as 65532 with a read-only root and no capabilities".to_owned(),
        "beyond loopback it is refused until it is said how tokens are kept from others".to_owned(),
        "its own health check says healthy; read_file through the published port by a stored token"
            .to_owned(),
        "audit verify on its volume; docker stop ends it by itself".to_owned(),
        "deploy/compose.yaml comes up healthy".to_owned(),
        size("image", bytes),
    ])
}

/// Builds the image; returns its size.
fn built(docker: &Docker, context: &Path) -> Result<u64> {
    let recipe = workspace::root().join("deploy/Containerfile").display().to_string();
    let context = context.display().to_string();
    docker.good(&["build", "--quiet", "--file", &recipe, "--tag", "hayward", &context])?;
    let said = docker.good(&["run", "--rm", "--network", "none", "hayward", "version"])?;
    ensure!(said == VERSION, "the image says that it is `{said}`");
    let bytes = docker.good(&["image", "inspect", "--format", "{{.Size}}", "hayward"])?;
    bytes.parse().with_context(|| format!("`{bytes}` is no size"))
}

/// Nothing says how tokens are kept from others on the wire.
fn refused(docker: &Docker) -> Result<()> {
    let output = docker.output(&["run", "--rm", "hayward"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(78) && said.contains("refusing to listen on `0.0.0.0`"),
        "it started without encryption: {} {said}",
        output.status
    );
    Ok(())
}

/// Makes a token in the volume, before there is a daemon.
fn first_token(docker: &Docker) -> Result<String> {
    let words = ["run", "--rm", "--volume", "state:/var/lib/hayward", "hayward", "token", "add"];
    let said = docker.good(&[&words[..], &["--name", "agent", "--role", "ro"]].concat())?;
    docker.good(&[&words[..], &["--name", "me", "--role", "admin"]].concat())?;
    let token = said.split_whitespace().find(|word| word.starts_with("hwd_ro_"));
    Ok(token.with_context(|| format!("there is no token in `{said}`"))?.to_owned())
}

fn started(docker: &Docker) -> Result<()> {
    let run = ["run", "--detach", "--name", "hayward", "--read-only", "--cap-drop", "ALL"];
    let with = ["--security-opt", "no-new-privileges", "--volume", "state:/var/lib/hayward"];
    let open = ["--publish", "127.0.0.1:9765:8765", "--env", "HAYWARD_INSECURE_HTTP=true", "hayward"];
    docker.good(&[&run[..], &with, &open].concat())?;
    Ok(())
}

/// Waits for the verdict of the image's own check.
fn healthy(docker: &Docker, container: &str) -> Result<()> {
    let start = Instant::now();
    let state = ["inspect", "--format", "{{.State.Status}} {{.State.Health.Status}}", container];
    while start.elapsed() < HEALTHY_WITHIN {
        match docker.good(&state)? {
            state if state == "running healthy" => return Ok(()),
            state if state == "running starting" => std::thread::park_timeout(LOOK_EVERY),
            state => bail!("the container is `{state}`: {}", logs(docker, container)?),
        }
    }
    bail!("the container is not healthy: {}", logs(docker, container)?)
}

fn logs(docker: &Docker, container: &str) -> Result<String> {
    let output = docker.output(&["logs", container])?;
    let health = docker.good(&["inspect", "--format", "{{json .State.Health}}", container])?;
    Ok(format!("{}{health}", String::from_utf8_lossy(&output.stderr)))
}

/// Calls a tool from outside, and has the record say so.
fn used(docker: &Docker, token: &str) -> Result<()> {
    let asked = Asked { url: URL, token };
    let arguments = json!({ "file_path": "/etc/hostname" });
    let result = call(docker.beside("curl"), &asked, "read_file", &arguments)?;
    let name = docker.good(&["inspect", "--format", "{{.Config.Hostname}}", "hayward"])?;
    ensure!(result.to_string().contains(&name), "`read_file` answered {result}");
    let stranger = Asked { url: URL, token: "hwd_ro_0" };
    ensure!(
        call(docker.beside("curl"), &stranger, "read_file", &json!({ "file_path": "/etc/hostname" }))
            .is_err(),
        "who has no token is served"
    );
    docker.good(&["exec", "hayward", "/usr/bin/hayward", "audit", "verify"])?;
    Ok(())
}

fn stopped(docker: &Docker) -> Result<()> {
    docker.good(&["stop", "--time", "30", "hayward"])?;
    let code = docker.good(&["inspect", "--format", "{{.State.ExitCode}}", "hayward"])?;
    ensure!(code == "0", "it ended with {code}: {}", logs(docker, "hayward")?);
    let verify = ["run", "--rm", "--volume", "state:/var/lib/hayward", "hayward", "audit", "verify"];
    docker.good(&verify)?;
    Ok(())
}

/// The example for Compose, as it is.
fn composed(docker: &Docker) -> Result<()> {
    composing(docker, &["up", "--detach"])?;
    let container = composing(docker, &["ps", "--quiet", "hayward"])?;
    healthy(docker, container.trim())?;
    let mut curl = docker.beside("curl");
    curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*", "http://127.0.0.1:8765/health"]);
    let said = step::capture(&mut curl)?;
    ensure!(said.contains("\"ok\""), "/health answered {said}");
    composing(docker, &["down", "--volumes"])?;
    Ok(())
}

/// Compose, of the example in `deploy/`.
fn composing(docker: &Docker, words: &[&str]) -> Result<String> {
    let mut compose = docker.client("docker-compose");
    compose.args(["--project-name", "example", "--file", "deploy/compose.yaml"]);
    step::capture(compose.args(words))
}
