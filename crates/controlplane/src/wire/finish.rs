//! The beginning and the end of what changes one resource: decided anew, made or only tried, and told.

use axum::response::Response;
use hayward_api::Code;
use hayward_api::kinds::Descriptor;
use hayward_auth::Token;
use hayward_store::{Resource, StoreError};
use http::{HeaderValue, StatusCode, header};

use super::asked::json;
use super::show::shown;
use crate::guarded::{Allowed, Change};
use crate::plane::Plane;
use crate::refusal::Refusal;

/// Begins a change for whoever showed these proofs, the first of which says who that is.
pub(crate) async fn begin(plane: &Plane, proofs: &[&Allowed]) -> Result<Change, Refusal> {
    let caller = proofs.first().map(|allowed| allowed.caller());
    let caller = caller.ok_or_else(|| Refusal::new(Code::Internal, "a change for nobody"))?;
    Ok(plane.guarded.begin(caller, proofs).await.map_err(|denied| denied.error)?)
}

/// Makes a change, or only looks whether it could be made.
pub(crate) async fn finish(mut change: Change, is_dry: bool) -> Result<(), Refusal> {
    if is_dry {
        return Ok(change.check().await?);
    }
    // Whoever is answered can count on it: what was taken away is taken away.
    Ok(change.commit().await?)
}

/// A conflict with what `If-Match` says has a status of its own.
pub(crate) fn conflict(error: StoreError, if_match: Option<u64>) -> Refusal {
    let is_conflict = matches!(error, StoreError::Conflict { .. });
    let refusal = Refusal::from(error);
    if is_conflict && if_match.is_some() { refusal.status(StatusCode::PRECONDITION_FAILED) } else { refusal }
}

/// A resource as the answer.
pub(crate) fn answer(
    status: StatusCode,
    kind: &Descriptor,
    resource: &Resource,
    token: Option<&Token>,
) -> Result<Response, Refusal> {
    let mut document = shown(kind, resource);
    if let (Some(token), Some(members)) = (token, document.as_object_mut()) {
        members.insert("token".into(), token.reveal().into());
    }
    let mut response = json(status, &document)?;
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", resource.metadata.resource_version)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}
