//! One server and one credential, and the requests that go there.

use bytes::Bytes;
use hayward_egress as egress;
use hayward_egress::{Options, ReadError, Response, Trust};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, IF_MATCH, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use serde::de::DeserializeOwned;
use url::Url;

use crate::address::Address;
use crate::error::{Error, Problem};
use crate::limits::{ANSWER_BYTES_MAX, CONNECT_TIMEOUT, SILENCE_TIMEOUT, STRANGER_BYTES_MAX};

/// What a client is made with.
pub struct Config {
    /// The server.
    pub address: Address,
    /// The credential: a token of any sort; none asks as nobody.
    pub token: Option<String>,
    /// Whose certificates are trusted; of no matter without TLS.
    pub trust: Trust,
}

/// Asks one server with one credential. It has no `Debug`, since it holds a token.
pub struct Client {
    http: egress::Client,
    address: Address,
    authorization: Option<HeaderValue>,
}

/// One request, before it is sent.
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) body: Option<Bytes>,
    pub(crate) content_type: &'static str,
    /// The version that has to be there still.
    pub(crate) if_match: Option<u64>,
}

impl Ask {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self { method, url, body: None, content_type: "application/json", if_match: None }
    }

    pub(crate) fn json(mut self, value: &impl serde::Serialize) -> Self {
        // What is sent are values of JSON, which can always be written.
        self.body = Some(serde_json::to_vec(value).unwrap_or_default().into());
        self
    }
}

impl Client {
    /// A client; nothing is sent yet, and nothing set up that its address doesn't need.
    pub fn new(config: Config) -> Result<Self, Error> {
        let Config { address, token, trust } = config;
        let trust = if address.is_tls() { trust } else { Trust::Nobody };
        let options = Options { connect_timeout: CONNECT_TIMEOUT, silence_timeout: SILENCE_TIMEOUT, trust };
        let unreachable = |source| Error::Unreachable { address: address.to_string(), source };
        let http = egress::Client::with(&options).map_err(unreachable)?;
        let authorization = token.map(|token| bearer(&token)).transpose()?;
        Ok(Self { http, address, authorization })
    }

    /// The server that it asks.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether it asks as somebody.
    pub fn has_token(&self) -> bool {
        self.authorization.is_some()
    }

    /// The same, with another credential.
    pub fn with_token(mut self, token: &str) -> Result<Self, Error> {
        self.authorization = Some(bearer(token)?);
        Ok(self)
    }

    /// The address of a route of `/api/v1`.
    pub(crate) fn route(&self, segments: &[&str]) -> Url {
        self.address.at(["api", "v1"].iter().chain(segments).copied())
    }

    /// Sends a request; what isn't a success is an error.
    pub(crate) async fn send(&self, ask: Ask) -> Result<Response, Error> {
        let shown = ask.url.to_string();
        let request = egress::Request {
            method: ask.method.clone(),
            headers: self.headers(&ask),
            url: ask.url.into(),
            body: ask.body.unwrap_or_default(),
        };
        let unreachable = |source| Error::Unreachable { address: self.address.to_string(), source };
        let response = self.http.send(request).await.map_err(unreachable)?;
        match response.status() {
            200..=299 => Ok(response),
            status => {
                let body = response.whole(ANSWER_BYTES_MAX).await.map_err(|source| self.broken(source))?;
                Err(refusal(shown, status, &body))
            }
        }
    }

    /// Sends a request, and reads the whole answer.
    pub(crate) async fn fetch<T: DeserializeOwned>(&self, ask: Ask) -> Result<T, Error> {
        let shown = ask.url.to_string();
        let response = self.send(ask).await?;
        self.read(shown, response).await
    }

    /// Reads the whole of an answer.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        address: String,
        response: Response,
    ) -> Result<T, Error> {
        let status = response.status();
        let body = response.whole(ANSWER_BYTES_MAX).await.map_err(|source| self.broken(source))?;
        serde_json::from_slice(&body).map_err(|error| Error::Stranger {
            address,
            status,
            what: error.to_string(),
        })
    }

    pub(crate) fn broken(&self, source: ReadError) -> Error {
        Error::Broken { address: self.address.to_string(), source }
    }

    fn headers(&self, ask: &Ask) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, application/problem+json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("hayward/", env!("CARGO_PKG_VERSION"))));
        if ask.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(ask.content_type));
        }
        if let Some(version) = ask.if_match
            && let Ok(value) = HeaderValue::from_str(&format!("\"{version}\""))
        {
            headers.insert(IF_MATCH, value);
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        headers
    }
}

fn bearer(token: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| Error::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The refusal that a body is; what else it may be, otherwise.
fn refusal(address: String, status: u16, body: &[u8]) -> Error {
    if let Ok(problem) = serde_json::from_slice::<Problem>(body) {
        return Error::Refused(Box::new(problem));
    }
    let beginning = &body[..body.len().min(STRANGER_BYTES_MAX)];
    let what = String::from_utf8_lossy(beginning).trim().to_owned();
    Error::Stranger { address, status, what: if what.is_empty() { "nothing".to_owned() } else { what } }
}

#[cfg(test)]
mod tests {
    use hayward_api::Code;

    use super::*;

    #[test]
    fn a_refusal_is_read_and_what_a_stranger_says_is_shown_in_part() {
        let body = br#"{"type":"urn:hayward:error:not_found","title":"not found","status":404,"code":"not_found","detail":"no server `x`","hint":"look"}"#;
        let error = refusal("http://nas".into(), 404, body);
        assert_eq!((error.code(), error.hint().as_deref()), (Code::NotFound, Some("look")));
        assert_eq!(error.to_string(), "no server `x`");
        let error = refusal("http://nas".into(), 502, "x".repeat(4096).as_bytes());
        assert!(error.to_string().len() < 400 && error.code() == Code::UpstreamFailed, "{error}");
        assert!(refusal("http://nas".into(), 301, b"").hint().unwrap().contains("redirect"));
    }

    #[test]
    fn a_token_that_breaks_a_header_is_refused_and_never_shown() {
        assert!(bearer("a\nb").is_err());
        assert!(!format!("{:?}", bearer("hush").unwrap()).contains("hush"));
    }
}
