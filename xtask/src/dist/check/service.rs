//! The Debian package under a running systemd: what its scripts do to a service that runs, and to one that doesn't.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::super::Packages;
use super::debian;
use crate::toolbox::docker::{Container, Docker, FOR_SYSTEMD, until};

/// How long the system may take to start.
const UP_WITHIN: Duration = Duration::from_mins(1);
/// The package in there.
const PACKAGE: &str = "/root/hayward.deb";

pub(super) fn check(packages: &Packages) -> Result<Vec<String>> {
    let docker = Docker::start()?;
    let system = boot(&docker)?;
    system.put(&packages.deb, PACKAGE)?;
    let first = started(&system)?;
    let second = upgraded(&system, &first)?;
    removed(&system, &second)?;
    Ok(vec![
        "dpkg -i starts nothing; systemctl enable --now, doctor --url, systemctl reload".to_owned(),
        "an upgrade restarts a service that runs, and starts none that is stopped".to_owned(),
        "dpkg -r stops and disables it; installed again it stays stopped; dpkg -P".to_owned(),
    ])
}

/// Starts the clean Debian as a system of its own.
fn boot(docker: &Docker) -> Result<Container> {
    docker.import(&debian()?, "debian")?;
    let system = docker.run("system", &FOR_SYSTEMD, "debian", &["/sbin/init"])?;
    let state = || Ok::<_, anyhow::Error>(system.run("systemctl is-system-running")?.stdout);
    let is_up = || matches!(state().as_deref(), Ok("running" | "degraded"));
    ensure!(until(UP_WITHIN, is_up), "systemd does not start: {}", state()?);
    Ok(system)
}

/// Installs it and starts the service; returns the id of its process.
fn started(system: &Container) -> Result<String> {
    system.good(&format!("dpkg --install {PACKAGE}"))?;
    is(system, "is-active", "inactive")?;
    system.good("hayward token add --name me --role admin")?;
    system.good("systemctl enable --now hayward")?;
    is(system, "is-active", "active")?;
    system.good("hayward doctor --url http://127.0.0.1:8765")?;
    let process = process(system)?;
    system.good("systemctl reload hayward")?;
    ensure!(self::process(system)? == process, "a reload ended the service");
    Ok(process)
}

/// The same version over it; returns the id of the new process.
fn upgraded(system: &Container, before: &str) -> Result<String> {
    system.good(&format!("dpkg --install {PACKAGE}"))?;
    is(system, "is-active", "active")?;
    let after = process(system)?;
    ensure!(after != before, "the service is still the old program");
    system.good("systemctl stop hayward")?;
    system.good(&format!("dpkg --install {PACKAGE}"))?;
    is(system, "is-active", "inactive")?;
    is(system, "is-enabled", "enabled")?;
    system.good("systemctl start hayward")?;
    process(system)
}

fn removed(system: &Container, running: &str) -> Result<()> {
    system.good("dpkg --remove hayward")?;
    is(system, "is-active", "inactive")?;
    system.good(&format!("test ! -e /proc/{running}"))?;
    system.good(&format!("dpkg --install {PACKAGE}"))?;
    is(system, "is-active", "inactive")?;
    is(system, "is-enabled", "disabled")?;
    system.good("dpkg --purge hayward")?;
    system.good("test ! -e /var/lib/hayward")?;
    Ok(())
}

fn process(system: &Container) -> Result<String> {
    let id = system.good("systemctl show --property MainPID --value hayward")?;
    ensure!(id != "0", "the service has no process");
    Ok(id)
}

/// What `systemctl` answers to a question about the service.
fn is(system: &Container, question: &str, expected: &str) -> Result<()> {
    let state = system.run(&format!("systemctl {question} hayward"))?.stdout;
    ensure!(
        state == expected,
        "`systemctl {question} hayward` says `{state}`, and `{expected}` was expected"
    );
    Ok(())
}
