//! What was granted: a token for one upstream, from one issuer, to one client.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use serde::{Deserialize, Serialize};

use super::challenge::words;
use super::discovery::Issuer;
use super::fetch::{Granted, OauthError};
use super::registration::Client;

/// The names of what is sealed.
const REST: &str = "GRANT";
const ACCESS: &str = "ACCESS_TOKEN";
const REFRESH: &str = "REFRESH_TOKEN";
const CLIENT: &str = "CLIENT_SECRET";

/// What was granted. Whoever keeps it keeps it sealed: [`Self::to_secret`] is all of it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Grant {
    /// Which asking of a person it came of; the same after each renewal.
    #[serde(default)]
    id: String,
    #[serde(default, skip_serializing)]
    access_token: String,
    #[serde(default, skip_serializing)]
    refresh_token: Option<String>,
    /// When the token is over, in seconds since 1970, if that was said.
    expires_at_unix: Option<u64>,
    /// For how many seconds it was good when it was granted, if that was said.
    #[serde(default)]
    lifetime_s: Option<u64>,
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
        id: String,
        (issuer, client): (Issuer, Client),
        (scopes, resource): (Vec<String>, String),
    ) -> Result<Self, OauthError> {
        let empty = Self {
            id,
            access_token: String::new(),
            refresh_token: None,
            expires_at_unix: None,
            lifetime_s: None,
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
            lifetime_s: granted.expires_in,
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

    /// Whether it is time to renew it: this long before its end. What lives for a short time only is renewed in the last
    /// quarter of it: the next one would be due at once as well.
    pub fn is_due(&self, before: Duration) -> bool {
        let before = self.lifetime_s.map_or(u64::MAX, |lifetime| lifetime / 4).min(before.as_secs());
        self.expires_at_unix.is_some_and(|end| end <= now_unix().saturating_add(before))
    }

    /// Whether it can be renewed without a person.
    pub fn is_renewable(&self) -> bool {
        self.refresh_token.is_some()
    }

    /// What it allows.
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// Which asking of a person it came of: another one is another grant, and a renewal is not.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Who granted it.
    pub fn issuer_name(&self) -> &str {
        &self.issuer.name
    }

    /// When it is over, in seconds since 1970, unless it is renewed; none if that wasn't said.
    pub fn expires_at_unix(&self) -> Option<u64> {
        self.expires_at_unix
    }

    /// All of it, to be sealed: each secret by itself, so that whoever takes secrets out of texts knows it.
    pub fn to_secret(&self) -> BTreeMap<String, String> {
        let mut rest = self.clone();
        let client_secret = rest.client.take_secret();
        let rest = serde_json::to_string(&rest).expect("strings and numbers serialise");
        let values = [
            (REST, Some(rest)),
            (ACCESS, Some(self.access_token.clone())),
            (REFRESH, self.refresh_token.clone()),
            (CLIENT, client_secret),
        ];
        values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    /// Reads what was sealed, of which this gives the values by their names.
    ///
    /// # Errors
    /// If it isn't what was sealed.
    pub fn from_secret<'a>(value: impl Fn(&str) -> Option<&'a str>) -> Result<Self, serde_json::Error> {
        let mut grant: Self = serde_json::from_str(value(REST).unwrap_or_default())?;
        let owned = |name| value(name).map(ToOwned::to_owned);
        grant.access_token = owned(ACCESS).unwrap_or_default();
        if HeaderValue::from_str(&grant.access_token).is_err() {
            return Err(serde::de::Error::custom("its token can't stand in a header"));
        }
        grant.refresh_token = owned(REFRESH);
        grant.client.put_secret(owned(CLIENT));
        Ok(grant)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn grant(left_s: u64, lifetime_s: Option<u64>) -> Grant {
        let issuer = json!({"name": "https://as", "authorization_endpoint": "", "token_endpoint": ""});
        let rest = json!({
            "expires_at_unix": now_unix() + left_s, "lifetime_s": lifetime_s, "scopes": [], "resource": "", "issuer": issuer,
            "client": {"id": "c"}});
        Grant { access_token: "t".to_owned(), ..serde_json::from_value(rest).unwrap() }
    }

    #[test]
    fn it_is_due_before_it_ends_and_not_as_soon_as_it_is_granted() {
        let before = Duration::from_secs(30);
        for (left_s, lifetime_s, expect) in [
            (29, Some(3600), true),
            (45, Some(3600), false),
            (29, None, true),
            (45, None, false),
            (4, Some(20), true),
            (10, Some(20), false),
            (20, Some(20), false),
            (2, Some(2), false),
            (0, Some(2), true),
        ] {
            assert_eq!(grant(left_s, lifetime_s).is_due(before), expect, "{left_s} of {lifetime_s:?}");
        }
    }
}
