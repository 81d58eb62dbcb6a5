//! A PostgreSQL of our own: made in a folder of temporary files, on a private port of loopback, gone when it is dropped.
//!
//! PostgreSQL refuses to run as root, so there it runs as `nobody`.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::debian;
use crate::{step, workspace};

/// Where Debian keeps the programs, by version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The user of the database, and its password: on loopback only, for as long as it runs.
const USER: &str = "hayward";
const PASSWORD: &str = "not-a-secret-7Qx";

/// Whether what was committed has to survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    /// It has to: as in real use.
    Synced,
    /// It needn't: for tests, which are many.
    Unsynced,
}

/// A running server.
pub(crate) struct Postgres {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
}

impl Postgres {
    /// Makes one and starts it; installs it first where it isn't there.
    pub(crate) fn start(disk: Disk) -> Result<Self> {
        let programs = programs()?;
        let folder = tempfile::Builder::new().prefix("hayward-postgres-").tempdir();
        let folder = folder.context("failed to make a folder for PostgreSQL")?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = port.context("no port is free")?.port();
        let server = Self { programs, folder, port };
        std::fs::write(server.password_file(), PASSWORD).context("failed to write a password")?;
        if is_root()? {
            let place = server.folder.path();
            step::run(step::command("chown").args(["-R", "nobody:nogroup"]).arg(place))?;
        }
        server.make()?;
        server.launch(disk)?;
        Ok(server)
    }

    /// Where it is reached, as who may make databases.
    pub(crate) fn url(&self) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/postgres", self.port)
    }

    /// The same for a database of this name.
    pub(crate) fn url_of(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs this SQL.
    pub(crate) fn execute(&self, sql: &str) -> Result<String> {
        let mut psql = self.program("psql")?;
        step::capture(psql.args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-c", sql]).arg(self.url()))
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn password_file(&self) -> PathBuf {
        self.folder.path().join("password")
    }

    fn make(&self) -> Result<()> {
        let mut init = self.program("initdb")?;
        init.args([
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
            "--username",
            USER,
        ]);
        init.arg("--pwfile").arg(self.password_file()).arg("--pgdata").arg(self.data());
        step::capture(&mut init).map(drop).context("failed to make a PostgreSQL")
    }

    fn launch(&self, disk: Disk) -> Result<()> {
        let durable = if disk == Disk::Synced { "on" } else { "off" };
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=400 -c fsync={durable} \
             -c synchronous_commit={durable} -c full_page_writes={durable}",
            self.port
        );
        let mut start = self.program("pg_ctl")?;
        start.args(["start", "--silent", "--wait", "--timeout=60", "--options", &options]);
        start.arg("--log").arg(self.folder.path().join("log")).arg("--pgdata").arg(self.data());
        // What it starts keeps these open for as long as it runs.
        start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        step::run(&mut start).with_context(|| format!("PostgreSQL doesn't start: {}", self.last_words()))
    }

    fn last_words(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// One of its programs, as somebody who isn't root.
    fn program(&self, name: &str) -> Result<Command> {
        let program = self.programs.join(name);
        let mut command = if is_root()? {
            let mut command = step::command("setpriv");
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
            command
        } else {
            step::command(program)
        };
        command.current_dir(self.folder.path());
        Ok(command)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let stopped = self.program("pg_ctl").and_then(|mut stop| {
            stop.args(["stop", "--silent", "--wait", "--mode=immediate", "--pgdata"]).arg(self.data());
            step::run(&mut stop)
        });
        // It is a program of a test: whoever runs it sees that it stays.
        if let Err(error) = stopped {
            crate::output::note(format!("PostgreSQL in {} goes on: {error:#}", self.folder.path().display()));
        }
    }
}

/// The newest programs of it.
fn programs() -> Result<PathBuf> {
    if let Some(found) = newest(Path::new(VERSIONS)) {
        return Ok(found);
    }
    debian::ensure(&[("pg_ctl", "postgresql"), ("setpriv", "util-linux")])?;
    let on_path = || Some(workspace::find_program("pg_ctl")?.canonicalize().ok()?.parent()?.to_owned());
    newest(Path::new(VERSIONS)).or_else(on_path).context("PostgreSQL is installed, and `pg_ctl` isn't found")
}

fn newest(versions: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(versions).ok()?.filter_map(Result::ok);
    let numbered = entries.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let programs = entry.path().join("bin");
        programs.join("pg_ctl").exists().then_some((version, programs))
    });
    numbered.max_by_key(|(version, _)| *version).map(|(_, programs)| programs)
}

fn is_root() -> Result<bool> {
    Ok(step::capture(step::command("id").arg("-u"))?.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_version_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(newest(dir.path()), None);
        for (version, has_programs) in [("9", true), ("15", true), ("16", false), ("x", true)] {
            let programs = dir.path().join(version).join("bin");
            std::fs::create_dir_all(&programs).unwrap();
            if has_programs {
                std::fs::write(programs.join("pg_ctl"), "").unwrap();
            }
        }
        assert_eq!(newest(dir.path()), Some(dir.path().join("15/bin")));
    }

    #[test]
    fn one_answers_and_is_gone_when_it_is_dropped() {
        let Ok(server) = Postgres::start(Disk::Unsynced) else {
            assert!(workspace::variable("HAYWARD_TEST_REQUIRED").is_none(), "PostgreSQL doesn't start");
            return;
        };
        assert_eq!(server.execute("SELECT 6 * 7").unwrap().trim(), "42");
        let (folder, port) = (server.folder.path().to_owned(), server.port);
        drop(server);
        assert!(!folder.exists() && std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}
