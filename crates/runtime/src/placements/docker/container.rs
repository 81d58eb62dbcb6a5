//! What a container of ours is: decided here, from what its server says.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, HostConfig, HostConfigLogConfig, Mount, MountType,
};
use hayward_api::definition::{NetworkPolicy, Transport};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::Options;
use crate::limits::{DOCKER_LOG_FILE, DOCKER_PROCESSES_MAX, DOCKER_TMP};
use crate::mounts::Shown;
use crate::placement::Order;

/// On everything that is ours, whoever of us.
pub(super) const MANAGED_LABEL: &str = "hayward.managed";

/// The name of the instance.
pub(super) const NAME_LABEL: &str = "hayward.instance";

/// Who of us started it.
pub(super) const OWNER_LABEL: &str = "hayward.owner";

/// What it was made from: the digest of an order.
const ORDER_LABEL: &str = "hayward.order";

/// The name of the container of an instance.
pub(super) fn name(owner: &str, instance: &str) -> String {
    format!("hayward.{owner}.{instance}")
}

/// The network of a container, and whether it has a way out; none if it is in none.
pub(super) fn network(options: &Options, order: &Order, transport: Transport) -> Option<(String, bool)> {
    match (order.spec.network.unwrap_or_default(), transport) {
        (NetworkPolicy::Shared, _) => Some((options.network.clone(), true)),
        (NetworkPolicy::None, Transport::Stdio) => None,
        (NetworkPolicy::None, Transport::StreamableHttp | Transport::Sse) => {
            Some((format!("{}-internal", options.network), false))
        }
    }
}

/// What the engine is told of a container.
pub(super) fn body(options: &Options, order: &Order, shown: &[Shown]) -> ContainerCreateBody {
    let (spec, transport) = (&order.spec, super::transport(order));
    let is_stdio = transport == Transport::Stdio;
    let command: Vec<String> = spec.command.iter().chain(&spec.args).cloned().collect();
    let labels = [
        (MANAGED_LABEL, "true"),
        (NAME_LABEL, &order.name),
        (OWNER_LABEL, &options.owner),
        (ORDER_LABEL, &digest(order)),
    ];
    ContainerCreateBody {
        image: spec.docker_image.clone(),
        cmd: Some(command).filter(|command| !command.is_empty()),
        env: Some(order.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
        attach_stdin: Some(is_stdio),
        open_stdin: Some(is_stdio),
        stdin_once: Some(is_stdio),
        attach_stdout: Some(is_stdio),
        attach_stderr: Some(is_stdio),
        tty: Some(false),
        host_config: Some(HostConfig { mounts: Some(mounts(shown)), ..host(options, order, transport) }),
        ..ContainerCreateBody::default()
    }
}

fn host(options: &Options, order: &Order, transport: Transport) -> HostConfig {
    let resources = order.spec.resources.clone().unwrap_or_default();
    let memory = i64::from(resources.memory_mib()) << 20;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be 0.01 to 1024")]
    let nano_cpus = (resources.cpus() * 1e9).round() as i64;
    let network = network(options, order, transport).map_or("none".to_owned(), |(name, _)| name);
    HostConfig {
        memory: Some(memory),
        // No swap beside.
        memory_swap: Some(memory),
        nano_cpus: Some(nano_cpus),
        pids_limit: Some(DOCKER_PROCESSES_MAX),
        network_mode: Some(network),
        readonly_rootfs: Some(true),
        tmpfs: Some(HashMap::from([("/tmp".to_owned(), DOCKER_TMP.to_owned())])),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        log_config: Some(log(transport == Transport::Stdio)),
        ..HostConfig::default()
    }
}

/// What it sees of the machine. What isn't there is not made.
fn mounts(shown: &[Shown]) -> Vec<Mount> {
    let mount = |Shown { path, is_writable }: &Shown| {
        let path = Some(path.to_string_lossy().into_owned());
        Mount {
            target: path.clone(),
            source: path,
            typ: Some(MountType::BIND),
            read_only: Some(!is_writable),
            ..Mount::default()
        }
    };
    shown.iter().map(mount).collect()
}

/// What goes over standard output is the protocol: nobody keeps that. What is followed can be read again after an adoption.
fn log(is_stdio: bool) -> HostConfigLogConfig {
    let bounds = [("max-size", DOCKER_LOG_FILE), ("max-file", "2")];
    let bounds = bounds.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let (kind, config) = if is_stdio { ("none", HashMap::new()) } else { ("local", bounds.into()) };
    HostConfigLogConfig { typ: Some(kind.to_owned()), config: Some(config) }
}

/// Whether a container is what would be made now.
pub(super) fn is_of(found: &ContainerInspectResponse, order: &Order) -> bool {
    let labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
    labels.and_then(|labels| labels.get(ORDER_LABEL)) == Some(&digest(order))
}

/// The same for the same server with the same environment. Who sees it sees that as well.
fn digest(order: &Order) -> String {
    let said = json!([&*order.spec, order.env]).to_string();
    Sha256::digest(said).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The address of a container.
pub(super) fn ip(found: &ContainerInspectResponse) -> Option<&str> {
    let networks = found.network_settings.as_ref()?.networks.as_ref()?;
    networks.values().find_map(|it| it.ip_address.as_deref().filter(|ip| !ip.is_empty()))
}
