//! One machine as the toolset works on it: this one.

use std::path::PathBuf;
use std::sync::Arc;

use hayward_exec::Executor;
use hayward_tool::{Caller, Cx, ToolError};

use crate::fs::Fs;
use crate::limits::{Limits, size};
use crate::threads::Threads;
use crate::transfers::{Desk, TransferConfig};

/// How a host is set up.
pub struct HostConfig {
    /// Limits of its tools.
    pub limits: Limits,
    /// Our own data: directories whose every file no tool reaches, by whatever name.
    pub protected: Vec<PathBuf>,
    /// What an administrator protects beside: paths that no tool reaches.
    pub extra_protected: Vec<PathBuf>,
    /// Whether files are synced to disk before a write is answered.
    pub sync_files: bool,
    /// The shell of `bash_execute`, usually `/bin/sh`.
    pub shell: PathBuf,
    /// What runs commands.
    pub executor: Executor,
    /// Where clients move bytes past the calls; none where that is switched off.
    pub transfers: Option<TransferConfig>,
    /// The environment of commands.
    pub env: Vec<(String, String)>,
}

/// What of it can change while it is used: as in [`HostConfig`].
pub struct HostSettings {
    /// Limits of its tools.
    pub limits: Limits,
    /// Our own data.
    pub protected: Vec<PathBuf>,
    /// What an administrator protects beside.
    pub extra_protected: Vec<PathBuf>,
    /// Whether files are synced to disk before a write is answered.
    pub sync_files: bool,
    /// The shell of `bash_execute`.
    pub shell: PathBuf,
    /// Where clients move bytes past the calls; none where that is switched off.
    pub transfers: Option<TransferConfig>,
}

/// The machine that we run on.
pub struct Host {
    pub(crate) limits: Limits,
    /// As the daemon's user reaches them: for each caller there is one of its own.
    pub(crate) fs: Fs,
    threads: Threads,
    /// Where tickets for transfers are made; none where nobody could redeem them.
    pub(crate) desk: Option<Desk>,
    pub(crate) shell: PathBuf,
    pub(crate) executor: Executor,
    pub(crate) env: Vec<(String, String)>,
}

impl Host {
    /// Sets it up. Looks at the protected paths, so create the directories of our data before.
    pub fn new(config: HostConfig) -> Self {
        Self {
            fs: Fs::new(&config),
            desk: config.transfers.map(|transfers| Desk::new(transfers, &config.limits)),
            threads: Threads::new(size(config.limits.file_threads_max)),
            limits: config.limits,
            shell: config.shell,
            executor: config.executor,
            env: config.env,
        }
    }

    /// The same machine under other settings: whatever goes on on it, goes on on one machine. `file_threads_max`
    /// and `transfers_max` stay as they are, and tickets as long as there are transfers. Looks at protected paths that
    /// are new, so call it where that may block.
    #[must_use]
    pub fn under(&self, settings: HostSettings) -> Self {
        let fs = self.fs.under(&settings);
        let HostSettings { limits, protected, extra_protected, shell, transfers, .. } = settings;
        let desk = transfers.map(|config| match &self.desk {
            Some(desk) => desk.under(config, &limits),
            None => Desk::new(config, &limits),
        });
        Self {
            fs,
            desk,
            threads: self.threads.clone(),
            limits,
            shell,
            executor: self.executor.protecting([protected, extra_protected].concat()),
            env: self.env.clone(),
        }
    }

    /// Runs blocking work on the files that this caller reaches, see [`Threads::run`]: the only way to them.
    pub(crate) async fn on_files<T, F>(&self, cx: &Cx, caller: &Caller, work: F) -> Result<T, ToolError>
    where
        T: Send + 'static,
        F: FnOnce(&Fs, &Cx) -> Result<T, ToolError> + Send + 'static,
    {
        let (fs, principal) = (self.fs.clone(), Arc::clone(&caller.principal));
        self.threads.run(cx, move |cx| work(&fs.reaching(&principal.fence)?, cx)).await
    }

    /// All files, for a caller that no fence keeps from them; asking takes no time.
    pub(crate) fn unfenced(&self, caller: &Caller) -> Option<&Fs> {
        (!caller.principal.fence.is_confined()).then_some(&self.fs)
    }
}
