//! The address that clients reach a server under, as an operator says it.

/// `http://` or `https://`, a host, perhaps a port and a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicUrl {
    /// As it was said, without `/` at its end.
    pub(crate) text: String,
    /// The host alone, without brackets and port.
    pub(crate) host: String,
}

impl PublicUrl {
    /// The origin of its pages, as browsers write it.
    pub(crate) fn origin(&self) -> &str {
        let authority = self.text.find("://").map_or(0, |scheme| scheme + 3);
        let path = self.text[authority..].find('/').map_or(self.text.len(), |path| authority + path);
        &self.text[..path]
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{what}: write a URL such as https://nas.example.org");
        let text = text.trim_end_matches('/');
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let rest = rest.ok_or_else(|| wrong("it begins with neither https:// nor http://"))?;
        if !rest.bytes().all(|byte| byte.is_ascii_graphic())
            || rest.contains(['?', '#', '\'', '"', '\\', '@'])
        {
            return Err(wrong("it has characters that don't belong there"));
        }
        let authority = rest.split('/').next().unwrap_or_default();
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (host, port),
            Some(_) => return Err(wrong("its host is no address")),
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let is_port =
            port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
        let is_name =
            |host: &str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        if !is_port {
            return Err(wrong("its port is no number up to 65535"));
        }
        if host.is_empty() || !(authority.starts_with('[') || is_name(host)) {
            return Err(wrong("it has no host"));
        }
        Ok(Self { text: text.to_owned(), host: host.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_has_a_scheme_and_a_host_and_nothing_that_breaks_out_of_a_command() {
        for (text, kept, host) in [
            ("https://nas.example.org", "https://nas.example.org", "nas.example.org"),
            ("http://10.0.0.1:8765/", "http://10.0.0.1:8765", "10.0.0.1"),
            ("https://[::1]:443/base//", "https://[::1]:443/base", "::1"),
        ] {
            let url = PublicUrl::parse(text).unwrap();
            assert_eq!(url.origin(), kept.trim_end_matches("/base"));
            assert_eq!((&*url.text, &*url.host), (kept, host));
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
        ] {
            assert!(PublicUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
