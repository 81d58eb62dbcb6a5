//! Where a server is: `http://` or `https://`, a host, perhaps a port and a path.

use std::fmt;

use url::Url;

/// The address of a server, without the path of any of its routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Url);

/// Why a text is no address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: write a URL such as https://nas.example.org")]
pub struct InvalidAddress(&'static str);

impl Address {
    /// Reads an address; that of the endpoint `/mcp` means its server.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let mut url = Url::parse(text.trim()).map_err(|_| InvalidAddress("it is no URL"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(InvalidAddress("it begins with neither https:// nor http://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidAddress("it holds a credential, which others would see"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidAddress("it has a `?` or a `#`"));
        }
        let path = url.path().trim_end_matches('/');
        let path = path.strip_suffix("/mcp").unwrap_or(path).to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }

    /// Whether it is reached through TLS.
    pub fn is_tls(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether it is of this machine.
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// The address of an endpoint of the server, e.g. of `projects`, `home`, `mcp`.
    pub fn endpoint<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        self.at(segments)
    }

    /// The address of a route, whose segments are written as they have to be.
    pub(crate) fn at<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_the_server_with_or_without_its_endpoint() {
        for (text, expect) in [
            ("http://127.0.0.1:8765", "http://127.0.0.1:8765"),
            ("http://127.0.0.1:8765/mcp", "http://127.0.0.1:8765"),
            ("https://NAS.example.org:443/x/", "https://nas.example.org/x"),
            ("http://mcp", "http://mcp"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.to_string(), expect);
            assert_eq!(address.at(["api", "a/b ?"]).as_str(), format!("{expect}/api/a%2Fb%20%3F"));
        }
    }

    #[test]
    fn what_is_no_address_of_a_server_is_refused() {
        for bad in
            ["", "nas", "ftp://nas", "http://", "http://u:p@nas", "http://nas?x", "http://nas#x", "mailto:a"]
        {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_says_whether_it_is_of_this_machine() {
        for (text, expect) in
            [("http://[::1]:1", true), ("http://localhost", true), ("https://10.0.0.1", false)]
        {
            assert_eq!(Address::parse(text).unwrap().is_loopback(), expect, "{text}");
        }
    }
}
