//! The Debian package: installed in a clean Debian, used, upgraded, removed, installed again and purged.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::super::{Packages, VERSION};
use super::ask::{Asked, call};
use super::debian;
use super::root::Root;
use crate::bench::server::Server;
use crate::step;

/// Files that are there while it is installed.
const FILES: [&str; 11] = [
    "usr/bin/hayward",
    "usr/lib/systemd/system/hayward.service",
    "usr/lib/systemd/user/hayward.service",
    "usr/share/bash-completion/completions/hayward",
    "usr/share/doc/hayward/CHANGELOG.md.gz",
    "usr/share/doc/hayward/changelog.gz",
    "usr/share/doc/hayward/copyright",
    "usr/share/fish/vendor_completions.d/hayward.fish",
    "usr/share/man/man1/hayward.1.gz",
    "usr/share/man/man1/hayward-token-add.1.gz",
    "usr/share/zsh/vendor-completions/_hayward",
];

/// What is kept when it is removed.
const KEPT: [&str; 3] =
    ["etc/hayward/hayward.toml", "var/lib/hayward/hayward.db", "var/log/hayward/audit.log"];

/// What a purge takes.
const PURGED: [&str; 4] = [
    "etc/hayward",
    "var/lib/hayward",
    "var/log/hayward",
    "etc/systemd/system/multi-user.target.wants/hayward.service",
];

/// The package in there.
const PACKAGE: &str = "/tmp/hayward.deb";

pub(super) fn check(packages: &Packages) -> Result<Vec<String>> {
    let root = Root::of(&debian()?)?;
    fs::copy(&packages.deb, root.at(PACKAGE)).context("failed to copy the package")?;
    let mut lines = vec![installed(&root)?, linked(&root)?, units(&root)?, used(&root)?, upgraded(&root)?];
    lines.extend(gone(&root)?);
    Ok(lines)
}

fn install(root: &Root) -> Result<()> {
    let said = root.run(&["dpkg", "--install", PACKAGE])?;
    ensure!(!said.contains("error"), "{said}");
    Ok(())
}

fn installed(root: &Root) -> Result<String> {
    install(root)?;
    let said = root.run(&["hayward", "version"])?;
    ensure!(said.trim() == VERSION, "it says that it is `{}`", said.trim());
    FILES.iter().try_for_each(|name| there(root, name))?;
    for (name, mode) in [("var/lib/hayward", 0o700), ("var/log/hayward", 0o750), ("etc/hayward", 0o755)] {
        let metadata = fs::metadata(root.at(name)).with_context(|| format!("there is no `/{name}`"))?;
        let found = metadata.permissions().mode() & 0o777;
        ensure!(found == mode, "`/{name}` has mode {found:o}");
    }
    for page in ["hayward", "hayward-serve", "hayward-token-add"] {
        let path = root.run(&["man", "-w", page])?;
        ensure!(path.trim() == format!("/usr/share/man/man1/{page}.1.gz"), "man finds `{}`", path.trim());
    }
    let warned = root.run(&["man", "--warnings", "-E", "UTF-8", "hayward-serve"])?;
    ensure!(warned.contains("HAYWARD_PORT"), "the page of `serve` can't be read");
    // Every file is as its sum says, and dpkg misses none.
    let odd = root.run(&["dpkg", "--verify", "hayward"])?;
    ensure!(odd.is_empty(), "dpkg finds {odd}");
    Ok(format!("dpkg -i in a clean Debian: version {VERSION}, files, modes, pages of the manual"))
}

/// That its binary uses the system's libraries, and that these are what the package depends on.
fn linked(root: &Root) -> Result<String> {
    let mut readelf = step::command("readelf");
    readelf.args(["--program-headers", "--wide"]).arg(root.at("usr/bin/hayward"));
    ensure!(step::capture(&mut readelf)?.contains("INTERP"), "the package has the static binary");
    let depends = root.run(&["dpkg-query", "--show", "--showformat=${Depends}", "hayward"])?;
    // The loader says them instead of starting the program.
    let loaded = root.run(&["sh", "-c", "LD_TRACE_LOADED_OBJECTS=1 hayward"])?;
    let paths = loaded.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    for path in paths {
        let name = path.rsplit('/').next().unwrap_or_default();
        let owner = root.run(&["dpkg-query", "--search", &format!("*/{name}")])?;
        let owner = owner.split(':').next().unwrap_or_default().to_owned();
        ensure!(depends.contains(&owner), "`{path}` is of `{owner}`, and the package depends on {depends}");
    }
    ensure!(loaded.contains("libc.so.6"), "the loader finds no glibc: {loaded}");
    Ok(format!("its binary uses the system's libraries, all of packages that it depends on: {depends}"))
}

/// What systemd says of the units, and that nothing was started or enabled.
fn units(root: &Root) -> Result<String> {
    for kind in ["system", "user"] {
        let path = format!("/usr/lib/systemd/{kind}/hayward.service");
        let mut verify =
            root.command(&["systemd-analyze", &format!("--{kind}"), "--man=no", "verify", &path]);
        let output = step::output_of(&mut verify)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let odd: Vec<_> = said.lines().filter(|line| line.contains("hayward.service")).collect();
        ensure!(odd.is_empty(), "systemd finds in the {kind} unit: {odd:?}");
    }
    let state = step::output_of(&mut root.command(&["systemctl", "is-enabled", "hayward"]))?;
    let state = String::from_utf8_lossy(&state.stdout).into_owned();
    ensure!(state.trim() == "disabled", "after the installation the service is `{}`", state.trim());
    ensure!(!root.at("var/lib/hayward/hayward.db").exists(), "the installation started something");
    root.run(&["systemctl", "enable", "hayward"])?;
    there(root, "etc/systemd/system/multi-user.target.wants/hayward.service")?;
    Ok("systemd takes both units; nothing is enabled or started unasked".to_owned())
}

/// Serves with the configuration that the package brought, and has a tool called.
fn used(root: &Root) -> Result<String> {
    let serve = ["hayward", "serve", "--port", "0", "--ready-file", "/tmp/ready"];
    let ready = root.at("tmp/ready");
    let server = Server::start(&mut root.command(&serve), &ready)?;
    let asked = Asked { url: &server.endpoint.url, token: &server.endpoint.token };
    let command = "dpkg-query --show --showformat='${Package} ${Version}' hayward";
    let result = call(step::command("curl"), &asked, "bash_execute", &json!({ "command": command }))?;
    let said = result["stdout"].as_str().unwrap_or_default();
    ensure!(said.trim() == format!("hayward {VERSION}"), "`bash_execute` answered {result}");
    let read = json!({ "file_path": "/etc/debian_version" });
    let result = call(step::command("curl"), &asked, "read_file", &read)?;
    let version = fs::read_to_string(root.at("etc/debian_version")).context("it is no Debian")?;
    ensure!(result.to_string().contains(version.trim()), "`read_file` answered {result}");
    drop(server);
    ensure!(!ready.exists(), "the daemon did not end by itself");
    let verified = root.run(&["hayward", "audit", "verify"])?;
    let found = root.run(&["hayward", "audit", "query", "--tool", "bash_execute"])?;
    ensure!(found.contains("bash_execute"), "the record lacks the call: {found}");
    Ok(format!(
        "serve with its configuration: bash_execute and read_file by a token of the ready file; audit verify: {}",
        verified.lines().next().unwrap_or_default()
    ))
}

/// What was changed and made stays when a version comes over another.
fn upgraded(root: &Root) -> Result<String> {
    root.run(&["hayward", "token", "add", "--name", "kept", "--role", "ro"])?;
    root.run(&["hayward", "config", "set", "port", "9000"])?;
    let mode = fs::Permissions::from_mode(0o711);
    fs::set_permissions(root.at("var/log/hayward"), mode).context("failed to change a mode")?;
    install(root)?;
    kept(root)?;
    let mode = fs::metadata(root.at("var/log/hayward")).context("no log directory")?.permissions().mode();
    ensure!(mode & 0o777 == 0o711, "an upgrade changed a directory that was there");
    Ok("dpkg -i over it: tokens, changed configuration and directories stay".to_owned())
}

fn kept(root: &Root) -> Result<()> {
    KEPT.iter().try_for_each(|name| there(root, name))?;
    let config = fs::read_to_string(root.at(KEPT[0])).context("the configuration can't be read")?;
    ensure!(config.contains("port = 9000"), "the configuration was changed: {config}");
    if root.at("usr/bin/hayward").exists() {
        let tokens = root.run(&["hayward", "token", "list"])?;
        ensure!(tokens.contains("kept"), "a token is gone: {tokens}");
    }
    Ok(())
}

fn gone(root: &Root) -> Result<[String; 2]> {
    root.run(&["dpkg", "--remove", "hayward"])?;
    if let Some(left) = FILES.iter().find(|name| root.at(name).exists()) {
        bail!("`/{left}` is there after `dpkg -r`");
    }
    kept(root)?;
    ensure!(root.at(PURGED[3]).symlink_metadata().is_err(), "a service without a program is still enabled");
    install(root)?;
    kept(root)?;
    root.run(&["dpkg", "--purge", "hayward"])?;
    if let Some(left) = FILES.iter().chain(&PURGED).find(|name| root.at(name).symlink_metadata().is_ok()) {
        bail!("`/{left}` is there after `dpkg -P`");
    }
    let known = step::output_of(&mut root.command(&["dpkg-query", "--status", "hayward"]))?;
    ensure!(!known.status.success(), "dpkg still knows the package");
    Ok([
        "dpkg -r: the program goes, the service is disabled; tokens, record and configuration stay, also for the next one".to_owned(),
        "dpkg -P: all of it goes".to_owned(),
    ])
}

fn there(root: &Root, name: &str) -> Result<()> {
    // A link may lead to what is there only in that root.
    ensure!(root.at(name).symlink_metadata().is_ok(), "there is no `/{name}`");
    Ok(())
}
