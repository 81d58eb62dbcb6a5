//! The engine: each thing that is asked of it, with a deadline, and what its answers mean here.

use std::collections::HashMap;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, Network, NetworkCreateRequest,
    NetworkInspect,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, CreateImageOptionsBuilder,
    InspectContainerOptions, InspectNetworkOptions, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions, StopContainerOptionsBuilder,
    WaitContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::io::{AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::container::{MANAGED_LABEL, OWNER_LABEL};
use super::{Found, instance};
use crate::limits::{
    DOCKER_EXEC_BYTES_MAX, DOCKER_EXEC_TIMEOUT, DOCKER_GRACE_S, DOCKER_LOG_STREAM_BYTES, DOCKER_PAUSE,
    DOCKER_PULL_TIMEOUT, DOCKER_TIMEOUT,
};
use crate::log::Log;
use crate::placement::End;

/// Why the engine didn't do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It refused, or couldn't be asked.
    #[error("failed to {step}")]
    Failed {
        /// What it was asked.
        step: &'static str,
        /// What it said.
        #[source]
        error: Box<Error>,
    },
    /// A network that is there is none for containers of ours.
    #[error("network `{name}` is none for containers of servers: {what}")]
    Network {
        /// The network.
        name: String,
        /// Why.
        what: &'static str,
    },
    /// It didn't answer in time.
    #[error("failed to {step}: the container engine didn't answer in {seconds} s")]
    TooSlow {
        /// What it was asked.
        step: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
}

/// What became of a program that ran in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// Its exit code; none if the engine doesn't know it.
    pub code: Option<i64>,
    /// The beginning of what it said on standard output and standard error.
    pub output: Vec<u8>,
}

/// What a container says, as it comes.
pub(super) type Attached = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;

/// The standard input of a container.
pub(super) type Input = Box<dyn AsyncWrite + Send + Unpin>;

/// One engine. Cheap to clone.
#[derive(Clone)]
pub(super) struct Engine(Docker);

impl Engine {
    pub(super) fn at(socket: &Path) -> Result<Self, EngineError> {
        let path = socket.to_string_lossy();
        // What takes long has deadlines here; the library's is for the head of an answer.
        let docker = Docker::connect_with_unix(&path, DOCKER_PULL_TIMEOUT.as_secs(), API_DEFAULT_VERSION);
        Ok(Self(docker.map_err(|error| failed("reach the container engine", error))?))
    }

    /// Agrees with the engine on a version of its interface, which all clones share. Before anything else: an engine may have
    /// been replaced.
    pub(super) async fn agree(&self) -> Result<(), EngineError> {
        let agreeing = self.0.clone().negotiate_version();
        ask("agree with the container engine on a version", DOCKER_TIMEOUT, agreeing).await.map(drop)
    }

    pub(super) async fn ping(&self) -> Result<(), EngineError> {
        self.agree().await?;
        ask("reach the container engine", DOCKER_TIMEOUT, self.0.ping()).await.map(drop)
    }

    /// Pulls an image that isn't there.
    pub(super) async fn pull(&self, image: &str) -> Result<(), EngineError> {
        if found("look for the image", self.0.inspect_image(image)).await?.is_some() {
            return Ok(());
        }
        let options = CreateImageOptionsBuilder::new().from_image(&tagged(image)).build();
        let pulling = self.0.create_image(Some(options), None, None).try_for_each(|_| async { Ok(()) });
        ask("pull the image", DOCKER_PULL_TIMEOUT, pulling).await
    }

    /// Makes a network that isn't there. Who is in it sees the machine and, if there is a way out, others; not each other.
    pub(super) async fn network(&self, name: &str, has_way_out: bool) -> Result<(), EngineError> {
        let known = self.networks(name).await?;
        if known.is_empty() {
            self.make_network(name, has_way_out).await?;
        }
        // Engines before 25 make a second one of the same name, and then let nobody into either by it.
        if known.len() > 1 || (known.is_empty() && self.networks(name).await?.len() > 1) {
            self.remove_twins(name).await?;
        }
        let known = self.0.inspect_network(name, None::<InspectNetworkOptions>);
        let unfit = match found("look at the network", known).await? {
            Some(known) => unfit(&known, has_way_out),
            None => Some("somebody removes it"),
        };
        unfit.map_or(Ok(()), |what| Err(EngineError::Network { name: name.to_owned(), what }))
    }

    async fn make_network(&self, name: &str, has_way_out: bool) -> Result<(), EngineError> {
        let isolated = ("com.docker.network.bridge.enable_icc".to_owned(), "false".to_owned());
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            internal: Some(!has_way_out),
            options: Some(HashMap::from([isolated])),
            labels: Some(HashMap::from([(MANAGED_LABEL.to_owned(), "true".to_owned())])),
            ..NetworkCreateRequest::default()
        };
        match ask("make the network", DOCKER_TIMEOUT, self.0.create_network(request)).await {
            // Somebody was faster.
            Err(EngineError::Failed { error, .. }) if status(&error) == Some(409) => Ok(()),
            made => made.map(drop),
        }
    }

    /// All networks of this name, the newest first.
    async fn networks(&self, name: &str) -> Result<Vec<Network>, EngineError> {
        let filters = HashMap::from([("name".to_owned(), vec![name.to_owned()])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let found = ask("look for the network", DOCKER_TIMEOUT, self.0.list_networks(Some(options))).await?;
        // The filter takes longer names as well.
        let mut named: Vec<_> = found.into_iter().filter(|it| it.name.as_deref() == Some(name)).collect();
        named.sort_by(|a, b| b.created.cmp(&a.created));
        Ok(named)
    }

    /// Of several networks of this name, removes those that are ours but one, where nobody is in them.
    async fn remove_twins(&self, name: &str) -> Result<(), EngineError> {
        let known = self.networks(name).await?;
        let is_ours = |network: &Network| {
            network.labels.as_ref().is_some_and(|labels| labels.contains_key(MANAGED_LABEL))
        };
        let strangers = known.iter().filter(|network| !is_ours(network)).count();
        let mut ours = known.len() - strangers;
        for id in known.into_iter().filter(is_ours).filter_map(|network| network.id) {
            if ours == 1 {
                break;
            }
            let removing = self.0.remove_network(&id);
            match ask("remove a network that is there twice", DOCKER_TIMEOUT, removing).await {
                Ok(()) => ours -= 1,
                Err(EngineError::Failed { error, .. }) if is_absent(&error) => ours -= 1,
                // Somebody is in it.
                Err(EngineError::Failed { error, .. }) if status(&error) == Some(403) => {}
                Err(error) => return Err(error),
            }
        }
        let what = "there are several of this name; hint: remove all but one with `docker network rm ID`";
        if ours + strangers > 1 {
            return Err(EngineError::Network { name: name.to_owned(), what });
        }
        Ok(())
    }

    pub(super) async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<String, EngineError> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let made =
            ask("make the container", DOCKER_TIMEOUT, self.0.create_container(Some(options), body)).await;
        made.map(|made| made.id)
    }

    pub(super) async fn start(&self, id: &str) -> Result<(), EngineError> {
        let starting = self.0.start_container(id, None::<StartContainerOptions>);
        ask("start the container", DOCKER_TIMEOUT, starting).await
    }

    pub(super) async fn attach(&self, id: &str) -> Result<(Attached, Input), EngineError> {
        let options =
            AttachContainerOptionsBuilder::new().stream(true).stdin(true).stdout(true).stderr(true).build();
        let attaching = self.0.attach_container(id, Some(options));
        let attached = ask("attach to the container", DOCKER_TIMEOUT, attaching).await?;
        Ok((attached.output, Box::new(attached.input)))
    }

    pub(super) async fn inspect(&self, id: &str) -> Result<ContainerInspectResponse, EngineError> {
        let asking = self.0.inspect_container(id, None::<InspectContainerOptions>);
        ask("look at the container", DOCKER_TIMEOUT, asking).await
    }

    /// The same; none if there is no such container.
    pub(super) async fn find(&self, name: &str) -> Result<Option<ContainerInspectResponse>, EngineError> {
        self.agree().await?;
        match self.inspect(name).await {
            Ok(found) => Ok(Some(found)),
            Err(EngineError::Failed { error, .. }) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn list(&self, owner: &str) -> Result<Vec<Found>, EngineError> {
        self.agree().await?;
        let labels = vec![format!("{MANAGED_LABEL}=true"), format!("{OWNER_LABEL}={owner}")];
        let filters = HashMap::from([("label".to_owned(), labels)]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let found = ask("list the containers", DOCKER_TIMEOUT, self.0.list_containers(Some(options))).await?;
        let ours = found.into_iter().filter_map(|it| {
            let is_running = it.state.is_some_and(|state| state.to_string() == "running");
            Some(Found { instance: instance(it.labels)?, id: it.id?, is_running })
        });
        Ok(ours.collect())
    }

    /// Removes a container, whether it runs or not, and what is only its.
    pub(super) async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let removing = self.0.remove_container(id, Some(options));
        match ask("remove the container", DOCKER_TIMEOUT, removing).await {
            Err(EngineError::Failed { error, .. }) if is_absent(&error) => Ok(()),
            removed => removed,
        }
    }

    /// Waits until a container ended, by itself or because it is stopped.
    pub(super) async fn end(&self, id: &str, stop: &CancellationToken) -> End {
        if let Some(end) = stop.run_until_cancelled(self.ended(id)).await {
            return end;
        }
        let options = StopContainerOptionsBuilder::new().t(DOCKER_GRACE_S).build();
        let deadline = DOCKER_TIMEOUT + Duration::from_secs(DOCKER_GRACE_S.unsigned_abs().into());
        let stopping = self.0.stop_container(id, Some(options));
        if let Err(error) = ask("stop the container", deadline, stopping).await {
            // It is removed by force.
            tracing::warn!(%error, id, "a container was not stopped");
        }
        End::Stopped
    }

    /// Waits until a container ended by itself. An engine that breaks off says nothing of the container: it is asked again.
    async fn ended(&self, id: &str) -> End {
        loop {
            self.0.wait_container(id, None::<WaitContainerOptions>).for_each(|_| async {}).await;
            match self.inspect(id).await {
                Ok(found) if has_ended(&found) => return how(&found),
                Ok(_) => {}
                Err(EngineError::Failed { error, .. }) if is_absent(&error) => {
                    return End::Failed { why: "its container is gone".to_owned() };
                }
                Err(error) => tracing::warn!(%error, id, "a container isn't looked after at the moment"),
            }
            sleep(DOCKER_PAUSE).await;
        }
    }

    /// Passes on what a container says: standard output to who speaks to it, the rest to the log.
    pub(super) async fn hear(&self, id: &str, attached: Option<(Attached, DuplexStream)>, log: &Log) {
        let (mut out, out_log) = tokio::io::duplex(DOCKER_LOG_STREAM_BYTES);
        let passing = async move {
            if let Some((said, mut output)) = attached {
                return pass(said, &mut output, &mut out).await;
            }
            let options = LogsOptionsBuilder::new().follow(true).stdout(true).stderr(true).build();
            let said = self.0.logs(id, Some(options)).map_ok(to_log);
            pass(Box::pin(said), &mut tokio::io::sink(), &mut out).await;
        };
        tokio::join!(passing, log.fill(out_log));
    }

    pub(super) async fn exec(&self, name: &str, command: &[String]) -> Result<Executed, EngineError> {
        self.agree().await?;
        let options = CreateExecOptions {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let made =
            ask("make a program in the container", DOCKER_TIMEOUT, self.0.create_exec(name, options)).await?;
        let running = async {
            let mut kept = Vec::new();
            if let StartExecResults::Attached { mut output, .. } = self.0.start_exec(&made.id, None).await? {
                while let Some(said) = output.next().await {
                    let said = said?.into_bytes();
                    kept.extend_from_slice(&said[..said.len().min(DOCKER_EXEC_BYTES_MAX - kept.len())]);
                }
            }
            Ok((kept, self.0.inspect_exec(&made.id).await?.exit_code))
        };
        let (output, code) = ask("run a program in the container", DOCKER_EXEC_TIMEOUT, running).await?;
        Ok(Executed { code, output })
    }
}

/// Passes on what is said until nobody says anything any more. Whoever doesn't read standard output keeps nobody from hearing
/// the rest that came before.
async fn pass<O, E>(mut said: Attached, output: &mut O, errors: &mut E)
where
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    let mut is_read = true;
    while let Some(Ok(piece)) = said.next().await {
        match piece {
            LogOutput::StdOut { message } | LogOutput::Console { message } => {
                is_read = is_read && output.write_all(&message).await.is_ok();
            }
            LogOutput::StdErr { message } => drop(errors.write_all(&message).await),
            LogOutput::StdIn { .. } => {}
        }
    }
}

/// Where standard output isn't the protocol, it belongs to the log as well.
fn to_log(said: LogOutput) -> LogOutput {
    LogOutput::StdErr { message: said.into_bytes() }
}

/// Whether a container runs no more.
fn has_ended(found: &ContainerInspectResponse) -> bool {
    let status = found.state.as_ref().and_then(|state| state.status);
    matches!(status, Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD))
}

/// Why containers of ours can't be in a network that is there; none if they can. Who makes one for them may do so: it has to keep
/// them from being the machine itself, and from a way out that they aren't to have.
fn unfit(found: &NetworkInspect, has_way_out: bool) -> Option<&'static str> {
    let option =
        |name: &str| found.options.as_ref().and_then(|options| options.get(name)).map(String::as_str);
    let is_default = option("com.docker.network.bridge.default_bridge") == Some("true");
    match found.driver.as_deref() {
        Some("bridge") if is_default => {
            Some("in the default bridge of the engine everybody reaches everybody")
        }
        Some("bridge") if !has_way_out && found.internal != Some(true) => {
            Some("it has a way out; hint: make it with `--internal`, or remove it")
        }
        Some("bridge") => None,
        _ => Some("it is no bridge, so they would be in a network of the machine"),
    }
}

/// How a container ended that nobody stopped.
fn how(found: &ContainerInspectResponse) -> End {
    let Some(state) = &found.state else {
        return End::Failed { why: "the engine doesn't say how".to_owned() };
    };
    let code = state.exit_code.and_then(|code| i32::try_from(code).ok());
    match (state.oom_killed, code) {
        (Some(true), _) => End::OutOfMemory,
        // As a shell says it: a container has no other words for a signal.
        (_, Some(code @ 129..=192)) => End::Signaled { signal: code - 128 },
        (_, Some(code)) => End::Exited { code },
        (_, None) => End::Failed { why: "the engine doesn't say with which code".to_owned() },
    }
}

/// An image with its tag: without one, all of them would be pulled.
fn tagged(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or_default();
    if name.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

async fn ask<T>(
    step: &'static str,
    deadline: Duration,
    asking: impl Future<Output = Result<T, Error>>,
) -> Result<T, EngineError> {
    match timeout(deadline, asking).await {
        Ok(answer) => answer.map_err(|error| failed(step, error)),
        Err(_) => Err(EngineError::TooSlow { step, seconds: deadline.as_secs() }),
    }
}

/// What is looked for; none if it isn't there.
async fn found<T>(
    step: &'static str,
    looking: impl Future<Output = Result<T, Error>>,
) -> Result<Option<T>, EngineError> {
    let looking = async {
        match looking.await {
            Err(error) if is_absent(&error) => Ok(None),
            found => found.map(Some),
        }
    };
    ask(step, DOCKER_TIMEOUT, looking).await
}

fn failed(step: &'static str, error: Error) -> EngineError {
    EngineError::Failed { step, error: Box::new(error) }
}

fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

fn is_absent(error: &Error) -> bool {
    status(error) == Some(404)
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerState;

    use super::*;

    #[test]
    fn one_image_is_pulled_and_no_more() {
        for (image, expect) in [
            ("a", "a:latest"),
            ("host.example:5000/a/b", "host.example:5000/a/b:latest"),
            ("a/b:1", "a/b:1"),
            ("a@sha256:00", "a@sha256:00"),
        ] {
            assert_eq!(tagged(image), expect);
        }
    }

    #[test]
    fn containers_are_in_bridges_of_their_own_and_have_no_way_out_that_they_are_not_to_have() {
        let network = |driver: &str, is_internal, options: &[(&str, &str)]| NetworkInspect {
            driver: Some(driver.to_owned()),
            internal: Some(is_internal),
            options: Some(
                options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ),
            ..NetworkInspect::default()
        };
        let default = [("com.docker.network.bridge.default_bridge", "true")];
        for (found, has_way_out, is_fit) in [
            (network("bridge", false, &[]), true, true),
            (network("bridge", true, &[]), false, true),
            (network("bridge", false, &[]), false, false),
            (network("bridge", false, &default), true, false),
            (network("host", false, &[]), true, false),
            (network("null", false, &[]), false, false),
            (network("macvlan", false, &[]), true, false),
            (NetworkInspect::default(), true, false),
        ] {
            assert_eq!(unfit(&found, has_way_out).is_none(), is_fit, "{found:?}");
        }
    }

    #[test]
    fn how_a_container_ended_is_read_from_its_code() {
        for (code, is_out_of_memory, expect) in [
            (0, false, End::Exited { code: 0 }),
            (7, false, End::Exited { code: 7 }),
            (137, false, End::Signaled { signal: 9 }),
            (137, true, End::OutOfMemory),
            (255, false, End::Exited { code: 255 }),
        ] {
            let state = ContainerState {
                exit_code: Some(code),
                oom_killed: Some(is_out_of_memory),
                ..ContainerState::default()
            };
            let found =
                ContainerInspectResponse { state: Some(state), ..ContainerInspectResponse::default() };
            assert_eq!(how(&found), expect, "{code}");
        }
    }
}
