//! What the gateway sees of a server, beside what is stored of it. It is told to whoever looks at one, and kept nowhere.

use hayward_store::{Resource, Status};
use serde_json::json;

use crate::plane::Plane;

/// The member of the status that tells it.
const GATEWAY: &str = "gateway";

/// Has a server say, in its status, how much of it is shown, what isn't and why, and how it is spoken to.
pub(crate) fn tell_seen(plane: &Plane, server: &mut Resource) {
    let Some(seen) = plane.gateway.seen(server.metadata.name.as_str()) else { return };
    let (generation, at) = (server.metadata.generation, server.metadata.updated_at.clone());
    let status = server.status.get_or_insert_with(|| Status {
        observed_generation: generation,
        status: json!({}),
        updated_at: at,
    });
    if let Some(status) = status.status.as_object_mut() {
        status.insert(GATEWAY.to_owned(), json!(seen));
    }
}
