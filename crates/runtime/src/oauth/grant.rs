//! What was granted: a token for one upstream, from one issuer, to one client.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use serde::{Deserialize, Serialize};

use super::challenge::words;
use super::discovery::Issuer;
use super::fetch::{Granted, OauthError};
use super::registration::Client;

/// What was granted. Whoever keeps it keeps it sealed: [`Self::to_secret`] is all of it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Grant {
    access_token: String,
    refresh_token: Option<String>,
    /// When the token is over, in seconds since 1970, if that was said.
    expires_at_unix: Option<u64>,
    scopes: Vec<String>,
    resource: String,
    issuer: Issuer,
    client: Client,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Grant");
        shown.field("issuer", &self.issuer.name).field("resource", &self.resource);
        shown
            .field("scopes", &self.scopes)
            .field("expires_at_unix", &self.expires_at_unix)
            .finish_non_exhaustive()
    }
}

impl Grant {
    pub(super) fn new(
        granted: Granted,
        issuer: Issuer,
        client: Client,
        scopes: Vec<String>,
        resource: String,
    ) -> Result<Self, OauthError> {
        let empty = Self {
            access_token: String::new(),
            refresh_token: None,
            expires_at_unix: None,
            scopes,
            resource,
            issuer,
            client,
        };
        empty.renewed(granted)
    }

    /// The same with what was granted now. A token that comes without a new one to renew it with is renewed with the old
    /// one, and without a word on what it allows it allows what was asked for.
    pub(super) fn renewed(&self, granted: Granted) -> Result<Self, OauthError> {
        if HeaderValue::from_str(&granted.access_token).is_err() {
            let what = "its token can't stand in a header".to_owned();
            return Err(OauthError::Unusable { url: self.issuer.token_endpoint.clone(), what });
        }
        let expires_at_unix = granted.expires_in.map(|seconds| now_unix().saturating_add(seconds));
        let scopes = granted.scope.as_deref().map_or_else(|| self.scopes.clone(), words);
        Ok(Self {
            access_token: granted.access_token,
            refresh_token: granted.refresh_token.or_else(|| self.refresh_token.clone()),
            expires_at_unix,
            scopes,
            ..self.clone()
        })
    }

    /// The header that shows it to the upstream; nobody else gets it.
    pub fn authorization(&self) -> HeaderValue {
        let text = format!("Bearer {}", self.access_token);
        let mut value = HeaderValue::from_str(&text).expect("checked when it was granted");
        value.set_sensitive(true);
        value
    }

    /// Whether it is over, or will be within this time.
    pub fn ends_within(&self, time: Duration) -> bool {
        self.expires_at_unix.is_some_and(|end| end <= now_unix().saturating_add(time.as_secs()))
    }

    /// Whether it can be renewed without a person.
    pub fn is_renewable(&self) -> bool {
        self.refresh_token.is_some()
    }

    /// What it allows.
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// All of it, to be sealed.
    pub fn to_secret(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers serialise")
    }

    /// Reads what was sealed.
    ///
    /// # Errors
    /// If it isn't what was sealed.
    pub fn from_secret(secret: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(secret)
    }

    /// Who we are to this issuer, if it is the one that granted this. Clients of one are nobody's to another.
    pub(super) fn client_at(&self, issuer: &str) -> Option<&Client> {
        (self.issuer.name == issuer).then_some(&self.client)
    }

    pub(super) fn refresh_token(&self) -> Option<&str> {
        self.refresh_token.as_deref()
    }

    pub(super) fn resource(&self) -> &str {
        &self.resource
    }

    pub(super) fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }
}

fn now_unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
