//! The Debian package under a running systemd: what its scripts do to a service that runs, and to one that doesn't.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::super::Packages;
use super::engine::Engine;
use super::scratch;
use crate::{step, toolbox};

/// How long the system may take to start.
const UP_WITHIN: Duration = Duration::from_mins(1);
/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The package in there.
const PACKAGE: &str = "/root/hayward.deb";

pub(super) fn check(packages: &Packages) -> Result<Vec<String>> {
    let engine = Engine::start()?;
    boot(&engine)?;
    let deb = packages.deb.display().to_string();
    engine.run(&["cp", &deb, &format!("system:{PACKAGE}")])?;
    let first = started(&engine)?;
    let second = upgraded(&engine, &first)?;
    removed(&engine, &second)?;
    Ok(vec![
        "dpkg -i starts nothing; systemctl enable --now, doctor --url, systemctl reload".to_owned(),
        "an upgrade restarts a service that runs, and starts none that is stopped".to_owned(),
        "dpkg -r stops and disables it; installed again it stays stopped; dpkg -P".to_owned(),
    ])
}

/// Starts the clean Debian as a system of its own.
fn boot(engine: &Engine) -> Result<()> {
    let scratch = scratch()?;
    let archive = scratch.path().join("root.tar");
    let mut tar = step::command("tar");
    tar.arg("--create").arg("--file").arg(&archive).arg("--directory").arg(toolbox::ensure_debian_root()?);
    step::run(tar.arg("."))?;
    engine.run(&["import", &archive.display().to_string(), "debian"])?;
    let run = [
        "run",
        "--detach",
        "--name",
        "system",
        "--cap-add",
        "SYS_ADMIN",
        "--tmpfs",
        "/run",
        "--tmpfs",
        "/tmp",
    ];
    let allowed = ["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"];
    let init = ["--volume", "/sys/fs/cgroup:/sys/fs/cgroup:ro", "debian", "/sbin/init"];
    engine.run(&[&run[..], &allowed, &init].concat())?;
    let start = Instant::now();
    while start.elapsed() < UP_WITHIN {
        if matches!(said(engine, &["systemctl", "is-system-running"])?.as_str(), "running" | "degraded") {
            return Ok(());
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    bail!("systemd does not start: {}", said(engine, &["systemctl", "is-system-running"])?)
}

/// Installs it and starts the service; returns the id of its process.
fn started(engine: &Engine) -> Result<String> {
    inside(engine, &["dpkg", "--install", PACKAGE])?;
    is(engine, "is-active", "inactive")?;
    inside(engine, &["hayward", "token", "add", "--name", "me", "--role", "admin"])?;
    inside(engine, &["systemctl", "enable", "--now", "hayward"])?;
    is(engine, "is-active", "active")?;
    inside(engine, &["hayward", "doctor", "--url", "http://127.0.0.1:8765"])?;
    let process = process(engine)?;
    inside(engine, &["systemctl", "reload", "hayward"])?;
    ensure!(self::process(engine)? == process, "a reload ended the service");
    Ok(process)
}

/// The same version over it; returns the id of the new process.
fn upgraded(engine: &Engine, before: &str) -> Result<String> {
    inside(engine, &["dpkg", "--install", PACKAGE])?;
    is(engine, "is-active", "active")?;
    let after = process(engine)?;
    ensure!(after != before, "the service is still the old program");
    inside(engine, &["systemctl", "stop", "hayward"])?;
    inside(engine, &["dpkg", "--install", PACKAGE])?;
    is(engine, "is-active", "inactive")?;
    is(engine, "is-enabled", "enabled")?;
    inside(engine, &["systemctl", "start", "hayward"])?;
    process(engine)
}

fn removed(engine: &Engine, running: &str) -> Result<()> {
    inside(engine, &["dpkg", "--remove", "hayward"])?;
    is(engine, "is-active", "inactive")?;
    inside(engine, &["test", "!", "-e", &format!("/proc/{running}")])?;
    inside(engine, &["dpkg", "--install", PACKAGE])?;
    is(engine, "is-active", "inactive")?;
    is(engine, "is-enabled", "disabled")?;
    inside(engine, &["dpkg", "--purge", "hayward"])?;
    inside(engine, &["test", "!", "-e", "/var/lib/hayward"])?;
    Ok(())
}

fn process(engine: &Engine) -> Result<String> {
    let id = inside(engine, &["systemctl", "show", "--property", "MainPID", "--value", "hayward"])?;
    ensure!(id != "0", "the service has no process");
    Ok(id)
}

/// What `systemctl` answers to a question about the service.
fn is(engine: &Engine, question: &str, expected: &str) -> Result<()> {
    let state = said(engine, &["systemctl", question, "hayward"])?;
    ensure!(
        state == expected,
        "`systemctl {question} hayward` says `{state}`, and `{expected}` was expected"
    );
    Ok(())
}

fn inside(engine: &Engine, words: &[&str]) -> Result<String> {
    engine.run(&[&["exec", "system"], words].concat())
}

/// What a program in there says, whatever it exits with.
fn said(engine: &Engine, words: &[&str]) -> Result<String> {
    let output = step::output_of(&mut engine.docker(&[&["exec", "system"], words].concat()))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
