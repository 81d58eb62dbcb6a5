//! A daemon with its first user, and commands that are logged in there.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use hayward_testkit::daemon::{Daemon, command};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_hayward");

/// The password of the first user.
pub(crate) const PASSWORD: &str = "Correct-horse-1";

/// What a command said, and what it exited with.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) struct Rig {
    pub(crate) daemon: Daemon,
    pub(crate) dir: TempDir,
}

impl Rig {
    /// A daemon without users.
    pub(crate) fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let daemon = Daemon::start(BINARY, &dir.path().join("data"), &[]).unwrap();
        Self { daemon, dir }
    }

    /// A daemon where `ada@example.org` may do everything, and is logged in.
    pub(crate) fn new() -> Self {
        let rig = Self::empty();
        let mut login = rig.command(&["login", "--email", "ada@example.org", "--password-stdin"]);
        login.env("HAYWARD_TOKEN", rig.daemon.token("admin"));
        let said = finish(login, PASSWORD);
        assert_eq!(said.code, 0, "{said:?}");
        rig
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, and says where it is.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = command(BINARY, args);
        command
            .env("HAYWARD_URL", format!("http://{}", self.daemon.address))
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.dir.path())
            .current_dir(self.dir.path());
        command
    }

    /// Runs a command with this standard input.
    pub(crate) fn with(&self, args: &[&str], input: &str) -> Said {
        finish(self.command(args), input)
    }

    pub(crate) fn run(&self, args: &[&str]) -> Said {
        self.with(args, "")
    }

    /// What a command that goes well writes.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let said = self.run(args);
        assert_eq!(said.code, 0, "{args:?}: {said:?}");
        said.out
    }

    /// What a command tells that fails so.
    pub(crate) fn fails(&self, code: i32, args: &[&str]) -> String {
        let said = self.run(args);
        assert_eq!(said.code, code, "{args:?}: {said:?}");
        said.err
    }
}

pub(crate) fn finish(mut command: Command, input: &str) -> Said {
    use std::io::Write;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // What reads nothing may have ended already.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}
