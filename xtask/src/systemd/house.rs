//! Two machines: the host, on which systemd runs, and the client, which reaches it over the network.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::certificates;
use crate::toolbox::docker::{Container, Docker, FOR_SYSTEMD, until};
use crate::toolbox::{Python, rootfs};
use crate::{output, step, workspace};

/// The name of the host, and of its certificate.
pub(super) const HOST: &str = "hayward.test";
/// Where our binary is on the host.
pub(super) const BINARY: &str = "/usr/local/bin/hayward";
/// What both machines see, on the host and on the client.
pub(super) const SHARED: &str = "/shared";
/// mymcp, with what its own clients are made of.
const MYMCP: (&str, &str) = ("mymcp-wheels", "algony-mymcp==2.1.1\nmcp<2\n");
/// The Python of Debian 12.
const PYTHON: &str = "3.11";
/// What both machines have beside what every Debian has.
const PACKAGES: [&str; 8] =
    ["systemd-sysv", "dbus", "procps", "curl", "ca-certificates", "openssl", "python3", "python3-venv"];
const IMAGE: &str = "debian-systemd";
const NETWORK: &str = "hayward-systemd";
/// How long a machine may take to start, and whatever else is waited for.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// Everything in the file systems of the host with mode and owner, the content of `/etc`, units, processes and sockets.
pub(super) const LISTING: &str = "find / -xdev \\( -path /proc -o -path /sys -o -path /shared \\) -prune -o -printf '%p %y %m %u:%g %l\\n' | sort; \
     find /run /tmp -xdev -printf '%p %y %m %u:%g %l\\n' | sort; find /etc -type f -exec sha256sum {} + | sort -k 2; \
     systemctl list-unit-files --no-legend; systemctl list-units --all --plain --no-legend 'hay*'; \
     ps -e -o args= | grep -v -e '^ps ' -e '^sh -c' -e '^grep ' -e '^sort' -e 'systemctl list' | sort; \
     awk '$4 == \"0A\" { print $2 }' /proc/net/tcp /proc/net/tcp6; cut -d ' ' -f 8 /proc/net/unix | sort -u";

/// The machines. They go first, then what they share.
pub(super) struct House {
    pub(super) host: Container,
    pub(super) client: Container,
    /// What is on the host before anything is installed, see [`LISTING`].
    pub(super) pristine: String,
    _docker: Docker,
    _shared: TempDir,
}

impl House {
    /// Builds our binary and both machines, and puts it onto the host.
    pub(super) fn build() -> Result<Self> {
        output::step("build");
        step::run(step::cargo().args(["build", "--quiet", "--package", "hayward", "--bins"]))?;
        let root = rootfs::ensure("debian-12-systemd", &PACKAGES)?;
        let wheels = Python::wheels(MYMCP.0, MYMCP.1, PYTHON)?;
        output::step("machines");
        let shared = tempfile::tempdir().context("failed to make a shared folder")?;
        let volume = format!("{}:{SHARED}", shared.path().display());
        let docker = Docker::start()?;
        docker.import(&root, IMAGE)?;
        docker.network(NETWORK)?;
        let options = [&FOR_SYSTEMD[..], &["--volume", &volume, "--network", NETWORK]].concat();
        let host = docker.run("host", &options, IMAGE, &["/sbin/init"])?;
        let options = ["--volume", &volume, "--network", NETWORK];
        let client = docker.run("client", &options, IMAGE, &["sleep", "infinity"])?;
        let mut house = Self { host, client, pristine: String::new(), _docker: docker, _shared: shared };
        house.furnish(&workspace::target().join("debug/hayward"), &wheels)?;
        house.pristine = house.host.good(LISTING)?;
        Ok(house)
    }

    fn furnish(&self, binary: &Path, wheels: &Path) -> Result<()> {
        self.up()?;
        self.host.put(binary, BINARY)?;
        self.host.put(wheels, &format!("{SHARED}/wheels"))?;
        // The client has one, too, to ask with.
        self.host.good(&format!("chmod 755 {BINARY} && cp -p {BINARY} {SHARED}/hayward"))?;
        certificates::make(&self.host)
    }

    /// Waits until the host is up, and tells the client its address.
    fn up(&self) -> Result<()> {
        let state = || self.host.run("systemctl is-system-running");
        if !until(PATIENCE, || state().is_ok_and(|said| said.stdout == "running")) {
            let failed = self.host.run("systemctl --failed --no-legend --plain")?;
            bail!("systemd does not run on the host: {:?}, failed: {}", state()?, failed.stdout);
        }
        let address = self.host.address(NETWORK)?;
        // A file that the engine mounts can be written and not be replaced.
        let name = format!(
            "known=$(grep -v {HOST} /etc/hosts); printf '%s\n{address} {HOST}\n' \"$known\" >/etc/hosts"
        );
        self.client.good(&name).map(drop)
    }

    /// Ends the host's systemd with this signal, and starts the host again.
    pub(super) fn boot(&self, signal: &str) -> Result<()> {
        self.host.boot(signal)?;
        self.up()
    }

    /// Shows what the service said last.
    pub(super) fn tell(&self) {
        let script = "systemctl status --no-pager --lines 0 hayward; journalctl --no-pager -u hayward -n 12 -o short-precise";
        match self.host.run(script) {
            Ok(said) => said.stdout.lines().for_each(output::note),
            Err(error) => output::error(&error),
        }
    }

    /// Waits until a script ends well on the host.
    pub(super) fn wait(&self, script: &str) -> Result<()> {
        if until(PATIENCE, || self.host.run(script).is_ok_and(|said| said.is_good())) {
            return Ok(());
        }
        bail!("`{script}` did not come true on the host");
    }
}

/// A word of a shell's line.
pub(super) fn word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_the_shell_is_taken_as_it_is() {
        assert_eq!(word("it's $x"), r"'it'\''s $x'");
    }
}
