//! The running system: its systemd, its users. Nothing else here starts a program.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use hayward_api::{Code, Error};
use hayward_exec::{Ending, Job, Profile, Quota, Survivors};
use tokio_util::sync::CancellationToken;

use crate::config::{AllLimits, Containment};
use crate::failure::Failure;
use crate::output;
use crate::stack::executor;
use crate::{fences, runtime};

/// Where systemd says that it runs, see `sd_booted(3)`.
const BOOTED: &str = "/run/systemd/system";
/// How long one of its commands may take: stopping a service waits for its calls.
const PATIENCE: Duration = Duration::from_mins(2);
/// Bytes of what a command says that are shown.
const SAID_BYTES_MAX: usize = 4_096;
/// Where its commands are looked for.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What users are called whom an installation made, so that they can be told from others.
const MADE: &str = "Made by hayward install-service";
/// The users of this machine, see passwd(5).
const USERS: &str = "/etc/passwd";

/// The running system, to be changed by root.
pub(super) struct System {
    /// The environment of its commands.
    env: Vec<(String, String)>,
}

impl System {
    /// The running system, if it has a systemd and we may change it.
    pub(super) fn here() -> Result<Self, Failure> {
        if !Path::new(BOOTED).exists() {
            let error = Error::new(
                Code::Unsupported,
                "no systemd runs here, so there is nothing to install a service in",
            );
            return Err(error
                .with_hint("start `hayward serve` by what starts services here; --dry-run shows a unit")
                .into());
        }
        if !rustix::process::geteuid().is_root() {
            let error = Error::new(Code::Forbidden, "only root installs and removes services");
            return Err(error.with_hint("run it with sudo; --dry-run shows what it would do").into());
        }
        Ok(Self { env: vec![("PATH".to_owned(), PATH.to_owned())] })
    }

    /// Runs a command to its end; what it says is told if it fails.
    pub(super) fn run(&self, words: &[String]) -> Result<(), Failure> {
        let (program, args) = words.split_first().ok_or_else(|| anyhow!("a command has a word"))?;
        let job = Job {
            program: program.clone(),
            args: args.to_vec(),
            env: self.env.clone(),
            cwd: PathBuf::from("/"),
            stdout_bytes_max: SAID_BYTES_MAX,
            stderr_bytes_max: SAID_BYTES_MAX,
            timeout: PATIENCE,
            survivors: Survivors::default(),
            profile: Profile::Full,
            quota: Quota::default(),
            label: None,
        };
        match runtime::block_on(finish(job))? {
            (Ending::Exited { code: 0 }, _) => Ok(()),
            (ending, said) => {
                let message = format!("`{}` failed: {}", words.join(" "), output::plain(said.trim()));
                Err(Failure::unavailable(anyhow!(message)).hint(format!("it ended so: {ending:?}")))
            }
        }
    }

    /// Makes a system user without a home and a shell, unless there is one of this name.
    pub(super) fn add_user(&self, name: &str) -> Result<(), Failure> {
        if fences::passwd(name).is_ok() {
            return Ok(());
        }
        let words = [
            "useradd",
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            "/usr/sbin/nologin",
            "--comment",
            MADE,
            name,
        ];
        self.run(&words.map(str::to_owned))
    }

    /// Removes a system user, with the group of the same name.
    pub(super) fn remove_user(&self, name: &str) -> Result<(), Failure> {
        self.run(&["userdel", name].map(str::to_owned))
    }
}

/// The users of this machine whom installations made.
pub(super) fn users_made() -> Vec<String> {
    made(&std::fs::read_to_string(USERS).unwrap_or_default())
}

fn made(passwd: &str) -> Vec<String> {
    let users = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let ours = users.filter(|fields| fields.get(4) == Some(&MADE));
    ours.map(|fields| fields[0].to_owned()).collect()
}

async fn finish(job: Job) -> Result<(Ending, String), Failure> {
    let executor = executor(&AllLimits::default(), Containment::Subreaper, Vec::new(), None);
    let finished = executor.run(job, &CancellationToken::new()).await;
    executor.shutdown(Duration::ZERO).await;
    let finished = finished.map_err(Failure::unavailable)?;
    let said = [finished.stderr.bytes, finished.stdout.bytes].concat();
    Ok((finished.ending, String::from_utf8_lossy(&said).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_removed_that_were_made_and_no_others() {
        let passwd = format!(
            "root:x:0:0:root:/root:/bin/bash\nhayward:x:999:999:{MADE}:/nonexistent:/usr/sbin/nologin\n\
             ann:x:1000:1000:{MADE} or so:/home/ann:/bin/bash\n:\n"
        );
        assert_eq!(made(&passwd), ["hayward"]);
    }
}
