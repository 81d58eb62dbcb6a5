//! Attaching servers to projects: whoever asks, and in whichever of its three ways.

use hayward_api::Code;
use hayward_store::Resource;
use serde_json::Value;

use crate::guarded::Allowed;
use crate::plane::Plane;
use crate::refusal::Refusal;
use crate::wire::finish::{begin, finish};

/// The servers of a project.
pub(crate) fn servers(project: &Resource) -> Vec<String> {
    let servers = project.spec.get("servers").and_then(Value::as_array);
    servers.into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}

/// Attaches a server to a project.
pub(crate) async fn attach(
    plane: &Plane,
    allowed: &Allowed,
    (project, server): (&Resource, &str),
    is_dry: bool,
) -> Result<Resource, Refusal> {
    let mut change = begin(plane, &[allowed]).await?;
    let live = change.find(project.descriptor()?, None, project.metadata.name.as_str()).await?;
    let live = live.ok_or_else(|| Refusal::new(Code::NotFound, "the project is gone"))?;
    let mut attached = servers(&live);
    if attached.iter().any(|known| known == server) {
        let message =
            format!("server `{}` is attached to `{}` already", server.escape_debug(), live.metadata.name);
        return Err(Refusal::new(Code::AlreadyExists, message));
    }
    attached.push(server.to_owned());
    let project = change.set_servers(allowed, (&live, server), attached).await?;
    finish(change, is_dry).await?;
    Ok(project)
}

/// Detaches a server from a project.
pub(crate) async fn detach(
    plane: &Plane,
    allowed: &Allowed,
    (project, server): (&Resource, &str),
    is_dry: bool,
) -> Result<(), Refusal> {
    let mut change = begin(plane, &[allowed]).await?;
    let live = change.find(project.descriptor()?, None, project.metadata.name.as_str()).await?;
    let live = live.ok_or_else(|| Refusal::new(Code::NotFound, "the project is gone"))?;
    let mut attached = servers(&live);
    let before = attached.len();
    attached.retain(|known| known != server);
    if attached.len() == before {
        let message =
            format!("server `{}` is not attached to `{}`", server.escape_debug(), live.metadata.name);
        return Err(Refusal::new(Code::NotFound, message));
    }
    change.set_servers(allowed, (&live, server), attached).await?;
    finish(change, is_dry).await
}
