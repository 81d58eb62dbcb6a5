//! The address that clients reach a server under, as an operator says it.

use url::{Host, Url};

/// `http://` or `https://`, a host, perhaps a port and a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicUrl {
    /// As browsers write it (the host in lower case, no port that goes without saying), without `/` at its end.
    pub(crate) text: String,
    /// The host alone, without brackets and port.
    pub(crate) host: String,
    /// The port, also if it goes without saying.
    pub(crate) port: u16,
    /// The origin of its pages, as browsers write it.
    pub(crate) origin: String,
}

impl PublicUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{what}: write a URL such as https://nas.example.org");
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let rest = rest.ok_or_else(|| wrong("it begins with neither https:// nor http://"))?;
        // The standard passes over more than an operator can mean, and some of this would break out of a command.
        if !rest.bytes().all(|byte| byte.is_ascii_graphic())
            || rest.contains(['?', '#', '\'', '"', '\\', '@'])
        {
            return Err(wrong("it has characters that don't belong there"));
        }
        let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        let host = match url.host().filter(|_| !rest.starts_with('/')) {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(wrong("it has no host")),
        };
        let port = url.port_or_known_default().ok_or_else(|| wrong("it has no port"))?;
        let text = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { text, host, port, origin: url.origin().ascii_serialization() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_has_a_scheme_and_a_host_and_nothing_that_breaks_out_of_a_command() {
        for (text, kept, origin, host, port) in [
            (
                "https://nas.example.org",
                "https://nas.example.org",
                "https://nas.example.org",
                "nas.example.org",
                443,
            ),
            (
                "https://NAS.example.org/",
                "https://nas.example.org",
                "https://nas.example.org",
                "nas.example.org",
                443,
            ),
            ("http://10.0.0.1:8765/", "http://10.0.0.1:8765", "http://10.0.0.1:8765", "10.0.0.1", 8765),
            ("https://[0::1]:443/base//", "https://[::1]/base", "https://[::1]", "::1", 443),
            ("http://my_nas:443/a/../b", "http://my_nas:443/b", "http://my_nas:443", "my_nas", 443),
        ] {
            let url = PublicUrl::parse(text).unwrap();
            assert_eq!(
                (&*url.text, &*url.origin, &*url.host, url.port),
                (kept, origin, host, port),
                "{text}"
            );
        }
        for bad in [
            "",
            "nas",
            "ftp://nas",
            "https://",
            "https://:80",
            "https://a:b",
            "https://a:70000",
            "https://a b",
            "https://a'b",
            "https://a/$(x)'",
            "https://u@a",
            "https://a?x",
            "https://[x]",
            "https://[::1",
            "https://ü",
            "https:nas",
            "https:///nas",
            "https://a\tb",
            "https://a%00b",
            "https://a<b",
            "https://1.2.3.4.5",
        ] {
            assert!(PublicUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
