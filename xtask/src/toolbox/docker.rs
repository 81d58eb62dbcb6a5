//! A Docker engine of our own: private socket, data, network and mounts, and nothing of it is left behind.
//!
//! It pulls nothing: images are imported or built. Its bridges and the ports that it opens are in a network of its own,
//! where containers reach each other and what is started [beside](Docker::beside) it reaches them, and nobody else. It
//! needs no firewall there: ports are forwarded by a program.

mod container;

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::ensure_debian;
use crate::{output, step};

pub(crate) use container::{Container, Said};

/// What it is made of, and its Debian packages.
pub(crate) const PROGRAMS: [(&str, &str); 7] = [
    ("docker", "docker.io"),
    ("dockerd", "docker.io"),
    ("ip", "iproute2"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
    ("timeout", "coreutils"),
    ("unshare", "util-linux"),
];
/// Makes the engine's own network ready, and becomes the engine. A containerd of the machine would be used if it were seen,
/// and would not see the engine's mounts.
const BEGIN: &str = "ip link set lo up && { ! [ -d /run/containerd ] || mount -t tmpfs none /run/containerd; } && \
     exec dockerd \"$@\"";
/// What systemd needs of a container that it starts in, as options of `docker run`.
pub(crate) const FOR_SYSTEMD: [&str; 15] = [
    "--cap-add",
    "SYS_ADMIN",
    // For `PrivateUsers=` beside `ProtectProc=`, and what root of a machine has anyway.
    "--cap-add",
    "SYS_PTRACE",
    "--security-opt",
    "seccomp=unconfined",
    "--security-opt",
    "apparmor=unconfined",
    "--tmpfs",
    "/run:exec",
    "--tmpfs",
    "/tmp:exec",
    "--stop-signal=SIGRTMIN+3",
    "--volume",
    "/sys/fs/cgroup:/sys/fs/cgroup:ro",
];
/// How the names of engines' folders begin.
const PREFIX: &str = "hayward-engine-";
/// The file that says whose engine it is: the number of that process.
const OWNER: &str = "owner";
/// How long the engine may take to start, and to end.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a command in a container may take.
const COMMAND_SECONDS: &str = "180";
/// How often is looked whether something came true.
const PAUSE: Duration = Duration::from_millis(100);

/// A running engine; it ends with all its containers when this goes.
pub(crate) struct Docker {
    scratch: TempDir,
    daemon: Child,
}

impl Docker {
    /// Starts one.
    pub(crate) fn start() -> Result<Self> {
        ensure_debian(&PROGRAMS)?;
        clear_dead(&std::env::temp_dir())?;
        let scratch =
            tempfile::Builder::new().prefix(PREFIX).tempdir().context("failed to make a scratch folder")?;
        let log = File::create(scratch.path().join("log")).context("failed to make the engine's log")?;
        let at = |name: &str| scratch.path().join(name);
        std::fs::write(at(OWNER), std::process::id().to_string())
            .context("failed to sign the engine's folder")?;
        // Whatever the machine's own engine is set to is not for ours.
        std::fs::write(at("settings"), "{}").context("failed to write the engine's settings")?;
        let mut dockerd = step::command("unshare");
        dockerd.args(["--net", "--mount", "sh", "-c", BEGIN, "dockerd"]);
        dockerd.arg(format!("--host={}", address(scratch.path())));
        dockerd.arg("--data-root").arg(at("data")).arg("--exec-root").arg(at("run"));
        dockerd.arg("--pidfile").arg(at("pid")).arg("--config-file").arg(at("settings"));
        dockerd.args(["--iptables=false", "--ip6tables=false", "--ip-forward=false"]);
        dockerd
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("failed to share the engine's log")?)
            .stderr(log);
        let daemon = dockerd.spawn().context("failed to start `dockerd`")?;
        let mut docker = Self { scratch, daemon };
        docker.wait()?;
        Ok(docker)
    }

    fn wait(&mut self) -> Result<()> {
        let mut is_there = false;
        until(PATIENCE, || {
            is_there = self.output(&["version"]).is_ok_and(|answer| answer.status.success());
            is_there || !matches!(self.daemon.try_wait(), Ok(None))
        });
        if is_there {
            return Ok(());
        }
        let log = std::fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default();
        let last: Vec<_> = log.lines().rev().take(5).collect();
        bail!("`dockerd` does not answer (it needs root and a kernel with bridges): {}", last.join("; "));
    }

    /// A client of this engine: `docker`, or `docker-compose`, which whoever uses it has to install.
    pub(crate) fn client(&self, program: &str) -> Command {
        client(self.scratch.path(), program)
    }

    /// Runs `docker` with these words, whatever its end.
    pub(crate) fn output(&self, words: &[&str]) -> Result<Output> {
        step::output_of(self.client("docker").args(words))
    }

    /// Runs `docker` with these words, which has to end well; returns what it wrote to stdout, without white space at
    /// its ends.
    pub(crate) fn good(&self, words: &[&str]) -> Result<String> {
        Ok(step::capture(self.client("docker").args(words))?.trim().to_owned())
    }

    /// A program of this machine in the engine's network, where its published ports are.
    pub(crate) fn beside(&self, program: &str) -> Command {
        let mut command = step::command("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.daemon.id())).arg(program);
        command
    }

    /// Makes an image of the tar of a root.
    pub(crate) fn import(&self, tar: &Path, image: &str) -> Result<()> {
        step::capture(self.client("docker").arg("import").arg(tar).arg(image)).map(drop)
    }

    /// Makes a network that containers may be in.
    pub(crate) fn network(&self, name: &str) -> Result<()> {
        self.good(&["network", "create", name]).map(drop)
    }

    /// Starts a container with these options (of `docker run`) and command.
    pub(crate) fn run(
        &self,
        name: &str,
        options: &[&str],
        image: &str,
        command: &[&str],
    ) -> Result<Container> {
        let run = ["run", "--detach", "--name", name, "--hostname", name];
        self.good(&[&run[..], options, &[image], command].concat())?;
        Ok(Container { engine: self.scratch.path().to_owned(), name: name.to_owned() })
    }

    /// Ends it, with all that it has made; what stays is told.
    fn end(&mut self) -> Result<()> {
        if !matches!(self.daemon.try_wait(), Ok(None)) {
            return Ok(());
        }
        let listed = self.good(&["ps", "--all", "--quiet"]).unwrap_or_default();
        let containers: Vec<_> = listed.split_whitespace().collect();
        if !containers.is_empty() {
            self.output(&[&["rm", "--force", "--volumes"], &containers[..]].concat())?;
        }
        self.output(&["network", "prune", "--force"])?;
        let pid = i32::try_from(self.daemon.id()).ok().and_then(Pid::from_raw).context("it has an id")?;
        kill_process(pid, Signal::TERM).context("`dockerd` can't be told to end")?;
        if !until(PATIENCE, || matches!(self.daemon.try_wait(), Ok(Some(_)))) {
            self.daemon.kill().context("`dockerd` can't be killed")?;
            self.daemon.wait().context("`dockerd` stays")?;
        }
        clear(self.scratch.path())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            output::error(&error.context("something of the Docker engine is left"));
        }
    }
}

/// Removes the folder of an engine that has ended: what was mounted in it went with its mounts.
fn clear(folder: &Path) -> Result<()> {
    std::fs::remove_dir_all(folder).with_context(|| format!("`{}` stays", folder.display()))
}

/// Removes the folders of engines that were ended with whoever had started them (Ctrl-C).
fn clear_dead(folder: &Path) -> Result<()> {
    let entries = std::fs::read_dir(folder).context("failed to list the scratch folders")?;
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if is_ours && is_dead(&entry.path()) {
            clear(&entry.path())?;
        }
    }
    Ok(())
}

/// Whether an engine has been here that is gone: whoever has just begun has no number yet, and is let be.
fn is_dead(folder: &Path) -> bool {
    let owner = std::fs::read_to_string(folder.join(OWNER)).ok();
    owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
}

/// A client of the engine in this folder, with nobody's settings and the builder that is always there.
fn client(folder: &Path, program: &str) -> Command {
    let mut client = step::command("timeout");
    client.args(["--kill-after=5", COMMAND_SECONDS, program]);
    client.env("DOCKER_HOST", address(folder)).env("DOCKER_CONFIG", folder);
    client.env("DOCKER_BUILDKIT", "0").env_remove("DOCKER_CONTEXT");
    client
}

fn address(folder: &Path) -> String {
    format!("unix://{}", folder.join("socket").display())
}

/// Whether something comes true in that time.
pub(crate) fn until(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if is_so() {
            return true;
        }
        if start.elapsed() > patience {
            return false;
        }
        park_timeout(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_engines_whose_owner_is_gone_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, owner: Option<u32>| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            if let Some(owner) = owner {
                std::fs::write(path.join(OWNER), owner.to_string()).unwrap();
            }
            path
        };
        let dead = make("hayward-engine-dead", Some(u32::MAX));
        let others = [
            make("hayward-engine-lives", Some(std::process::id())),
            make("hayward-engine-begins", None),
            make("other", Some(u32::MAX)),
        ];
        clear_dead(folder.path()).unwrap();
        assert!(!dead.exists() && others.iter().all(|path| path.exists()));
    }

    #[test]
    fn a_condition_is_asked_until_it_is_so_or_time_is_up() {
        let mut asked = 0;
        let counts = || {
            asked += 1;
            asked == 3
        };
        assert!(until(PATIENCE, counts));
        assert_eq!(asked, 3);
        assert!(!until(Duration::ZERO, || false));
    }
}
