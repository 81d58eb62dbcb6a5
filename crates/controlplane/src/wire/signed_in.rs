//! A login, as whoever signs in is told.

use axum::response::Response;
use hayward_api::{Code, Error};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::json;

use super::asked::json;
use crate::refusal::Refusal;
use crate::sign_in::SignedIn;

/// The token, which is shown once, until when it is good, and whose it is.
pub(crate) fn answer(status: StatusCode, signed_in: &SignedIn) -> Result<Response, Refusal> {
    let (user, spec) = (&signed_in.user, &signed_in.user.spec);
    let told = json!({
        "token": signed_in.token.reveal(), "expiresAt": moment(signed_in.expires_at_unix)?,
        "user": { "id": user.metadata.uid, "email": user.metadata.name, "name": spec.get("name"), "role": spec.get("role") },
    });
    json(status, &told)
}

/// RFC 3339, UTC.
pub(crate) fn moment(unix: i64) -> Result<String, Error> {
    let time = Timestamp::from_second(unix).map_err(|_| Error::new(Code::Invalid, "that is too far away"))?;
    Ok(time.to_string())
}
