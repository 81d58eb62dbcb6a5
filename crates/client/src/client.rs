//! One server and one credential, and the requests that go there.

use std::time::Duration;

use bytes::Bytes;
use hayward_egress as egress;
use hayward_egress::{Options, Reach, ReadError, Response, SendError, Trust};
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

    /// Whether something may change there.
    fn is_write(&self) -> bool {
        !self.method.is_safe() && !self.url.query_pairs().any(|(name, _)| name == "dryRun")
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
        Self::patient(config, SILENCE_TIMEOUT)
    }

    /// One that waits so long while nothing comes.
    fn patient(config: Config, silence_timeout: Duration) -> Result<Self, Error> {
        let Config { address, token, trust } = config;
        let trust = if address.is_tls() { trust } else { Trust::Nobody };
        let connect_timeout = CONNECT_TIMEOUT;
        let reach = Reach::Anywhere;
        let options = Options { connect_timeout, silence_timeout, trust, idle_connections_max: 1, reach };
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
        let (shown, is_write) = (ask.url.to_string(), ask.is_write());
        let request = egress::Request {
            method: ask.method.clone(),
            headers: self.headers(&ask),
            url: ask.url.as_str().parse().map_err(|_| self.unanswered(SendError::Address, false))?,
            body: ask.body.unwrap_or_default(),
        };
        let response = self.http.send(request).await.map_err(|source| self.unanswered(source, is_write))?;
        match response.status() {
            200..=299 => Ok(response),
            status => {
                let body = response.whole(ANSWER_BYTES_MAX).await;
                Err(refusal(shown, status, &body.map_err(|source| self.broken(source, is_write))?))
            }
        }
    }

    /// Sends a request, and reads the whole answer.
    pub(crate) async fn fetch<T: DeserializeOwned>(&self, ask: Ask) -> Result<T, Error> {
        let (shown, is_write) = (ask.url.to_string(), ask.is_write());
        let response = self.send(ask).await?;
        self.whole(shown, response, is_write).await
    }

    /// Reads the whole of an answer to who only looked.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        address: String,
        response: Response,
    ) -> Result<T, Error> {
        self.whole(address, response, false).await
    }

    async fn whole<T: DeserializeOwned>(
        &self,
        address: String,
        response: Response,
        is_write: bool,
    ) -> Result<T, Error> {
        let status = response.status();
        let body = response.whole(ANSWER_BYTES_MAX).await.map_err(|source| self.broken(source, is_write))?;
        serde_json::from_slice(&body).map_err(|error| Error::Stranger {
            address,
            status,
            what: error.to_string(),
        })
    }

    fn broken(&self, source: ReadError, is_write: bool) -> Error {
        Error::Broken { address: self.address.to_string(), is_write, source }
    }

    fn unanswered(&self, source: SendError, is_write: bool) -> Error {
        let address = self.address.to_string();
        if source.may_have_arrived() {
            Error::Silent { address, is_write, source }
        } else {
            Error::Unreachable { address, source }
        }
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
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

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

    /// A server that does this with each request.
    fn answering(answer: impl Fn(&mut TcpStream) + Send + 'static) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept() {
                let _read = stream.read(&mut [0; 4096]).unwrap();
                answer(&mut stream);
                open.push(stream);
            }
        });
        client(&url)
    }

    fn client(url: &str) -> Client {
        let config = Config { address: Address::parse(url).unwrap(), token: None, trust: Trust::Nobody };
        Client::patient(config, Duration::from_millis(200)).unwrap()
    }

    /// What is told of a request of this method to a route that may be a trial.
    async fn told(client: &Client, method: Method, is_trial: bool) -> (String, String) {
        let mut url = client.route(&["servers", "ha"]);
        url.set_query(is_trial.then_some("dryRun=server"));
        let error = client.fetch::<serde_json::Value>(Ask::new(method, url)).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable);
        (error.to_string(), error.hint().unwrap_or_default())
    }

    #[tokio::test]
    async fn a_write_that_falls_silent_may_have_been_done_and_what_only_looks_may_not() {
        let begins: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{";
        let silent = answering(|_| {});
        let breaking = answering(move |stream| stream.write_all(begins).unwrap());
        for client in [&silent, &breaking] {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                let (message, hint) = told(client, method, false).await;
                assert!(
                    hint.contains("may have been done") && !message.contains("reach"),
                    "{message} {hint}"
                );
            }
            for (method, is_trial) in [(Method::GET, false), (Method::PATCH, true)] {
                let (message, hint) = told(client, method, is_trial).await;
                assert!(hint.is_empty() && message.contains("answer"), "{message} {hint}");
            }
        }
    }

    #[tokio::test]
    async fn a_write_that_went_nowhere_was_not_done() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (message, hint) = told(&client(&format!("http://127.0.0.1:{port}")), Method::PATCH, false).await;
        assert!(message.contains("failed to reach") && hint.contains("`hayward serve`"), "{message} {hint}");
    }

    #[test]
    fn a_token_that_breaks_a_header_is_refused_and_never_shown() {
        assert!(bearer("a\nb").is_err());
        assert!(!format!("{:?}", bearer("hush").unwrap()).contains("hush"));
    }
}
