//! The unit that systemd runs: what it says, and why.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

/// The name of the unit.
pub(super) const NAME: &str = "hayward.service";

/// The first line of a unit that was written here.
pub(super) const MARK: &str = "# Written by `hayward install-service`";

/// What the service is for.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Operates this machine: nothing of systemd stands in the way of commands
    Host,
    /// Stands before other servers: kept to its own files
    Gateway,
}

/// Which systemd runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manager {
    /// The system's.
    System,
    /// That of one user: paths are the user's own, and so are the rights.
    User,
}

/// What a unit is made of.
pub(super) struct Unit {
    pub(super) profile: Profile,
    /// The binary.
    pub(super) program: PathBuf,
    pub(super) config_dir: PathBuf,
    pub(super) data_dir: PathBuf,
    /// The directory of the copy of the record, if there is one.
    pub(super) log_dir: Option<PathBuf>,
    pub(super) user: String,
}

/// A directive that keeps a service small, with what it would take from one that operates the machine.
type Hardening = (&'static str, &'static str);

/// All of them, in the order of systemd.exec(5). The profile `gateway` has them; `host` says why it hasn't.
const HARDENING: [Hardening; 26] = [
    ("CapabilityBoundingSet=", "commands of root are to be root's"),
    ("AmbientCapabilities=", "the same"),
    ("NoNewPrivileges=yes", "commands may run sudo"),
    ("ProtectSystem=strict", "files everywhere are read and written"),
    ("ProtectHome=yes", "homes are, too"),
    ("PrivateTmp=yes", "/tmp is shared with who asks for work there"),
    ("PrivateDevices=yes", "commands look at disks and other devices"),
    ("PrivateMounts=yes", "what a command mounts is to be there for all"),
    ("PrivateUsers=yes", "files belong to the users that they belong to"),
    ("ProtectHostname=yes", "commands may name the machine"),
    ("ProtectClock=yes", "commands may set the clock"),
    ("ProtectKernelTunables=yes", "commands may set kernel parameters"),
    ("ProtectKernelModules=yes", "commands may load modules"),
    ("ProtectKernelLogs=yes", "commands read the kernel's log"),
    ("ProtectProc=invisible", "commands look at processes of others"),
    ("ProcSubset=pid", "commands read /proc/meminfo and the like"),
    (
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
        "commands set up networks, which takes netlink and raw sockets",
    ),
    ("RestrictNamespaces=yes", "fences and containers are made of namespaces"),
    ("LockPersonality=yes", "commands may run programs of other architectures"),
    ("MemoryDenyWriteExecute=yes", "commands run what compiles as it runs, such as Node.js"),
    ("RestrictRealtime=yes", "commands may schedule as they like"),
    ("RestrictSUIDSGID=yes", "commands may install programs"),
    ("RemoveIPC=yes", "what a command leaves for others stays"),
    ("SystemCallArchitectures=native", "commands may run programs of other architectures"),
    (
        "SystemCallFilter=@system-service landlock_create_ruleset landlock_add_rule landlock_restrict_self seccomp",
        "commands may do what root may",
    ),
    ("SystemCallFilter=~@privileged", "the same"),
];

/// What neither profile has.
const NEVER: Hardening = ("ProtectControlGroups=yes", "each command is held in a cgroup of its own");

/// Directives of `gateway` that go with a value, and so have no reason to be left out.
const CONFINED: &str = "SystemCallErrorNumber=EPERM\nDevicePolicy=closed\nUMask=0077\n";

impl Unit {
    /// The text of the unit, for this manager.
    pub(super) fn text(&self, manager: Manager) -> String {
        let rest = match manager {
            Manager::System => self.hardening(),
            Manager::User => USERS.to_owned(),
        };
        format!("{}\n{}{rest}{}", self.head(manager), self.service(manager), install(manager))
    }

    fn head(&self, manager: Manager) -> String {
        let what = match (manager, self.profile) {
            (Manager::User, _) => "Hayward: AI agents operate what is this user's, with a record",
            (_, Profile::Host) => "Hayward: AI agents operate this machine, with a record",
            (_, Profile::Gateway) => "Hayward: a gateway for AI agents, with a record",
        };
        let (edit, after) = match manager {
            Manager::System => ("", "Wants=network-online.target\nAfter=network-online.target\n"),
            Manager::User => (" --user", ""),
        };
        format!(
            "{MARK}, which writes it again: put changes into a drop-in\n# (`systemctl{edit} edit hayward`).\n\
             [Unit]\nDescription={what}\nDocumentation=man:hayward(1)\n{after}\
             StartLimitIntervalSec=60\nStartLimitBurst=5\n"
        )
    }

    fn service(&self, manager: Manager) -> String {
        let program = quoted(&self.program);
        let own = match manager {
            Manager::System => self.of_system(),
            // Configuration and data are where they are without a service, see docs/guides/configuration.md.
            Manager::User => "EnvironmentFile=-%E/hayward/hayward.env\n".to_owned(),
        };
        format!("[Service]\nType=notify\nExecStart={program} serve\n{RELOAD}{own}{LIFE}")
    }

    fn of_system(&self) -> String {
        let config = quoted_assignment("HAYWARD_CONFIG", &self.config_dir.join("hayward.toml"));
        let variables = escaped(&self.config_dir.join("hayward.env"));
        format!("User={}\nEnvironment={config}\nEnvironmentFile=-{variables}\n", self.user)
    }

    fn hardening(&self) -> String {
        match self.profile {
            Profile::Host => {
                let lines = HARDENING.iter().chain([&NEVER]).map(left_out);
                format!(
                    "\n# What would keep the service small is left out, since its work is to operate the machine. Tokens have\n\
                         # fences instead (docs/guides/fences.md). Left out:\n{}",
                    lines.collect::<String>()
                )
            }
            Profile::Gateway => {
                let lines = HARDENING.iter().map(|(directive, _)| format!("{directive}\n"));
                let own = std::iter::once(&self.data_dir).chain(&self.log_dir);
                let own: Vec<String> = own.map(|path| quoted(path)).collect();
                format!(
                    "\n# Kept to its own files. Commands that it runs are, too. Left out:\n{}{}{CONFINED}ReadWritePaths={}\n",
                    left_out(&NEVER),
                    lines.collect::<String>(),
                    own.join(" ")
                )
            }
        }
    }
}

/// How it is told of new files. A small system has a shell, and no `/bin/kill`.
const RELOAD: &str = "ExecReload=/bin/sh -c \"kill -HUP $MAINPID\"\n";

/// How the service lives and ends.
const LIFE: &str = "\
Restart=on-failure
RestartSec=5
# A wrong configuration (78) or command line (2) stays wrong.
RestartPreventExitStatus=2 78
# Calls that run get time to end (gateway.drain_ms, exec.grace_ms).
TimeoutStopSec=30
# Each command has a cgroup of its own below the service's, with bounds.
Delegate=yes
# A command that is ended for its memory ends nothing else.
OOMPolicy=continue
# Only the daemon is signalled. Each command has a supervisor, which ends the command once the daemon is gone, and then writes
# how it ended for the next daemon to record. `mixed` and `control-group` would kill supervisors before they have written.
KillMode=process
LimitNOFILE=65536
";

/// What a user's unit says in the place of what keeps a service small.
const USERS: &str = "
# It may do what its user may. Tokens have fences for less (docs/guides/fences.md).
";

/// When it starts.
fn install(manager: Manager) -> String {
    let target = match manager {
        Manager::System => "multi-user.target",
        Manager::User => "default.target",
    };
    format!("\n[Install]\nWantedBy={target}\n")
}

/// A directive that isn't there, and why.
fn left_out((directive, why): &Hardening) -> String {
    format!("#   {directive}: {why}\n")
}

/// A path as a word of a unit, see systemd.syntax(7).
fn quoted(path: &Path) -> String {
    format!("\"{}\"", escaped(path).replace('\\', "\\\\").replace('"', "\\\""))
}

fn quoted_assignment(name: &str, path: &Path) -> String {
    format!("\"{name}={}\"", escaped(path).replace('\\', "\\\\").replace('"', "\\\""))
}

/// A path without what systemd would put something else for.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(in super::super) fn unit(profile: Profile) -> Unit {
        Unit {
            profile,
            program: "/usr/bin/hayward".into(),
            config_dir: "/etc/hayward".into(),
            data_dir: "/var/lib/hayward".into(),
            log_dir: Some("/var/log/hayward".into()),
            user: "hayward".to_owned(),
        }
    }

    #[test]
    fn a_unit_says_how_it_lives_and_each_directive_that_it_lacks() {
        let (host, gateway) =
            (unit(Profile::Host).text(Manager::System), unit(Profile::Gateway).text(Manager::System));
        for text in [&host, &gateway] {
            assert!(text.starts_with(MARK));
            for line in [
                "Type=notify",
                "Delegate=yes",
                "KillMode=process",
                "Restart=on-failure",
                "User=hayward",
                "EnvironmentFile=-/etc/hayward/hayward.env",
                "ExecStart=\"/usr/bin/hayward\" serve",
            ] {
                assert!(text.lines().any(|found| found == line), "{line}\n{text}");
            }
        }
        for (directive, why) in HARDENING {
            assert!(gateway.lines().any(|line| line == directive), "{directive}");
            assert!(!host.lines().any(|line| line == directive));
            assert!(host.contains(&format!("#   {directive}: {why}")), "{directive}");
        }
        assert!(gateway.contains("ReadWritePaths=\"/var/lib/hayward\" \"/var/log/hayward\"\n"));
    }

    #[test]
    fn a_user_s_unit_names_nothing_of_the_system_s() {
        let text = unit(Profile::Host).text(Manager::User);
        assert!(text.contains("WantedBy=default.target\n") && text.contains(LIFE) && text.starts_with(MARK));
        for foreign in ["User=", "/etc/", "/var/", "network-online", "multi-user"] {
            assert!(!text.contains(foreign), "{foreign}\n{text}");
        }
    }

    #[test]
    fn paths_mean_themselves() {
        let odd = Unit { program: "/opt/a b%\"c".into(), ..unit(Profile::Host) };
        assert!(odd.text(Manager::System).contains("ExecStart=\"/opt/a b%%\\\"c\" serve\n"));
    }
}
