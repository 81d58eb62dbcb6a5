//! What every request must pass before any route sees it: `Host`, `Origin`, `Sec-Fetch-Site`, `Content-Type`.
//!
//! A web page can reach a server on loopback (DNS rebinding, "localhost CSRF"), whatever it binds to. So
//! these checks stand in front of the router and hold for every route there is, those
//! that need no credential and those that don't exist included.

use std::collections::HashSet;
use std::net::{IpAddr, UdpSocket};

use ::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};

use super::management;
use super::proxies::Forwarded;

/// Which names of ours, and which foreign pages, are accepted.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Names and addresses that this server is reached under, without port, in lower case.
    hosts: HashSet<String>,
    /// Origins of web pages that may send requests, as browsers write them.
    origins: HashSet<String>,
    port: u16,
    takes_own_addresses: bool,
    takes_every_host: bool,
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
        Self { hosts, origins, port, takes_own_addresses: false, takes_every_host: false }
    }

    /// Accepts every address of this machine, too, whichever it has at the time: for a server that listens on all of them.
    #[must_use]
    pub fn with_own_addresses(self) -> Self {
        Self { takes_own_addresses: true, ..self }
    }

    /// Accepts requests under every name, as for clients that know a server by names that it doesn't know itself. Pages must
    /// go on to be ours.
    #[must_use]
    pub fn with_every_host(self) -> Self {
        Self { takes_every_host: true, ..self }
    }

    /// Checks the head of a request.
    pub(crate) fn check<B>(&self, request: &Request<B>, forwarded: &Forwarded<'_>) -> Result<(), Objection> {
        let headers = request.headers();
        self.check_host(request.uri(), headers)?;
        // A page that reaches us through a proxy, under a name of its own, is as foreign as one that reaches us directly.
        if !forwarded.hosts.iter().all(|host| self.is_our_host(host)) {
            return Err(Objection::Host);
        }
        self.check_origin(headers, forwarded)?;
        let has_body = request.method() == Method::POST || request.method() == Method::PATCH;
        let is_declared = if management::is_its(request.uri().path()) {
            management::is_declared(headers)
        } else {
            hayward_mcp::http::is_json(headers)
        };
        if has_body && !is_declared {
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
        is_port_right && (self.takes_every_host || self.is_our_name(name))
    }

    fn is_our_name(&self, name: &str) -> bool {
        is_loopback(name)
            || self.hosts.contains(&name.to_ascii_lowercase())
            || (self.takes_own_addresses && is_own_address(name))
    }

    fn check_origin(&self, headers: &HeaderMap, forwarded: &Forwarded<'_>) -> Result<(), Objection> {
        if headers.contains_key(header::ORIGIN) {
            let origin = single(headers, &header::ORIGIN).ok_or(Objection::Origin)?;
            let is_page_of_proxy = is_forwarded(origin, headers, forwarded) && self.is_our_page(origin);
            return if self.is_allowed_origin(origin) || is_page_of_proxy {
                Ok(())
            } else {
                Err(Objection::Origin)
            };
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
        host_of(&origin).is_some_and(|(name, port)| {
            let is_our_port = port.is_some_and(|port| port.parse() == Ok(self.port));
            is_our_port && self.is_our_name(name)
        })
    }

    /// Whether a page is of a name of ours, on whatever port.
    fn is_our_page(&self, origin: &str) -> bool {
        host_of(&origin.to_lowercase()).is_some_and(|(name, _)| self.is_our_name(name))
    }
}

/// The name and the port of a page's origin.
fn host_of(origin: &str) -> Option<(&str, Option<&str>)> {
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    host.and_then(split_port)
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

/// Whether a page comes from where its client reaches us through a proxy: both names were checked before.
fn is_forwarded(origin: &str, headers: &HeaderMap, forwarded: &Forwarded<'_>) -> bool {
    let Some(scheme) = forwarded.scheme else { return false };
    let host = forwarded.hosts.first().copied().or_else(|| single(headers, &header::HOST));
    let rest = origin.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
    host.is_some_and(|host| rest.is_some_and(|rest| rest.eq_ignore_ascii_case(host)))
}

/// Whether this is an address of this machine: nobody can listen on those of others.
fn is_own_address(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok_and(|address| {
        !address.is_unspecified() && !address.is_multicast() && UdpSocket::bind((address, 0)).is_ok()
    })
}

fn is_loopback(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<(), Objection> {
        check_forwarded(method, uri, headers, &Forwarded::default())
    }

    fn check_forwarded(
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        forwarded: &Forwarded<'_>,
    ) -> Result<(), Objection> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let guard = Guard::new(8765, ["nas.lan".to_owned()], ["http://localhost:6274".to_owned()]);
        guard.check(&request.body(()).unwrap(), forwarded)
    }

    #[test]
    fn a_name_that_a_proxy_tells_must_be_ours_as_well() {
        let host = ("host", "localhost");
        for (hosts, expect) in [
            (vec![], Ok(())),
            (vec!["nas.lan"], Ok(())),
            (vec!["nas.lan:443", "nas.lan"], Ok(())),
            (vec!["evil.com"], Err(Objection::Host)),
            (vec!["nas.lan", "evil.com"], Err(Objection::Host)),
            (vec![""], Err(Objection::Host)),
        ] {
            let forwarded = Forwarded { hosts: hosts.clone(), ..Forwarded::default() };
            assert_eq!(check_forwarded("GET", "/health", &[host], &forwarded), expect, "{hosts:?}");
        }
    }

    #[test]
    fn pages_of_the_name_that_a_proxy_serves_us_under_pass() {
        let forwarded = |scheme| Forwarded { hosts: vec!["nas.lan"], scheme, ..Forwarded::default() };
        let page = |origin| [("host", "localhost"), ("origin", origin)];
        for (origin, scheme, expect) in [
            ("https://nas.lan", Some("https"), Ok(())),
            ("https://nas.lan", Some("http"), Err(Objection::Origin)),
            ("https://nas.lan", None, Err(Objection::Origin)),
            ("https://evil.com", Some("https"), Err(Objection::Origin)),
            ("https://nas.lan:1", Some("https"), Err(Objection::Origin)),
        ] {
            let got = check_forwarded("GET", "/mcp", &page(origin), &forwarded(scheme));
            assert_eq!(got, expect, "{origin} {scheme:?}");
        }
    }

    #[test]
    fn addresses_of_this_machine_are_names_where_all_of_them_are_listened_on() {
        let guard = Guard::new(8765, [], []).with_own_addresses();
        assert!(guard.is_our_host("127.0.0.1:1") && is_own_address("127.0.0.1"));
        for other in ["0.0.0.0", "[::]", "192.0.2.1", "224.0.0.1", "evil.com", "255.255.255.256"] {
            assert!(!guard.is_our_host(other), "{other}");
        }
    }

    #[test]
    fn under_every_name_requests_pass_and_foreign_pages_do_not() {
        let guard = Guard::new(8765, ["nas.lan".to_owned()], []).with_every_host();
        let forwarded = Forwarded { hosts: vec!["evil.com"], scheme: Some("https"), ..Forwarded::default() };
        for (host, origin, expect) in [
            ("what.ever:1", "", Ok(())),
            ("a@b", "", Err(Objection::Host)),
            ("nas.lan:8765", "http://nas.lan:8765", Ok(())),
            ("evil.com:8765", "http://evil.com:8765", Err(Objection::Origin)),
            ("evil.com", "https://evil.com", Err(Objection::Origin)),
        ] {
            let mut request = Request::builder().uri("/mcp").header("host", host);
            if !origin.is_empty() {
                request = request.header("origin", origin);
            }
            let request = request.body(()).unwrap();
            assert_eq!(guard.check(&request, &Forwarded::default()), expect, "{host} {origin}");
            let through = guard.check(&request, &forwarded);
            assert_eq!(through, expect, "{host} {origin} through a proxy");
        }
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
