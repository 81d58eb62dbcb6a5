//! A Docker engine of our own: private socket, data and pidfile, and nothing of it is left behind.
//!
//! It pulls nothing: images are imported. It changes no rule of the firewall and no setting of the kernel, so containers
//! reach each other over a bridge and nobody else.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::ensure_debian;
use crate::{output, step};

/// What it is made of, and its Debian packages.
const PROGRAMS: [(&str, &str); 4] =
    [("dockerd", "docker.io"), ("docker", "docker.io"), ("iptables", "iptables"), ("timeout", "coreutils")];
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
        let mut dockerd = step::command("dockerd");
        dockerd.arg(format!("--host=unix://{}", at("socket").display()));
        dockerd.arg("--data-root").arg(at("data")).arg("--exec-root").arg(at("run"));
        dockerd.arg("--pidfile").arg(at("pid")).arg("--config-file").arg(at("settings"));
        dockerd.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]);
        dockerd.stdout(log.try_clone().context("failed to share the engine's log")?).stderr(log);
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

    /// The client, speaking to this engine.
    fn client(&self) -> Command {
        client(&self.scratch.path().join("socket"))
    }

    fn output(&self, words: &[&str]) -> Result<Output> {
        step::output_of(self.client().args(words))
    }

    /// Makes an image of the tar of a root.
    pub(crate) fn import(&self, tar: &Path, image: &str) -> Result<()> {
        step::capture(self.client().arg("import").arg(tar).arg(image)).map(drop)
    }

    /// Makes a network that containers may be in.
    pub(crate) fn network(&self, name: &str) -> Result<()> {
        step::capture(self.client().args(["network", "create", name])).map(drop)
    }

    /// Starts a container with these options (of `docker run`) and command.
    pub(crate) fn run(
        &self,
        name: &str,
        options: &[&str],
        image: &str,
        command: &[&str],
    ) -> Result<Container> {
        let mut run = self.client();
        run.args(["run", "--detach", "--name", name, "--hostname", name]).args(options).arg(image);
        step::capture(run.args(command))?;
        Ok(Container { socket: self.scratch.path().join("socket"), name: name.to_owned() })
    }

    /// Ends it, with all that it has made; what stays is told.
    fn end(&mut self) -> Result<()> {
        if !matches!(self.daemon.try_wait(), Ok(None)) {
            return Ok(());
        }
        let listed = step::capture(self.client().args(["ps", "--all", "--quiet"])).unwrap_or_default();
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

/// Removes the folder of an engine that has ended.
fn clear(folder: &Path) -> Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").context("failed to read the mounts")?;
    for mount in mounts_below(&mounts, &folder.display().to_string()) {
        step::capture(step::command("umount").arg("--lazy").arg(mount))?;
    }
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

/// What is mounted below a folder, the innermost first.
fn mounts_below(mounts: &str, folder: &str) -> Vec<String> {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mut below: Vec<_> =
        points.filter(|point| Path::new(point).starts_with(folder)).map(str::to_owned).collect();
    below.reverse();
    below
}

fn client(socket: &Path) -> Command {
    let mut client = step::command("timeout");
    client.args(["--kill-after=5", COMMAND_SECONDS, "docker"]);
    client.arg(format!("--host=unix://{}", socket.display()));
    client
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

/// A container, for as long as its engine.
#[derive(Clone)]
pub(crate) struct Container {
    socket: PathBuf,
    name: String,
}

/// How a command ended in a container.
#[derive(Debug)]
pub(crate) struct Said {
    /// Its exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it wrote to stdout, without white space at its ends.
    pub(crate) stdout: String,
    /// The same of stderr.
    pub(crate) stderr: String,
}

impl Said {
    fn of(answer: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        Self { code: answer.status.code(), stdout: text(&answer.stdout), stderr: text(&answer.stderr) }
    }

    /// Whether it ended well.
    pub(crate) fn is_good(&self) -> bool {
        self.code == Some(0)
    }
}

impl Container {
    /// Runs a script of the shell as root, whatever its end.
    pub(crate) fn run(&self, script: &str) -> Result<Said> {
        let mut exec = client(&self.socket);
        exec.args(["exec", &self.name, "sh", "-c", script]);
        Ok(Said::of(&step::output_of(&mut exec)?))
    }

    /// Runs a script that has to end well, and returns what it wrote to stdout.
    pub(crate) fn good(&self, script: &str) -> Result<String> {
        let said = self.run(script)?;
        if !said.is_good() {
            let Self { name, .. } = self;
            let Said { code, stdout, stderr } = said;
            bail!("in `{name}`: `{script}` ended with {code:?}: {stderr} {stdout}");
        }
        Ok(said.stdout)
    }

    /// Ends its first process with this signal and, when it is gone, starts it again: its file system stays.
    pub(crate) fn boot(&self, signal: &str) -> Result<()> {
        for words in [&["kill", "--signal", signal][..], &["wait"], &["start"]] {
            step::capture(client(&self.socket).args(words).arg(&self.name))?;
        }
        Ok(())
    }

    /// Copies a file or folder into it.
    pub(crate) fn put(&self, from: &Path, to: &str) -> Result<()> {
        let mut copy = client(&self.socket);
        copy.args(["cp", "--follow-link"]).arg(from).arg(format!("{}:{to}", self.name));
        step::capture(&mut copy).map(drop)
    }

    /// Its address in a network.
    pub(crate) fn address(&self, network: &str) -> Result<String> {
        let form = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
        let mut inspect = client(&self.socket);
        let address = step::capture(inspect.args(["inspect", "--format", &form, &self.name]))?;
        Ok(address.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_a_folder_is_unmounted_innermost_first() {
        let mounts =
            "a / ext4 rw 0 0\nb /tmp/x ext4 rw 0 0\nc /tmp/x/y tmpfs rw 0 0\nd /tmp/xy tmpfs rw 0 0\n";
        assert_eq!(mounts_below(mounts, "/tmp/x"), ["/tmp/x/y", "/tmp/x"]);
        assert!(mounts_below(mounts, "/srv").is_empty());
    }

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
