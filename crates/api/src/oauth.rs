//! How access to a server is asked for that is granted by OAuth.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::definition::{SecretRef, ValueFrom};
use crate::error::Error;
use crate::kinds::Names;
use crate::limits::spec::{LINE_BYTES, OAUTH_SCOPES};
use crate::member::{distinct, key, optional, url, wrong};

/// How access is asked for that is granted by OAuth. All of it is found out if nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Oauth {
    /// The only authorization server that is asked, as it calls itself; the one that the server names if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The client that is registered at the issuer; without, one is registered, or `clientDocument` is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The secret of this client, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<ValueFrom>,
    /// The address of a document that describes Hayward as a client (a client ID metadata document).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_document: Option<String>,
    /// What is asked to be allowed, beside what the server says that it wants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
}

impl Oauth {
    /// Checks it, of a server that says it.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (field, said) in [("oauth.issuer", &self.issuer), ("oauth.clientDocument", &self.client_document)]
        {
            said.as_ref().map_or(Ok(()), |said| url(field, said))?;
        }
        if self.client_document.as_ref().is_some_and(|said| !said.starts_with("https://")) {
            return Err(wrong("oauth.clientDocument", "such a document is read over https alone"));
        }
        optional("oauth.clientId", self.client_id.as_ref(), LINE_BYTES)?;
        if self.client_id.is_some() && self.issuer.is_none() {
            return Err(wrong("oauth.issuer", "say at which issuer `clientId` is registered"));
        }
        if self.client_secret.is_some() && self.client_id.is_none() {
            return Err(wrong("oauth.clientSecret", "it is that of a `clientId`, and none is said"));
        }
        if let Some(ValueFrom { secret_ref: SecretRef { name, key: of } }) = &self.client_secret {
            let field = "oauth.clientSecret.secretRef";
            Names::Plain.canonical(name).map_err(|error| error.at(&format!("{field}.name")))?;
            key(&format!("{field}.key"), of)?;
        }
        if self.scopes.len() > OAUTH_SCOPES {
            return Err(wrong("oauth.scopes", format!("use up to {OAUTH_SCOPES}")));
        }
        let is_scope = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        match self.scopes.iter().find(|scope| scope.is_empty() || !scope.bytes().all(is_scope)) {
            Some(scope) => {
                Err(wrong("oauth.scopes", format!("`{}` is none (RFC 6749, 3.3)", scope.escape_debug())))
            }
            None => distinct("oauth.scopes", self.scopes.iter().map(String::as_str)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(said: &Value, expect: Option<&str>) {
        let oauth: Oauth = serde_json::from_value(said.clone()).unwrap();
        let told = oauth.check().err();
        assert_eq!(told.map(|error| error.field.unwrap_or_default()).as_deref(), expect, "{said}");
    }

    #[test]
    fn a_client_belongs_to_an_issuer_and_a_secret_to_a_client() {
        let from = |name: &str, key: &str| json!({"secretRef": {"name": name, "key": key}});
        check(&json!({}), None);
        check(&json!({"issuer": "https://as.example/t", "clientId": "c", "scopes": ["a:b", "c"]}), None);
        check(
            &json!({"issuer": "http://127.0.0.1:1", "clientId": "c", "clientSecret": from("s", "k")}),
            None,
        );
        check(&json!({"clientDocument": "https://gate.example/client.json"}), None);
        for (bad, field) in [
            (json!({"clientId": "c"}), "oauth.issuer"),
            (json!({"issuer": "https://as.example", "clientSecret": from("s", "k")}), "oauth.clientSecret"),
            (json!({"issuer": "https://u:p@as.example"}), "oauth.issuer"),
            (json!({"clientDocument": "http://gate.example/client.json"}), "oauth.clientDocument"),
            (json!({"scopes": ["a b"]}), "oauth.scopes"),
            (json!({"scopes": [""]}), "oauth.scopes"),
            (json!({"scopes": ["a", "a"]}), "oauth.scopes[1]"),
            (
                json!({"issuer": "https://x", "clientId": "c", "clientSecret": from("s", "a b")}),
                "oauth.clientSecret.secretRef.key",
            ),
        ] {
            check(&bad, Some(field));
        }
    }
}
