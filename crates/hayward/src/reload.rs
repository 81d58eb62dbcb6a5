//! What is said in files, read again while `serve` runs: at SIGHUP, and when they change.
//!
//! All of it is read and checked first, as at a start; then what can change changes in one step, from the next request on.
//! If anything is wrong, everything stays as it is, certificates included, and the log says what. What can't change is
//! named, and stays.

mod plan;
mod watch;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use clap::parser::ValueSource;
use clap::{ArgMatches, FromArgMatches};
use hayward_api::fence::tools::ToolFences;
use hayward_gateway::listener::{App, Front, Guard};
use hayward_telemetry::Logging;
use hayward_telemetry::metrics::{Kind, Meters, Observed};
use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;

use crate::Cli;
use crate::commands::Command;
use crate::commands::serve::{Args, bound, capacity};
use crate::config::file::Look;
use crate::config::keys::{Key, Keys, Takes};
use crate::config::layers::{Layers, sources};
use crate::config::{AllLimits, environment};
use crate::failure::Failure;
use crate::fences::tools::{checked_tools, together};
use crate::network::{Handed, Trust};
use crate::notify::Notify;
use crate::stack::{Renewal, Renewed, Stack};
use plan::{Plan, plan};
use watch::Watch;

/// The files of a reading, as they looked just before they were read.
pub(crate) type Looks = BTreeMap<PathBuf, Look>;

/// Reads the configuration again and puts it in force.
pub(crate) struct Reload {
    in_force: Layers,
    /// What the doors were opened with.
    opened: Opened,
    watch: Watch,
    outcomes: Arc<Reloads>,
}

/// Where clients come in; it stays as it is.
#[derive(Clone)]
struct Opened {
    handed: Handed,
    address: Option<SocketAddr>,
}

/// How reloads went.
pub(crate) struct Reloads {
    done: AtomicU64,
    refused: AtomicU64,
    /// When the configuration that is in force was read, in seconds since 1970.
    succeeded_unix: AtomicU64,
}

/// A reading that nothing is wrong with.
struct Fresh {
    plan: Plan,
    args: Args,
    limits: AllLimits,
    trust: Trust,
    of_all: ToolFences,
}

impl Reloads {
    /// None yet, and from now on these meters show them.
    pub(crate) fn counted_by(meters: &Meters) -> Arc<Self> {
        let reloads =
            Arc::new(Self { done: 0.into(), refused: 0.into(), succeeded_unix: unix_seconds().into() });
        let (counted, dated) = (Arc::clone(&reloads), Arc::clone(&reloads));
        meters.observe(Observed {
            name: "config_reloads_total",
            help: "Times that the configuration was read again, by what came of it.",
            kind: Kind::Counter,
            label: Some("result"),
            read: Box::new(move || {
                let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                vec![("ok", count(&counted.done)), ("error", count(&counted.refused))]
            }),
        });
        meters.observe(Observed {
            name: "config_last_reload_success_timestamp_seconds",
            help: "When the configuration was last read and put in force, at the start or since.",
            kind: Kind::Gauge,
            label: None,
            read: Box::new(move || vec![("", dated.succeeded_unix.load(Ordering::Relaxed))]),
        });
        reloads
    }

    fn count(&self, is_in_force: bool) {
        if is_in_force {
            self.done.fetch_add(1, Ordering::Relaxed);
            self.succeeded_unix.store(unix_seconds(), Ordering::Relaxed);
        } else {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Reload {
    /// This is in force, read from files that looked like this, on what was opened.
    pub(crate) fn new(
        in_force: Layers,
        looks: Looks,
        (handed, address): (Handed, Option<SocketAddr>),
        outcomes: Arc<Reloads>,
    ) -> Self {
        Self { in_force, opened: Opened { handed, address }, watch: Watch::new(looks), outcomes }
    }

    /// Reads it again at every signal and whenever files have changed, until the shutdown.
    pub(crate) async fn follow(
        &mut self,
        (mut signal, shutdown): (Signal, CancellationToken),
        stack: &mut Stack,
        front: &Front,
        (log, notify): (&Logging, &Notify),
    ) {
        loop {
            // What is being put in force is not cut off: it is recorded to its end.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some(()) = signal.recv() => {}
                () = self.watch.changed() => {}
            }
            notify.reloading();
            // Files may lie where reading them takes forever, and nothing has changed so far.
            let reading = self.read(stack.data_dir().to_owned());
            let Some(fresh) = shutdown.run_until_cancelled(reading).await else { return };
            let outcome = match fresh {
                Ok(fresh) => self.put_in_force(fresh, stack, front, log).await,
                Err(faults) => Err(faults),
            };
            if let Err(faults) = &outcome {
                for fault in faults {
                    tracing::error!(%fault, "the new configuration is not used, the old one stays in force");
                }
                stack.protocol.road().refuse_settings(&faults.join("; ")).await;
            }
            self.outcomes.count(outcome.is_ok());
            notify.reloaded();
        }
    }

    /// Reads and checks it; says what is wrong with it, if anything is.
    async fn read(&mut self, data_dir: PathBuf) -> Result<Fresh, Vec<String>> {
        let (in_force, opened) = (self.in_force.clone(), self.opened.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let mut looks = Looks::new();
            let fresh = Fresh::read(&in_force, &opened, &data_dir, &mut looks);
            (fresh, looks)
        });
        let (fresh, looks) = reading.await.map_err(|error| vec![format!("it can't be read: {error}")])?;
        self.watch.were_read(looks);
        fresh
    }

    /// Puts it in force, as a whole or not at all.
    async fn put_in_force(
        &mut self,
        fresh: Fresh,
        stack: &mut Stack,
        front: &Front,
        log: &Logging,
    ) -> Result<(), Vec<String>> {
        let (args, address) = (&fresh.args, self.opened.address);
        let renewal = Renewal {
            serving: &args.serving,
            limits: fresh.limits,
            of_all: fresh.of_all,
            secrets: args.secrets(),
            transfers: args.transfers(address),
        };
        let renewed = stack.renew(renewal).await.map_err(|failure| vec![told(&failure)])?;
        let app = app(&front.app(), &renewed, args.network.guard(address), fresh.trust);
        let (road, mut is_made) = (Arc::clone(&stack.protocol), false);
        // Invariant: whatever changes for requests changes here, in one step.
        let made = road.road().reconfigure(&fresh.plan, || {
            front.replace(Arc::new(app));
            stack.take(renewed);
            is_made = true;
        });
        if let Err(error) = made.await {
            let what = told(&error.into());
            if !is_made {
                return Err(vec![what]);
            }
            // To say that it was refused would be wrong.
            tracing::error!(error = what, "the new configuration is in force, and the record lacks that");
        }
        if let Err(error) = log.set_level(&args.common.log_level) {
            tracing::error!(error = &error as &dyn std::error::Error, "the log keeps its level");
        }
        tell(&fresh.plan);
        self.in_force = fresh.plan.layers;
        Ok(())
    }
}

impl Fresh {
    /// Reads and checks all of it, as at a start; everything that is wrong otherwise. `looks` gets the files on which that
    /// depends.
    fn read(
        in_force: &Layers,
        opened: &Opened,
        data_dir: &Path,
        looks: &mut Looks,
    ) -> Result<Self, Vec<String>> {
        let words: Vec<OsString> = std::env::args_os().collect();
        let root = crate::line();
        let keys = Keys::of(&root);
        let mut sources = sources(&words, environment().collect());
        // A file that was there, and said something, is not missed in silence.
        let was_there = |path: &PathBuf| in_force.looks.get(path).is_some_and(Option::is_some);
        sources.is_named |= sources.file.as_ref().is_some_and(was_there);
        // A pipe says what it says once; empty, it would take back all that was set, and without a writer it never ends.
        let pipes = sources.file.iter().chain(in_force.looks.keys()).filter(|path| is_pipe(path));
        unless(pipes.take(1).map(|path| format!("{}: a pipe is not read again", path.display())).collect())?;
        let mut asked = Layers::read(&root, &keys, &sources);
        looks.extend(asked.looks.clone());
        unless(std::mem::take(&mut asked.faults))?;
        // A full disk, or a save that broke off, leaves it so: every protection in it would be gone.
        let emptied = sources.file.iter().filter(|path| is_emptied(in_force, &asked, path));
        unless(
            emptied
                .map(|path| {
                    format!(
                        "{}: it is empty and was not; hint: if that is meant, write a comment (`#`) into it",
                        path.display()
                    )
                })
                .collect(),
        )?;
        let (wanted, matches) = parsed(&root, &asked, &words)?;
        let wanted_layers = asked.clone();
        let plan = plan(&keys, in_force, asked, |key| is_open(&root, &matches, key));
        let (args, _) = parsed(&root, &plan.layers, &words)?;
        looks.extend(wanted.network.looks().chain(args.network.looks()));
        // What waits for a restart is checked, too: the next start shouldn't be the one to tell.
        let (mut faults, mut later) = (Vec::new(), Vec::new());
        let (mut limits, trust, of_all) = checked(&args, opened, data_dir, &mut faults);
        checked(&wanted, opened, data_dir, &mut later);
        later.extend(wanted.serving.fence.read(data_dir).map_err(|error| told(&error.into())).err());
        later.retain(|fault| !faults.contains(fault));
        faults.extend(later);
        let args = args.absolute().map_err(|failure| vec![told(&failure)])?;
        unless(placed(&wanted_layers, faults))?;
        bound(&mut limits);
        Ok(Self { plan, args, limits, trust, of_all })
    }
}

/// Faults of flags, each behind the place in a file that says what is wrong, if one does.
pub(crate) fn placed(layers: &Layers, faults: Vec<String>) -> Vec<String> {
    if faults.is_empty() {
        return faults;
    }
    let words: Vec<OsString> = std::env::args_os().collect();
    let root = crate::line();
    let Ok((_, matches)) = parsed(&root, layers, &words) else { return faults };
    let is_open = |key: &Key| is_open(&root, &matches, key);
    faults.into_iter().map(|fault| layers.placed(&root, is_open, fault)).collect()
}

/// What the settings name, as far as it is good.
fn checked(
    args: &Args,
    opened: &Opened,
    data_dir: &Path,
    faults: &mut Vec<String>,
) -> (AllLimits, Trust, ToolFences) {
    let limits = args.serving.limits_telling(faults);
    let trust = args.network.check_with(&opened.handed, faults);
    if let Err(error) = hayward_telemetry::check_level(&args.common.log_level) {
        faults.push(format!("`--log-level` {}", told(&Failure::configuration(error))));
    }
    let fences = together(&args.serving.tool_fences)
        .and_then(|fences| checked_tools(&fences, data_dir).map_err(Failure::from));
    let of_all = fences
        .map_err(|failure| faults.push(format!("`--tool-fence` {}", told(&failure))))
        .unwrap_or_default();
    (limits, trust, of_all)
}

/// Whether a file has nothing in it now, and had something.
fn is_emptied(in_force: &Layers, asked: &Layers, path: &Path) -> bool {
    let size = |layers: &Layers| layers.looks.get(path).copied().flatten().map(|[_inode, size, ..]| size);
    size(in_force).is_some_and(|size| size > 0) && size(asked) == Some(0)
}

fn is_pipe(path: &PathBuf) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo())
}

fn unless(faults: Vec<String>) -> Result<(), Vec<String>> {
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// What the command line says, with these layers in the place of its defaults.
fn parsed(
    root: &clap::Command,
    layers: &Layers,
    words: &[OsString],
) -> Result<(Args, ArgMatches), Vec<String>> {
    let wrong = |what: String| vec![what];
    let mut line = root.clone().mut_subcommand(SERVE, |command| layers.apply(command));
    let matches = line.try_get_matches_from_mut(words).map_err(|error| wrong(error.to_string()))?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| wrong(error.to_string()))?;
    match (cli.command, matches.subcommand_matches(SERVE)) {
        (Command::Serve(args), Some(matches)) => Ok((*args, matches.clone())),
        _ => Err(wrong(format!("the command line is not one of `{SERVE}`"))),
    }
}

/// The command that reads its configuration again.
const SERVE: &str = "serve";

/// Whether a key is one of `serve`, and no word of the command line has the say about it.
fn is_open(root: &clap::Command, matches: &ArgMatches, key: &Key) -> bool {
    if let Takes::Limit(_) = key.takes {
        let said = matches.get_many::<String>("limits").into_iter().flatten();
        let mut said = said.filter_map(|limit| limit.split_once('='));
        return !said.any(|(name, _)| name.trim() == key.name);
    }
    let serve = root.find_subcommand(SERVE);
    let arg = serve
        .and_then(|command| command.get_arguments().find(|arg| arg.get_env() == Some(key.variable.as_ref())));
    arg.is_some_and(|arg| matches.value_source(arg.get_id().as_str()) != Some(ValueSource::CommandLine))
}

/// What stands behind the doors from now on: what goes on goes on, under what was renewed.
fn app(old: &App, renewed: &Renewed, guard: Guard, trust: Trust) -> App {
    let limits = renewed.limits.gateway.clone();
    App {
        protocol: Arc::clone(&renewed.protocol),
        sessions: old.sessions.with_capacity(capacity(&limits)),
        old_clients: old.old_clients.clone(),
        tokens: Arc::clone(&old.tokens),
        transfers: Arc::clone(&renewed.transfers),
        management: old.management.clone(),
        proxies: trust.proxies,
        tls: trust.tls,
        guard,
        pace: old.pace.under(&limits),
        limits,
        version: old.version,
    }
}

fn tell(plan: &Plan) {
    for waiting in &plan.waiting {
        tracing::warn!("{waiting}");
    }
    // A file of TLS may be another one under the same name.
    let changed = if plan.changed.is_empty() { "no key".to_owned() } else { plan.changed.join(", ") };
    tracing::info!(%changed, "the configuration was read again and is in force");
}

/// A failure in one line, with its steps and the way out.
fn told(failure: &Failure) -> String {
    let hint = failure.hint.as_ref().map(|hint| format!("; hint: {hint}"));
    format!("{:#}{}", failure.error, hint.unwrap_or_default())
}

fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
