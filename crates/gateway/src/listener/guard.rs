//! What every request must pass before any route sees it: `Host`, `Origin`, `Sec-Fetch-Site`, `Content-Type`.
//!
//! A web page can reach a server on loopback (DNS rebinding, "localhost CSRF"), whatever it binds to. So
//! these checks stand in front of the router and hold for every route there is, those
//! that need no credential and those that don't exist included.

use std::collections::HashSet;
use std::net::IpAddr;

use ::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};

/// Which names of ours, and which foreign pages, are accepted.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Names and addresses that this server is reached under, without port, in lower case.
    hosts: HashSet<String>,
    /// Origins of web pages that may send requests, as browsers write them.
    origins: HashSet<String>,
    port: u16,
}

/// Why a request goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Objection {
    /// `Host` is missing, stands twice, or is no name of ours.
    Host,
    /// A web page that isn't ours sent it.
    Origin,
    /// The body isn't declared as JSON, so a web page could have sent it without asking.
    ContentType,
}

impl Objection {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Host | Self::Origin => StatusCode::FORBIDDEN,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }

    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Host => {
                "Host not allowed; hint: use localhost, or start the server with --allowed-host NAME"
            }
            Self::Origin => "Origin not allowed; hint: start the server with --allowed-origin URL",
            Self::ContentType => "Content-Type must be application/json",
        }
    }
}

impl Guard {
    /// Accepts loopback names and these hosts, pages of our own port, and these origins.
    pub fn new(
        port: u16,
        hosts: impl IntoIterator<Item = String>,
        origins: impl IntoIterator<Item = String>,
    ) -> Self {
        let hosts = hosts.into_iter().map(|host| host.to_lowercase()).collect();
        let origins = origins.into_iter().map(|origin| origin.trim_end_matches('/').to_lowercase()).collect();
        Self { hosts, origins, port }
    }

    /// Checks the head of a request.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<(), Objection> {
        let headers = request.headers();
        self.check_host(request.uri(), headers)?;
        self.check_origin(headers)?;
        let has_json_body = request.method() == Method::POST || request.method() == Method::PATCH;
        if has_json_body && !hayward_mcp::http::is_json(headers) {
            return Err(Objection::ContentType);
        }
        Ok(())
    }

    fn check_host(&self, target: &Uri, headers: &HeaderMap) -> Result<(), Objection> {
        let named = single(headers, &header::HOST).ok_or(Objection::Host)?;
        // An absolute request target names the host once more; both must agree (RFC 9112, 3.2.2).
        let agrees =
            target.authority().is_none_or(|authority| authority.as_str().eq_ignore_ascii_case(named));
        if agrees && self.is_our_host(named) { Ok(()) } else { Err(Objection::Host) }
    }

    fn is_our_host(&self, host: &str) -> bool {
        let Some((name, port)) = split_port(host) else {
            return false;
        };
        let is_port_right = port.is_none_or(|port| port.parse::<u16>().is_ok());
        is_port_right && self.is_our_name(name)
    }

    fn is_our_name(&self, name: &str) -> bool {
        is_loopback(name) || self.hosts.contains(&name.to_ascii_lowercase())
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Objection> {
        if headers.contains_key(header::ORIGIN) {
            let origin = single(headers, &header::ORIGIN).ok_or(Objection::Origin)?;
            return if self.is_allowed_origin(origin) { Ok(()) } else { Err(Objection::Origin) };
        }
        // Browsers leave Origin out of some requests, and never this header.
        let sites = headers.get_all("sec-fetch-site").iter();
        let is_foreign = |site: &HeaderValue| {
            let words = site.to_str().unwrap_or("cross-site").split(',');
            words.map(str::trim).any(|word| word.eq_ignore_ascii_case("cross-site"))
        };
        if sites.into_iter().any(is_foreign) { Err(Objection::Origin) } else { Ok(()) }
    }

    fn is_allowed_origin(&self, origin: &str) -> bool {
        let origin = origin.to_lowercase();
        if self.origins.contains(&origin) {
            return true;
        }
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        host.and_then(split_port).is_some_and(|(name, port)| {
            let is_our_port = port.is_some_and(|port| port.parse() == Ok(self.port));
            is_our_port && self.is_our_name(name)
        })
    }
}

/// The value of a header that may stand once.
fn single<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// `name[:port]` or `[v6][:port]`. None if it is neither.
fn split_port(host: &str) -> Option<(&str, Option<&str>)> {
    let (name, rest) = match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port = match rest {
        "" => None,
        rest => Some(rest.strip_prefix(':')?),
    };
    let is_plain =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:".contains(&b));
    is_plain.then_some((name, port))
}

fn is_loopback(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<(), Objection> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let guard = Guard::new(8765, ["nas.lan".to_owned()], ["http://localhost:6274".to_owned()]);
        guard.check(&request.body(()).unwrap())
    }

    #[test]
    fn our_own_names_are_hosts_and_others_are_not() {
        for host in ["localhost", "LOCALHOST:8765", "127.0.0.1:1", "127.9.9.9", "[::1]:8765", "nas.lan:80"] {
            assert_eq!(check("GET", "/health", &[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "evil.com",
            "localhost.evil.com",
            "127.0.0.1.evil.com",
            "",
            "0.0.0.0",
            "[::1",
            "localhost:x",
            "a@localhost",
        ] {
            assert_eq!(check("GET", "/health", &[("host", host)]), Err(Objection::Host), "{host}");
        }
        assert_eq!(check("GET", "/health", &[]), Err(Objection::Host));
        let twice = [("host", "localhost"), ("host", "evil.com")];
        assert_eq!(check("GET", "/health", &twice), Err(Objection::Host));
        assert_eq!(check("GET", "http://evil.com/health", &[("host", "localhost")]), Err(Objection::Host));
    }

    #[test]
    fn pages_of_our_own_port_and_listed_ones_pass_and_others_do_not() {
        let host = ("host", "localhost:8765");
        for origin in
            ["http://localhost:8765", "http://127.0.0.1:8765", "http://localhost:6274", "http://nas.lan:8765"]
        {
            assert_eq!(check("GET", "/mcp", &[host, ("origin", origin)]), Ok(()), "{origin}");
        }
        for origin in [
            "http://evil.com",
            "null",
            "",
            "http://localhost:1",
            "http://localhost",
            "file://",
            "http://evil.com:8765",
        ] {
            assert_eq!(check("GET", "/mcp", &[host, ("origin", origin)]), Err(Objection::Origin), "{origin}");
        }
        assert_eq!(check("GET", "/mcp", &[host, ("sec-fetch-site", "cross-site")]), Err(Objection::Origin));
        assert_eq!(check("GET", "/mcp", &[host, ("sec-fetch-site", "none")]), Ok(()));
        for twice in [
            [("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
            [("x", "y"), ("sec-fetch-site", "same-origin, cross-site")],
        ] {
            let [one, other] = twice;
            assert_eq!(check("GET", "/mcp", &[host, one, other]), Err(Objection::Origin), "{twice:?}");
        }
    }

    #[test]
    fn a_body_that_a_form_could_send_is_refused() {
        let host = ("host", "localhost");
        assert_eq!(check("POST", "/mcp", &[host, ("content-type", "application/json")]), Ok(()));
        for other in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
            let got = check("POST", "/mcp", &[host, ("content-type", other)]);
            assert_eq!(got, Err(Objection::ContentType), "{other}");
        }
        assert_eq!(check("POST", "/mcp", &[host]), Err(Objection::ContentType));
    }
}
