//! What a token is bound to beside its role and its fence: where it comes from, what it calls, how often.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error};
use crate::fence::tools::ToolPattern;

/// Networks, and tools, that one token is bound to at most.
pub const BOUNDS_MAX: usize = 64;

/// Bits that all IPv4 addresses share that are written as IPv6 ones (RFC 4291, 2.5.5.2).
const MAPPED_BITS: u8 = 96;

/// The bounds of one token; none where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Bounds {
    /// Networks and addresses from which it is accepted, e.g. `192.168.1.0/24`; all if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Network>,
    /// Tools that it may call, of those that its role may, e.g. `read_file` or `prepare_*`; all if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolPattern>,
    /// Requests that are answered in a minute; more are asked to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroU32>,
}

impl Bounds {
    /// Whether it is bound to nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it is accepted from there. A process of this machine has no address, and is.
    pub fn accepts(&self, address: Option<IpAddr>) -> bool {
        let is_source = |address: IpAddr| self.sources.iter().any(|network| network.contains(address));
        self.sources.is_empty() || address.is_none_or(is_source)
    }

    /// Whether it may call the tool of this name, or use what else is offered under it: of this machine, or of this server of
    /// others.
    pub fn may_use(&self, server: Option<&str>, name: &str) -> bool {
        let is_meant = |pattern: &ToolPattern| match server {
            None => pattern.matches(name),
            Some(server) => pattern.matches_of(server, name),
        };
        self.tools.is_empty() || self.tools.iter().any(is_meant)
    }

    /// Refuses what is too much.
    pub fn check(&self) -> Result<(), Error> {
        if self.sources.len().max(self.tools.len()) > BOUNDS_MAX {
            return Err(Error::new(
                Code::Invalid,
                format!("a token is bound to more than {BOUNDS_MAX} networks or tools"),
            )
            .with_hint("name larger networks, or a family of tools, e.g. `read_*`"));
        }
        Ok(())
    }
}

/// As lists show it: `from 10.0.0.0/8; read_*, grep; 60 a minute`, or `-`.
impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn joined<T: fmt::Display>(all: &[T]) -> String {
            all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        let sources = (!self.sources.is_empty()).then(|| format!("from {}", joined(&self.sources)));
        let tools = (!self.tools.is_empty()).then(|| joined(&self.tools));
        let pace = self.requests_per_minute.map(|bound| format!("{bound} a minute"));
        let all: Vec<String> = [sources, tools, pace].into_iter().flatten().collect();
        f.write_str(if all.is_empty() { "-" } else { "" })?;
        f.write_str(&all.join("; "))
    }
}

/// A network, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Network(IpNet);

impl Network {
    /// Reads `ADDRESS` or `ADDRESS/BITS`. Bits behind the network's are refused: they tell of a mistake.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |hint: String| {
            let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
            Error::new(Code::Invalid, format!("invalid network `{shown}`")).with_hint(hint)
        };
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.to_canonical().into()));
        }
        let network: IpNet =
            text.parse().map_err(|_| wrong("write e.g. 192.168.1.0/24, 10.0.0.7 or fd00::/8".to_owned()))?;
        let network = plain(network).ok_or_else(|| {
            wrong(
                "IPv4 addresses written as IPv6 ones share their first 96 bits: write e.g. 10.0.0.0/8"
                    .to_owned(),
            )
        })?;
        if network.trunc() != network {
            return Err(wrong(format!("did you mean {}, or the address alone?", network.trunc())));
        }
        Ok(Self(network))
    }

    /// Whether the address is in it. An IPv4 address that came as an IPv6 one is the IPv4 one.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// The network as its addresses are compared: one of IPv4 addresses that are written as IPv6 ones (`::ffff:10.0.0.0/104`) is the
/// IPv4 one. None if it begins as such addresses do and is larger than all of them: nobody can mean that.
pub fn plain(network: IpNet) -> Option<IpNet> {
    let IpAddr::V6(address) = network.addr() else { return Some(network) };
    match address.to_ipv4_mapped() {
        None => Some(network),
        Some(address) => {
            let bits = network.prefix_len().checked_sub(MAPPED_BITS)?;
            IpNet::new(address.into(), bits).ok()
        }
    }
}

impl TryFrom<String> for Network {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        Self::parse(&text)
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            return write!(f, "{}", self.0.addr());
        }
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_network_holds_its_addresses_however_they_come() {
        for (network, inside, outside) in [
            ("192.168.1.0/24", &["192.168.1.1", "::ffff:192.168.1.7"][..], &["192.168.2.1", "::1"][..]),
            ("10.0.0.7", &["10.0.0.7"], &["10.0.0.8", "::ffff:10.0.0.8"]),
            ("fd00::/8", &["fd00::1"], &["fe00::1", "10.0.0.1"]),
            ("::ffff:10.0.0.7", &["10.0.0.7"], &["::1"]),
            ("0.0.0.0/0", &["1.2.3.4"], &["::1"]),
            ("::ffff:10.0.0.0/104", &["10.1.2.3", "::ffff:10.1.2.3"], &["11.0.0.1", "::1"]),
            ("::ffff:0.0.0.0/96", &["1.2.3.4"], &["::1"]),
            ("::ffff:10.0.0.7/128", &["10.0.0.7"], &["10.0.0.8"]),
            ("::/0", &["::1", "fd00::1"], &["10.0.0.1"]),
        ] {
            let network = Network::parse(network).unwrap();
            assert!(inside.iter().all(|address| network.contains(address.parse().unwrap())), "{network}");
            assert!(!outside.iter().any(|address| network.contains(address.parse().unwrap())), "{network}");
        }
        for bad in
            ["", "10.0.0.0/33", "10.0.0.1/24", "nas", "10.0.0", "fd00::1/8", "10.0.0.0/-1", " 10.0.0.1"]
        {
            assert!(Network::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Network::parse("::ffff:10.0.0.0/104").unwrap().to_string(), "10.0.0.0/8");
        for (bad, expect) in [
            ("10.0.0.1/24", "10.0.0.0/24"),
            ("::ffff:10.0.0.1/120", "10.0.0.0/24"),
            ("::ffff:10.0.0.0/95", "first 96 bits"),
            ("::ffff:0.0.0.0/80", "first 96 bits"),
            ("::ffff:10.0.0.0/8", "10.0.0.0/8"),
        ] {
            let hint = Network::parse(bad).unwrap_err().hint.unwrap();
            assert!(hint.contains(expect), "{bad}: {hint}");
        }
    }

    #[test]
    fn whoever_is_bound_to_nothing_may_come_from_anywhere_and_call_anything() {
        let bounds = Bounds::default();
        assert!(
            bounds.accepts(Some([1, 2, 3, 4].into())) && bounds.accepts(None) && bounds.may_use(None, "x")
        );
        assert_eq!((json!(&bounds), bounds.to_string()), (json!({}), "-".to_owned()));
    }

    #[test]
    fn whoever_is_bound_is_refused_beyond() {
        let bounds: Bounds = serde_json::from_value(
            json!({"sources": ["10.0.0.0/8", "::1"], "tools": ["read_*", "grep"], "requestsPerMinute": 6}),
        )
        .unwrap();
        assert!(
            bounds.accepts(Some([10, 1, 2, 3].into()))
                && bounds.accepts("::1".parse().ok())
                && bounds.accepts(None)
        );
        assert_eq!(bounds.to_string(), "from 10.0.0.0/8, ::1; read_*, grep; 6 a minute");
        assert!(!bounds.accepts(Some([11, 1, 2, 3].into())));
        assert!(bounds.may_use(None, "read_file") && bounds.may_use(None, "grep"));
        assert!(!bounds.may_use(None, "grepx") && !bounds.may_use(None, "bash_execute"));
        assert!(!bounds.may_use(Some("s"), "read_file"), "a server calls its tools what it likes");
        for bad in [
            json!({"sources": ["x"]}),
            json!({"tools": ["a b"]}),
            json!({"requestsPerMinute": 0}),
            json!({"x": 1}),
        ] {
            assert!(serde_json::from_value::<Bounds>(bad.clone()).is_err(), "{bad}");
        }
        let many =
            Bounds { sources: vec![Network::parse("::1").unwrap(); BOUNDS_MAX + 1], ..Bounds::default() };
        assert!(many.check().is_err() && bounds.check().is_ok());
    }
}
