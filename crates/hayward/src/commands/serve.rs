//! `hayward serve`: the daemon.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hayward_audit::Mirror;
use hayward_controlplane::Reached;
use hayward_controlplane::rest::router;
use hayward_gateway::Sessions;
use hayward_gateway::listener::{App, Front, OldClients, Pace, Threads, serve};
use hayward_host::TransferConfig;
use hayward_telemetry::Logging;
use hayward_telemetry::metrics::{DEFAULT_PREFIX, parse_prefix};
use hayward_telemetry::otlp::Otlp;
use tokio_util::task::TaskTracker;

use crate::config::{AllLimits, Common, Serving, otlp, sound};
use crate::failure::Failure;
use crate::management::{self, Late};
use crate::network::{Checked, Doors, Handed, Network, Trust};
use crate::notify::Notify;
use crate::reload::{Looks, Reload, Reloads, placed};
use crate::servers::{Runners, node_name};
use crate::stack::{Beside, Stack, VERSION, acquire, step, unrecorded};
use crate::tokens::{Temporary, TokenDesk};
use crate::{Start, local, output, ready, runtime};

/// Files that are left for what isn't a connection: the record, the database, tools, commands.
const FILES_OF_OURS: u64 = 512;

/// Of so many parts of the memory, one is for bodies and results that are held: what is held is there several times (as it
/// came, decoded, as the record has it), and everything else needs some, too.
const MEMORY_PARTS: u64 = 4;

/// Serves this machine's tools over HTTP.
///
/// Without a stored admin token it makes an admin, an rw, an ro and a metrics token that die with it, and prints
/// them with a client configuration to paste. The options under `Fence` are for these and for local clients:
/// a stored token has a fence of its own.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) network: Network,

    /// File that appears, mode 0600, when the server listens: JSON with url, pid, version and temporary tokens
    ///
    /// Its members are `url`, `pid` and `version`, `unix_socket` where there is one, and beside temporary tokens `admin_token`, `rw_token`,
    /// `ro_token` and `metrics_token`.
    #[arg(long, env = "HAYWARD_READY_FILE", value_name = "FILE")]
    ready_file: Option<PathBuf>,

    /// Directory for `audit.log`: a copy of the record, a line of JSON for each call, in mymcp's form
    ///
    /// Followers of mymcp's file keep working. It is put aside at `audit.copy_bytes_max`, and `audit.copy_files_kept`
    /// files are kept. The record itself is in the data directory; only that one proves anything.
    #[arg(long, env = "HAYWARD_LOG_DIR", value_name = "DIR")]
    log_dir: Option<PathBuf>,

    /// Write the same lines to standard output, from now on
    #[arg(long, env = "HAYWARD_LOG_STDOUT")]
    log_stdout: bool,

    /// Whether files can be moved past the calls, under tickets that `prepare_upload` and `prepare_download` make
    #[arg(long, env = "HAYWARD_TRANSFERS", value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    transfers: bool,

    /// Beginning of our names at /metrics; `mymcp_` keeps the dashboards of mymcp working
    #[arg(long, env = "HAYWARD_METRICS_PREFIX", value_name = "PREFIX", default_value = DEFAULT_PREFIX, value_parser = parse_prefix)]
    metrics_prefix: String,

    #[command(flatten)]
    pub(crate) runners: Runners,

    /// Directory of manifests that is the truth: what its files say is applied and followed, and what vanishes is deleted
    ///
    /// Files end in `.yaml`, `.yml` or `.json`. A broken one keeps its last good state, and shows at /api/v1/health/overview.
    #[arg(long, env = "HAYWARD_MANIFESTS", value_name = "DIR")]
    manifests: Option<PathBuf>,

    /// Let whoever comes first make the first user, without the administrator's token
    ///
    /// Until then whoever reaches the server first owns what it declares.
    #[arg(long, env = "HAYWARD_BOOTSTRAP_OPEN")]
    bootstrap_open: bool,

    #[command(flatten)]
    pub(crate) common: Common,

    #[command(flatten)]
    pub(crate) serving: Serving,
}

pub(crate) fn run(args: Args, start: Start) -> Result<(), Failure> {
    let otlp = otlp()?;
    let log = args.common.start_log_for(otlp.as_ref())?;
    let mut faults = Vec::new();
    let mut limits = args.serving.limits_telling(&mut faults);
    // Before they are read, so that a change meanwhile is seen.
    let mut looks = start.layers.looks.clone();
    looks.extend(args.network.looks());
    let checked = args.network.check(&mut faults);
    if let Some(dir) = args.manifests.as_ref().filter(|dir| !dir.is_dir()) {
        faults.push(format!("`--manifests` `{}`: there is no such directory", dir.display()));
    }
    if !faults.is_empty() {
        sound(&placed(&start.layers, faults))?;
    }
    bound(&mut limits);
    runtime::block_on(serve_until_signal(args, (limits, checked), (start, looks, otlp), &log))
}

/// Bounds limits to what this process may use of the machine.
pub(crate) fn bound(limits: &mut AllLimits) {
    if let Some(max) = hayward_exec::raise_open_files() {
        // Every connection is one, and what serves it needs some.
        let places = max.saturating_sub(FILES_OF_OURS).max(1);
        if places < limits.gateway.connections_max {
            tracing::warn!(max, places, "few files may be open, so there are fewer places for connections");
            limits.gateway.connections_max = places;
        }
    }
    if let Some(max) = hayward_exec::memory_bytes_max() {
        let held = max / MEMORY_PARTS;
        if held < limits.gateway.held_bytes_max {
            tracing::warn!(max, held, "there is little memory, so fewer bytes of requests are held at once");
            limits.gateway.held_bytes_max = held;
        }
    }
}

async fn serve_until_signal(
    args: Args,
    (limits, checked): (AllLimits, Checked),
    (start, looks, otlp): (Start, Looks, Option<Otlp>),
    log: &Logging,
) -> Result<(), Failure> {
    let args = args.absolute()?;
    let shutdown = runtime::shutdown_signal()?;
    let data = acquire(&args.common.data_dir()?)?;
    let data_dir = data.path().to_owned();
    let (signal, notify) = (runtime::reload_signal()?, Notify::from_environment());
    let Checked { inherited, tls, proxies } = checked;
    let handed = Handed::of(&inherited);
    let Doors { open: doors, address, socket: socket_file } = args.network.open(inherited).await?;
    if let Some(path) = &args.ready_file {
        // One that a killed process left would tell of a server that isn't there.
        std::fs::remove_file(path).ok();
    }
    let mirror_limits = limits.audit.clone();
    let prefix = Some(args.metrics_prefix.clone());
    let (secrets, further, transfers) = (args.secrets(), (start.further)(), args.transfers(address));
    let database = args.common.database()?;
    let (runners, is_shared) = (args.runners.clone(), database.is_some());
    let beside = Beside { secrets, further, transfers, prefix, otlp, database, runners };
    let mut stack = Stack::build(data, &args.serving, limits, beside).await?;
    stack.redact_log(log);
    let temporary = Temporary::unless_stored(&stack).await?;

    let mirrors = mirrors(&args, &data_dir.join("audit"), &mirror_limits)?;
    let desk = TokenDesk::new(&stack, temporary.as_ref());
    let noting = TaskTracker::new().spawn(desk.clone().note_uses_until(shutdown.clone()));
    let late = Late::new(Arc::clone(&stack.protocol));
    let opening = (args.bootstrap_open, args.reached());
    let plane = management::start(&stack, late.in_force(), opening, shutdown.clone()).await?;
    let node = node_name(&data_dir);
    // They go last: what a call has begun may live on its thread.
    let threads = Arc::new(step(Threads::start(), || "failed to start threads".to_owned())?);
    if args.runners.run_servers {
        stack.servers.start(&stack.store, (node, is_shared), &shutdown).await?;
    }
    let road = Arc::clone(&stack.protocol);
    TaskTracker::new().spawn(async move { road.road().record_expired().await });
    let app = App {
        management: Some(router(&plane)),
        ..app(&args, &stack, desk.clone(), address, Trust { tls, proxies })
    };
    let front = Arc::new(Front::new(Arc::new(app)));
    let in_force = late.is(&front);
    let manifests = args.manifests.clone().map(|dir| management::follow(&plane, dir, shutdown.clone()));
    let socket = local::listen(&stack, desk, in_force, shutdown.clone());
    let reloads = Reloads::counted_by(&stack.meters);
    let mut reload = Reload::new(start.layers, looks, (handed, address), reloads);
    let living = notify.clone();
    let living = TaskTracker::new().spawn(async move { living.live().await });
    let serving = serve(doors, Arc::clone(&front), Arc::clone(&threads), shutdown.clone());
    let listening = TaskTracker::new().spawn(serving);
    let url = args.network.url(address);
    let socket_path = socket_file.as_ref().map(|file| file.path.as_path());
    if let Some(path) = &args.ready_file
        && let Err(failure) = announce(path, (&url, socket_path), temporary.as_ref())
    {
        // Servers may run by now, and containers of theirs would outlive us.
        shutdown.cancel();
        stack.servers.close().await;
        return Err(failure);
    }
    // Without a port clients reach us under an address only if there is a proxy, whose it is.
    let is_reached = address.is_some() || args.network.public_url.is_some();
    let clients = is_reached.then(|| args.network.client_url(address));
    output::tell(&banner((&url, clients.as_deref()), socket_path, temporary.as_ref()));
    notify.ready(&url);

    reload.follow((signal, shutdown.clone()), &mut stack, &front, (log, &notify)).await;
    notify.stopping();
    listening.await.ok();
    if let Some(manifests) = manifests {
        manifests.await.ok();
    }
    plane.close().await;
    drop(socket_file);
    noting.await.ok();
    if let Some(socket) = socket {
        socket.close().await;
    }
    stack.close().await;
    living.abort();
    drop(threads);
    // What was recorded last is copied, too.
    drop(mirrors);
    if let Some(path) = &args.ready_file {
        std::fs::remove_file(path).ok();
    }
    Ok(())
}

impl Args {
    /// With paths that hold wherever this process goes.
    pub(crate) fn absolute(mut self) -> Result<Self, Failure> {
        self.ready_file = absolute(self.ready_file, "--ready-file")?;
        self.log_dir = absolute(self.log_dir, "--log-dir")?;
        self.manifests = absolute(self.manifests, "--manifests")?;
        self.runners.docker_socket = absolute(self.runners.docker_socket, "--docker-socket")?;
        self.runners.package_certificates =
            absolute(self.runners.package_certificates, "--package-certificates")?;
        if let Some(path) = &self.runners.package_certificates {
            let readable = std::fs::File::open(path).and_then(|file| file.metadata());
            let is_file = readable.map_err(|error| {
                let what = format!("`--package-certificates`: `{}` can't be read", path.display());
                Failure::configuration(anyhow::Error::from(error).context(what))
            })?;
            if !is_file.is_file() {
                let what = anyhow::anyhow!("`--package-certificates`: `{}` is no file", path.display());
                return Err(Failure::configuration(what).hint("name a file of certificates in PEM"));
            }
        }
        Ok(self)
    }

    /// Files of ours that no caller may read beside the data directory: the ready file, say, holds tokens that may do more than
    /// whoever reads files with a lesser one.
    pub(crate) fn secrets(&self) -> Vec<PathBuf> {
        let named = [&self.ready_file, &self.log_dir, &self.network.tls_key];
        named.into_iter().flatten().cloned().chain(own_outputs()).collect()
    }

    /// Where clients reach the server, for what is written into their files.
    fn reached(&self) -> Reached {
        let url = self.network.public_url.as_ref().map(|url| url.text.clone());
        Reached { url, scheme: self.network.scheme() }
    }

    /// Where clients move files.
    pub(crate) fn transfers(&self, address: Option<SocketAddr>) -> Option<TransferConfig> {
        let scheme = self.network.scheme();
        let local = address.filter(|address| address.ip().is_loopback());
        let local = local.map(|address| format!("{scheme}://{address}"));
        let public_url = self.network.public_url.as_ref().map(|url| url.text.clone());
        self.transfers.then_some(TransferConfig { public_url, local_url: local })
    }
}

/// The copies of the record that were asked for.
fn mirrors(
    args: &Args,
    record: &Path,
    limits: &hayward_audit::limits::Limits,
) -> Result<Vec<Mirror>, Failure> {
    let file = args.log_dir.as_ref().map(|folder| Mirror::start(record, folder, limits));
    let stdout = args.log_stdout.then(|| Mirror::to_stream(record, std::io::stdout()));
    file.into_iter().chain(stdout).collect::<Result<_, _>>().map_err(unrecorded)
}

fn absolute(path: Option<PathBuf>, flag: &str) -> Result<Option<PathBuf>, Failure> {
    path.map(std::path::absolute).transpose().map_err(|error| {
        let error = anyhow::Error::from(error).context(format!("invalid `{flag}`"));
        Failure::configuration(error).hint("give an absolute path")
    })
}

/// The files that standard output and error go to, if they are files: the banner tells tokens there.
fn own_outputs() -> impl Iterator<Item = PathBuf> {
    ["/proc/self/fd/1", "/proc/self/fd/2"]
        .into_iter()
        .filter(|stream| std::fs::metadata(stream).is_ok_and(|metadata| metadata.is_file()))
        .filter_map(|stream| std::fs::read_link(stream).ok())
}

fn app(args: &Args, stack: &Stack, desk: TokenDesk, address: Option<SocketAddr>, trust: Trust) -> App {
    let limits = stack.limits.gateway.clone();
    App {
        protocol: Arc::clone(&stack.protocol),
        old_clients: OldClients::default(),
        sessions: Sessions::new(capacity(&limits)),
        tokens: Arc::new(desk),
        transfers: Arc::clone(&stack.transfers),
        management: None,
        guard: args.network.guard(address),
        pace: Pace::new(&limits),
        proxies: trust.proxies,
        tls: trust.tls,
        limits,
        version: VERSION,
    }
}

/// How many sessions there may be.
pub(crate) fn capacity(limits: &hayward_gateway::limits::Limits) -> usize {
    usize::try_from(limits.sessions_max).unwrap_or(usize::MAX)
}

fn announce(
    path: &Path,
    (url, socket): (&str, Option<&Path>),
    temporary: Option<&Temporary>,
) -> Result<(), Failure> {
    let mut ready = serde_json::json!({ "url": url, "pid": std::process::id(), "version": VERSION });
    if let Some(socket) = socket {
        ready["unix_socket"] = socket.to_string_lossy().into();
    }
    if let Some(temporary) = temporary {
        ready["admin_token"] = temporary.admin.reveal().into();
        ready["rw_token"] = temporary.rw.reveal().into();
        ready["ro_token"] = temporary.ro.reveal().into();
        ready["metrics_token"] = temporary.metrics.reveal().into();
    }
    step(ready::write(path, &ready), || format!("failed to write the ready file `{}`", path.display()))
        .map_err(|failure| failure.hint("name a file in a directory that is there and that you may write"))
}

/// What a person needs to connect a client: where we listen, and the address that clients reach us under, if there is one.
fn banner(
    (listens, url): (&str, Option<&str>),
    socket: Option<&Path>,
    temporary: Option<&Temporary>,
) -> String {
    let beside = socket.map(|path| format!(", socket {}", path.display())).unwrap_or_default();
    let Some(temporary) = temporary else {
        return format!("hayward {VERSION} listens on {listens}{beside}\n");
    };
    let rw = temporary.rw.reveal();
    let ro = temporary.ro.reveal();
    let admin = temporary.admin.reveal();
    let metrics = temporary.metrics.reveal();
    let connect = match url {
        Some(url) => format!(
            "Claude Code:\n\
             \x20 claude mcp add --transport http hayward {url} --header \"Authorization: Bearer {rw}\"\n\
             \n\
             Other clients:\n\
             \x20 {{\"mcpServers\": {{\"hayward\": {{\"type\": \"http\", \"url\": \"{url}\", \"headers\": {{\"Authorization\": \"Bearer {rw}\"}}}}}}}}\n"
        ),
        None => "Only clients that speak HTTP over the socket reach this; others start `hayward stdio`.\n"
            .to_owned(),
    };
    format!(
        "hayward {VERSION} listens on {listens}{beside}\n\
         \n\
         Temporary tokens, valid until this process ends:\n\
         \x20 admin   {admin}\n\
         \x20 rw      {rw}\n\
         \x20 ro      {ro}\n\
         \x20 metrics {metrics}\n\
         \n\
         {connect}\
         \n\
         Use the ro token for agents that may only look. Stop with Ctrl-C.\n"
    )
}
