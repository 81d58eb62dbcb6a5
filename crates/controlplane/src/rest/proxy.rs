//! `POST /mcp/proxy`: a message of MCP for a server, by whoever has no client of it. It takes the road that the calls of clients
//! take, so it is decided and recorded there.

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::ports::Target;
use crate::refusal::Refusal;
use crate::wire::asked::Asked;

/// What is asked, and where. What the message itself says is not read here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Proxied {
    server_id: Option<String>,
    project_id: Option<String>,
    #[serde(rename = "id")]
    _id: Option<IgnoredAny>,
    #[serde(rename = "method")]
    _method: String,
    #[serde(rename = "params")]
    _params: Option<IgnoredAny>,
}

/// `POST /mcp/proxy {"serverId": SERVER, "method": METHOD, "params": {…}}`.
pub(crate) async fn proxy(asked: Asked) -> Result<Response, Refusal> {
    asked.known().await?;
    if asked.is_yaml() {
        return Err(Refusal::invalid("a message of MCP is JSON"));
    }
    let Proxied { server_id, project_id, .. } = asked.object().await?;
    let target = match (server_id, project_id) {
        (Some(server), None) => Target::Server(asked.server_name(&server).await?),
        (None, Some(project)) => {
            Target::Project(asked.plane.guarded.project_name(&asked.caller, &project).await)
        }
        _ => return Err(Refusal::invalid("it says either `serverId` or `projectId`")),
    };
    let answered = asked.plane.gateway.ask(asked.caller.clone(), target, asked.body.clone());
    asked
        .look(async move {
            let mut response = Response::new(answered.await?.into());
            *response.status_mut() = StatusCode::OK;
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Ok(response)
        })
        .await
}

#[cfg(test)]
mod tests {
    use hayward_api::Code;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_says_where_it_goes_and_what_it_is_and_nothing_else() {
        let read = |value| hayward_api::decode::<Proxied>(value).map_err(|error| error.code);
        assert!(read(json!({"serverId": "a", "method": "tools/list"})).is_ok());
        assert!(read(json!({"projectId": "a", "method": "x", "params": {"deep": [1]}, "id": "z"})).is_ok());
        for bad in [
            json!({"serverId": "a"}),
            json!({"serverId": "a", "method": 1}),
            json!({"serverId": "a", "method": "x", "command": ["sh"]}),
            json!([]),
        ] {
            assert_eq!(read(bad).err(), Some(Code::Invalid));
        }
    }
}
