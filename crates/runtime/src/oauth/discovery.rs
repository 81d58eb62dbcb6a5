//! What is to be accessed, and who grants it: the documents of RFC 9728 and RFC 8414.

use serde::{Deserialize, Serialize};
use url::Url;

use super::challenge::{Challenge, words};
use super::fetch::{Fetch, OauthError, told};
use crate::limits::OAUTH_SCOPES_MAX;

/// What is to be accessed.
#[derive(Debug)]
pub(super) struct Resource {
    /// What it calls itself, to the letter.
    pub(super) id: String,
    /// Who grants access to it.
    pub(super) issuers: Vec<String>,
    /// What can be allowed.
    pub(super) scopes: Vec<String>,
}

/// Who grants access.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Issuer {
    pub(super) name: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    #[serde(default)]
    pub(super) registration_endpoint: Option<String>,
    /// What can be allowed.
    #[serde(default)]
    pub(super) scopes: Vec<String>,
    /// How a client proves itself; none if it isn't said.
    #[serde(default)]
    pub(super) methods: Option<Vec<String>>,
    /// Whether it takes the address of a document as a client.
    #[serde(default)]
    pub(super) takes_documents: bool,
    /// Whether its answers say that they are its own (RFC 9207).
    #[serde(default)]
    pub(super) says_iss: bool,
}

#[derive(Deserialize)]
struct ResourceDocument {
    resource: String,
    #[serde(default)]
    authorization_servers: Vec<String>,
    #[serde(default)]
    scopes_supported: Vec<String>,
}

#[derive(Deserialize)]
struct IssuerDocument {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    registration_endpoint: Option<String>,
    #[serde(default)]
    scopes_supported: Vec<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    code_challenge_methods_supported: Vec<String>,
    #[serde(default)]
    client_id_metadata_document_supported: bool,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Resource {
    /// What the upstream at this address says of itself. One that says nothing is accessed by its address, and grants it
    /// itself.
    pub(super) async fn find(
        fetch: &Fetch,
        upstream: &Url,
        challenge: &Challenge,
    ) -> Result<Self, OauthError> {
        for url in resource_documents(upstream, challenge)? {
            let Some(document) = fetch.document::<ResourceDocument>(&url).await? else { continue };
            check_resource(upstream, &document.resource)?;
            let mut issuers = document.authorization_servers;
            if issuers.is_empty() {
                issuers.push(origin(upstream));
            }
            let scopes = words(&document.scopes_supported.join(" "));
            return Ok(Self { id: document.resource, issuers, scopes });
        }
        let mut id = upstream.clone();
        // What else the address says, e.g. a key, is between us and the upstream.
        id.set_query(None);
        id.set_fragment(None);
        Ok(Self { id: id.into(), issuers: vec![origin(upstream)], scopes: Vec::new() })
    }

    /// Whom to ask: the first one that it names, or the only one that may be asked, if it names that.
    pub(super) fn issuer(&self, only: Option<&str>) -> Result<&str, OauthError> {
        let first = self.issuers.first().map_or("", String::as_str);
        let Some(only) = only else { return Ok(first) };
        let found = self.issuers.iter().find(|issuer| *issuer == only);
        found
            .map(String::as_str)
            .ok_or_else(|| OauthError::UnknownIssuer { named: told(first), only: told(only) })
    }
}

/// Where an upstream may say what it is, in the order in which it is asked. What it names itself is asked alone, and only
/// where it is: its word sends us nowhere else.
fn resource_documents(upstream: &Url, challenge: &Challenge) -> Result<Vec<Url>, OauthError> {
    if let Some(named) = &challenge.resource_metadata {
        let url = Url::parse(named).ok().filter(|url| url.origin() == upstream.origin());
        return url.map(|url| vec![url]).ok_or_else(|| other_resource(upstream, named));
    }
    let path = upstream.path().trim_end_matches('/');
    let well_known = "/.well-known/oauth-protected-resource";
    let at = |path: &str| at(upstream, path);
    Ok(if path.is_empty() {
        vec![at(well_known)]
    } else {
        vec![at(&format!("{well_known}{path}")), at(well_known)]
    })
}

/// Refuses what an upstream calls itself if that is somebody else.
pub(super) fn check_resource(upstream: &Url, said: &str) -> Result<(), OauthError> {
    if is_within(upstream, said) { Ok(()) } else { Err(other_resource(upstream, said)) }
}

fn other_resource(upstream: &Url, said: &str) -> OauthError {
    OauthError::OtherResource { said: told(said), origin: origin(upstream) }
}

/// Whether what an upstream calls itself is what it is reached by: of the same origin, with this path or one above.
fn is_within(upstream: &Url, said: &str) -> bool {
    let Ok(said) = Url::parse(said) else { return false };
    let (ours, theirs) = (upstream.path().trim_end_matches('/'), said.path().trim_end_matches('/'));
    let is_above = ours.strip_prefix(theirs).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    said.origin() == upstream.origin() && is_above && said.fragment().is_none()
}

fn origin(upstream: &Url) -> String {
    upstream.origin().ascii_serialization()
}

/// This path on the same server, and nothing else.
fn at(upstream: &Url, path: &str) -> Url {
    let mut url = upstream.clone();
    url.set_path(path);
    url.set_query(None);
    url.set_fragment(None);
    url
}

impl Issuer {
    /// What an authorization server says of itself.
    pub(super) async fn find(fetch: &Fetch, name: &str) -> Result<Self, OauthError> {
        let base = fetch.secure(name)?;
        for url in issuer_documents(&base) {
            let Some(document) = fetch.document::<IssuerDocument>(&url).await? else { continue };
            return Self::of(document, name);
        }
        Err(OauthError::Unusable { url: told(name), what: "it says nowhere what it is".to_owned() })
    }

    fn of(document: IssuerDocument, asked: &str) -> Result<Self, OauthError> {
        if document.issuer != asked {
            return Err(OauthError::OtherIssuer { asked: told(asked), said: told(&document.issuer) });
        }
        if !document.code_challenge_methods_supported.iter().any(|method| method == "S256") {
            return Err(OauthError::NoPkce { issuer: told(&document.issuer) });
        }
        let mut scopes = document.scopes_supported;
        scopes.truncate(OAUTH_SCOPES_MAX);
        Ok(Self {
            name: document.issuer,
            authorization_endpoint: document.authorization_endpoint,
            token_endpoint: document.token_endpoint,
            registration_endpoint: document.registration_endpoint,
            scopes,
            methods: document.token_endpoint_auth_methods_supported,
            takes_documents: document.client_id_metadata_document_supported,
            says_iss: document.authorization_response_iss_parameter_supported,
        })
    }
}

/// Where an authorization server may say what it is (RFC 8414, 3.1; `OpenID Connect` Discovery), in the order in which it is
/// asked. One with a path is somebody else than the one without.
fn issuer_documents(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let [oauth, openid] = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];
    let mut paths = vec![format!("{oauth}{path}"), format!("{openid}{path}")];
    if !path.is_empty() {
        paths.push(format!("{path}{openid}"));
    }
    paths.iter().map(|path| at(issuer, path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn documents(server: &str, named: Option<&str>) -> Result<Vec<String>, OauthError> {
        let challenge = Challenge { resource_metadata: named.map(ToOwned::to_owned), ..Challenge::default() };
        Ok(resource_documents(&url(server), &challenge)?.into_iter().map(String::from).collect())
    }

    #[test]
    fn an_upstream_is_asked_where_it_is_and_nowhere_else() {
        assert_eq!(
            documents("https://a.example/x/mcp?k=1", None).unwrap(),
            [
                "https://a.example/.well-known/oauth-protected-resource/x/mcp",
                "https://a.example/.well-known/oauth-protected-resource"
            ]
        );
        assert_eq!(documents("https://a.example/", None).unwrap().len(), 1);
        assert_eq!(
            documents("https://a.example/mcp", Some("https://a.example/own")).unwrap(),
            ["https://a.example/own"]
        );
        for elsewhere in
            ["https://b.example/x", "http://a.example/x", "https://a.example:8443/x", "file:///x", "x"]
        {
            assert!(documents("https://a.example/mcp", Some(elsewhere)).is_err(), "{elsewhere}");
        }
    }

    #[test]
    fn an_upstream_is_what_it_is_reached_by() {
        let server = url("https://a.example/x/mcp");
        for same in [
            "https://a.example/x/mcp",
            "https://a.example/x/mcp/",
            "https://a.example/x",
            "https://a.example",
        ] {
            assert!(is_within(&server, same), "{same}");
        }
        for other in [
            "https://a.example/x/mcp/deeper",
            "https://a.example/x/mc",
            "https://a.example/y",
            "https://b.example/x/mcp",
            "http://a.example/x/mcp",
            "https://a.example/x/mcp#y",
            "a.example",
        ] {
            assert!(!is_within(&server, other), "{other}");
        }
    }

    #[test]
    fn an_authorization_server_with_a_path_is_not_the_one_without() {
        let of = |text: &str| issuer_documents(&url(text)).into_iter().map(String::from).collect::<Vec<_>>();
        assert_eq!(
            of("https://as.example/tenant"),
            [
                "https://as.example/.well-known/oauth-authorization-server/tenant",
                "https://as.example/.well-known/openid-configuration/tenant",
                "https://as.example/tenant/.well-known/openid-configuration"
            ]
        );
        assert_eq!(of("https://as.example").len(), 2);
    }

    #[test]
    fn an_authorization_server_is_the_one_that_was_asked_and_holds_a_code_for_us_alone() {
        let document = |issuer: &str, methods: &str| {
            serde_json::from_value::<IssuerDocument>(serde_json::json!({
                "issuer": issuer, "authorization_endpoint": "https://as/a", "token_endpoint": "https://as/t",
                "code_challenge_methods_supported": [methods], "unknown": 1}))
            .unwrap()
        };
        let of = |document| Issuer::of(document, "https://as");
        assert!(of(document("https://as", "S256")).is_ok());
        assert!(matches!(of(document("https://as/", "S256")), Err(OauthError::OtherIssuer { .. })));
        assert!(matches!(of(document("https://as", "plain")), Err(OauthError::NoPkce { .. })));
    }
}
