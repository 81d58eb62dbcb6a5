//! Requests of OAuth: documents that are read, forms that are sent, and what of it is an error.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hayward_mcp::upstream::{Connect, ConnectError};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method as HttpMethod, Request, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::{Host, Url, form_urlencoded};

use super::registration::{Client, Method};
use crate::limits::{OAUTH_BODY_BYTES_MAX, OAUTH_TIMEOUT, OAUTH_TOLD_CHARS_MAX};

/// Why there is no access.
#[derive(Debug, thiserror::Error)]
pub enum OauthError {
    /// Somebody couldn't be asked.
    #[error("`{url}` could not be asked")]
    Connection {
        /// Who.
        url: String,
        /// Why.
        #[source]
        source: ConnectError,
    },
    /// It didn't answer in time.
    #[error("`{url}` did not answer in time")]
    Timeout {
        /// Who.
        url: String,
    },
    /// It answered something else.
    #[error("`{url}` answered with status {status}")]
    Status {
        /// Who.
        url: String,
        /// The status.
        status: u16,
    },
    /// What it answered can't be used.
    #[error("what `{url}` answered can't be used: {what}")]
    Unusable {
        /// Who.
        url: String,
        /// Why.
        what: String,
    },
    /// An address is one that no secret is sent to.
    #[error("`{url}` is not https, and not on this machine")]
    Insecure {
        /// The address.
        url: String,
    },
    /// The upstream names somebody else as what is to be accessed.
    #[error("the upstream says that it is `{said}`, and is reached at `{origin}`")]
    OtherResource {
        /// What it says.
        said: String,
        /// Where it is.
        origin: String,
    },
    /// The authorization server calls itself something else.
    #[error("the authorization server `{asked}` calls itself `{said}`")]
    OtherIssuer {
        /// Who was asked.
        asked: String,
        /// Who answered.
        said: String,
    },
    /// The upstream names another authorization server than the only one that is to be asked.
    #[error("the upstream names `{named}` as its authorization server, and only `{only}` is to be asked")]
    UnknownIssuer {
        /// Whom it names.
        named: String,
        /// Who is to be asked.
        only: String,
    },
    /// It can't hold a code for us alone.
    #[error("the authorization server `{issuer}` does not support PKCE with S256")]
    NoPkce {
        /// Which one.
        issuer: String,
    },
    /// It registers nobody, and doesn't know us.
    #[error("the authorization server `{issuer}` knows no client of ours, and registers none")]
    NotRegistered {
        /// Which one.
        issuer: String,
    },
    /// What came back is no answer to what was asked.
    #[error("what came back is not used: {0}")]
    NotOurs(&'static str),
    /// The authorization server, or the person, said no.
    #[error("access was refused: {error}{}", description.as_ref().map(|it| format!(" ({it})")).unwrap_or_default())]
    Refused {
        /// The code, e.g. `access_denied`.
        error: String,
        /// What it says about it.
        description: Option<String>,
    },
    /// As many people are asked at once as may be.
    #[error("{count} people are asked for access already, which is as many as may be at once")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// There is nothing to renew it with.
    #[error("the access can't be renewed: somebody has to grant it again")]
    NotRenewable,
    /// The machine has no randomness.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

impl OauthError {
    /// Whether an authorization server said no, so that asking it again makes no difference.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::NotRenewable | Self::Insecure { .. })
    }

    /// A refusal in the words of a stranger, shortened and without control characters.
    pub(super) fn refused(error: &str, description: Option<&str>) -> Self {
        Self::Refused { error: told(error), description: description.map(told) }
    }
}

/// Words of a stranger, as an error shows them.
pub(super) fn told(text: &str) -> String {
    text.chars().filter(|c| matches!(c, ' '..='~')).take(OAUTH_TOLD_CHARS_MAX).collect()
}

/// Whether this is an address of this machine itself.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// What a token endpoint answers.
#[derive(Deserialize)]
pub(super) struct Granted {
    pub(super) access_token: String,
    token_type: String,
    pub(super) expires_in: Option<u64>,
    pub(super) refresh_token: Option<String>,
    pub(super) scope: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

/// Sends requests of OAuth.
#[derive(Clone, Debug)]
pub(super) struct Fetch {
    connect: Arc<dyn Connect>,
    /// Whether whoever is asked may be on this machine.
    allows_loopback: bool,
}

impl Fetch {
    pub(super) fn new(connect: Arc<dyn Connect>, allows_loopback: bool) -> Self {
        Self { connect, allows_loopback }
    }

    /// An address that secrets may be sent to: https, or this machine's own if that is where the upstream is.
    pub(super) fn secure(&self, text: &str) -> Result<Url, OauthError> {
        let insecure = || OauthError::Insecure { url: told(text) };
        let url = Url::parse(text).map_err(|_| insecure())?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        let is_own = is_loopback(&url) && matches!(url.scheme(), "http" | "https");
        let is_secure = if is_own { self.allows_loopback } else { url.scheme() == "https" };
        if is_secure && is_plain && url.host().is_some() { Ok(url) } else { Err(insecure()) }
    }

    /// What an upstream wants of whoever shows it nothing (`WWW-Authenticate`), if it wants something.
    pub(super) async fn challenge(&self, upstream: &Url) -> Result<Option<String>, OauthError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        let body = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
        let request = Self::request(HttpMethod::POST, upstream, headers, body)?;
        let answered = tokio::time::timeout(OAUTH_TIMEOUT, self.connect.send(request)).await;
        let response = answered.map_err(|_| OauthError::Timeout { url: upstream.to_string() })?;
        let failed = |source| OauthError::Connection { url: upstream.to_string(), source };
        let response = response.map_err(failed)?;
        let header = response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        Ok(header.filter(|_| response.status() == StatusCode::UNAUTHORIZED).map(ToOwned::to_owned))
    }

    fn request(
        method: HttpMethod,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Request<Bytes>, OauthError> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        *request.uri_mut() =
            url.as_str().parse().map_err(|_| OauthError::Insecure { url: url.to_string() })?;
        Ok(request)
    }

    /// The document at an address; none if there is none.
    pub(super) async fn document<T: DeserializeOwned>(&self, url: &Url) -> Result<Option<T>, OauthError> {
        let (status, body) = self.send(HttpMethod::GET, url, HeaderMap::new(), Bytes::new()).await?;
        if status.is_success() {
            return read(url, &body).map(Some);
        }
        // Some answer a path that they don't know with a refusal.
        if status.is_client_error() { Ok(None) } else { Err(Self::status(url, status)) }
    }

    /// The answer to a document that is sent.
    pub(super) async fn register<T: DeserializeOwned>(
        &self,
        url: &str,
        body: Bytes,
    ) -> Result<T, OauthError> {
        let url = self.secure(url)?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let (status, body) = self.send(HttpMethod::POST, &url, headers, body).await?;
        Self::answered(&url, status, &body)
    }

    /// What a token endpoint grants.
    pub(super) async fn token(
        &self,
        url: &str,
        client: &Client,
        method: Method,
        form: &[(&str, &str)],
    ) -> Result<Granted, OauthError> {
        let url = self.secure(url)?;
        let (headers, body) = proved(client, method, form);
        let (status, body) = self.send(HttpMethod::POST, &url, headers, body).await?;
        let granted: Granted = Self::answered(&url, status, &body)?;
        if !granted.token_type.eq_ignore_ascii_case("bearer") || granted.access_token.is_empty() {
            let what = "it grants no bearer token".to_owned();
            return Err(OauthError::Unusable { url: url.to_string(), what });
        }
        Ok(granted)
    }

    fn answered<T: DeserializeOwned>(url: &Url, status: StatusCode, body: &[u8]) -> Result<T, OauthError> {
        if status.is_success() {
            return read(url, body);
        }
        match serde_json::from_slice::<Refusal>(body) {
            Ok(Refusal { error, error_description }) => {
                Err(OauthError::refused(&error, error_description.as_deref()))
            }
            Err(_) => Err(Self::status(url, status)),
        }
    }

    fn status(url: &Url, status: StatusCode) -> OauthError {
        OauthError::Status { url: url.to_string(), status: status.as_u16() }
    }

    async fn send(
        &self,
        method: HttpMethod,
        url: &Url,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<(StatusCode, Vec<u8>), OauthError> {
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let request = Self::request(method, url, headers, body)?;
        let failed = |source| OauthError::Connection { url: url.to_string(), source };
        let answered = async {
            let response = self.connect.send(request).await.map_err(failed)?;
            let status = response.status();
            let (mut body, mut whole) = (response.into_body(), Vec::new());
            while let Some(chunk) = body.chunk().await.map_err(failed)? {
                if whole.len() + chunk.len() > OAUTH_BODY_BYTES_MAX {
                    let what = format!("it is longer than {OAUTH_BODY_BYTES_MAX} bytes");
                    return Err(OauthError::Unusable { url: url.to_string(), what });
                }
                whole.extend_from_slice(&chunk);
            }
            Ok((status, whole))
        };
        let timed = tokio::time::timeout(OAUTH_TIMEOUT, answered).await;
        timed.unwrap_or_else(|_| Err(OauthError::Timeout { url: url.to_string() }))
    }
}

fn read<T: DeserializeOwned>(url: &Url, body: &[u8]) -> Result<T, OauthError> {
    serde_json::from_slice(body)
        .map_err(|error| OauthError::Unusable { url: url.to_string(), what: told(&error.to_string()) })
}

/// A form of a client that proves itself, and the headers that it is sent with.
fn proved(client: &Client, method: Method, form: &[(&str, &str)]) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(form);
    match (method, client.secret()) {
        // Without its id in the form as well: some issuers take that for a second proof, and refuse both.
        (Method::Basic, Some(secret)) => {
            headers.insert(AUTHORIZATION, basic(client.id(), secret));
        }
        (Method::Post, Some(secret)) => {
            body.append_pair("client_id", client.id()).append_pair("client_secret", secret);
        }
        (Method::None | Method::Basic | Method::Post, _) => {
            body.append_pair("client_id", client.id());
        }
    }
    (headers, body.finish().into())
}

/// The header of a client that proves itself (RFC 6749, 2.3.1).
fn basic(id: &str, secret: &str) -> HeaderValue {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = STANDARD.encode(format!("{}:{}", encode(id), encode(secret)));
    let mut value = HeaderValue::from_str(&format!("Basic {pair}")).expect("base64 is the value of a header");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nobody;

    impl Connect for Nobody {
        fn send(
            &self,
            _: Request<Bytes>,
        ) -> hayward_mcp::upstream::BoxFuture<
            '_,
            Result<http::Response<Box<dyn hayward_mcp::upstream::Body>>, ConnectError>,
        > {
            Box::pin(async { Err(ConnectError { what: String::new(), may_have_arrived: false }) })
        }
    }

    #[test]
    fn secrets_go_to_https_and_to_this_machine_only_from_this_machine() {
        let fetch = |allows_loopback| Fetch::new(Arc::new(Nobody), allows_loopback);
        assert!(fetch(false).secure("https://as.example/token").is_ok());
        for own in [
            "http://localhost:1/t",
            "http://127.0.0.1/t",
            "http://[::1]/t",
            "https://localhost/t",
            "http://127.1/t",
        ] {
            assert!(fetch(true).secure(own).is_ok(), "{own}");
            assert!(fetch(false).secure(own).is_err(), "{own}");
        }
        for bad in [
            "http://as.example/token",
            "http://127.0.0.1.evil.example/t",
            "http://localhost.evil.example/t",
            "http://10.0.0.1/t",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "https://user:pass@as.example/",
            "https://as.example/#x",
            "data:text/html,x",
            "--flag",
            "$(id)",
            "",
        ] {
            assert!(matches!(fetch(true).secure(bad), Err(OauthError::Insecure { .. })), "{bad}");
        }
    }

    #[test]
    fn a_client_proves_itself_in_the_words_of_its_specification() {
        assert_eq!(basic("a b", "c:d+\u{e4}"), format!("Basic {}", STANDARD.encode("a+b:c%3Ad%2B%C3%A4")));
    }

    #[test]
    fn what_a_stranger_says_is_shown_without_tricks() {
        let error = OauthError::refused("access_denied\u{1b}[31m", Some(&"\u{202e}x".repeat(10_000)));
        let shown = error.to_string();
        assert!(shown.starts_with("access was refused: access_denied[31m (xxx"), "{shown}");
        assert!(shown.len() < 1_000 && shown.is_ascii());
    }
}
