//! Proxies in front of us, and what is believed of what they say of their clients.
//!
//! Anybody can send `X-Forwarded-For`; it counts only if the kernel names a peer that the operator has named before. Who isn't
//! such a peer is who the kernel says, whatever its headers say.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ::http::{HeaderMap, HeaderName};
use hayward_api::Source;
use hayward_api::bounds::plain;
use hayward_api::source::Proxy;
use ipnet::IpNet;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const SCHEME: HeaderName = HeaderName::from_static("x-forwarded-proto");
const CLOUDFLARE: HeaderName = HeaderName::from_static("cf-connecting-ip");

/// Peers that are believed.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Vec<Trusted>);

/// Peers that are believed, as an operator names them: an address, a network as `10.0.0.0/8`, or `unix` for whoever
/// connects to a socket of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trusted {
    /// Those of a network.
    Network(IpNet),
    /// Those of this machine, on a socket in the file system.
    Socket,
}

/// What a request says of whom it was sent on for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded<'a> {
    /// Where it comes from.
    pub source: Source,
    /// The names under which the client reached the proxies: the whole of a header, which may be a list. None from whom
    /// isn't believed.
    pub hosts: Vec<&'a str>,
    /// `http` or `https`, as the client spoke to the proxy.
    pub scheme: Option<&'static str>,
}

impl FromStr for Trusted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unix" {
            return Ok(Self::Socket);
        }
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        match network.map(plain) {
            Ok(None) => Err("IPv4 addresses written as IPv6 ones share their first 96 bits".to_owned()),
            Ok(Some(network)) if network.prefix_len() == 0 => {
                Err("it would believe everybody: name the addresses of your proxies".to_owned())
            }
            Ok(Some(network)) => Ok(Self::Network(network.trunc())),
            Err(_) => Err("write an address, a network such as 10.0.0.0/8, or `unix`".to_owned()),
        }
    }
}

impl Proxies {
    /// Believes these peers and nobody else.
    pub fn new(trusted: Vec<Trusted>) -> Self {
        Self(trusted)
    }

    /// What of these headers is believed, sent by this peer.
    pub fn read<'a>(&self, peer: Option<SocketAddr>, headers: &'a HeaderMap) -> Forwarded<'a> {
        let source = Source::peer(peer);
        let proxy = match peer {
            Some(peer) if self.trusts(peer.ip()) => Proxy::Address(peer),
            None if self.0.contains(&Trusted::Socket) => Proxy::Socket,
            Some(_) | None => return Forwarded { source, ..Forwarded::default() },
        };
        let source = match self.client(headers) {
            Some(address) => Source { address: Some(address), proxy: Some(proxy) },
            None => source,
        };
        Forwarded { source, hosts: list(headers, &HOST).collect(), scheme: scheme(headers) }
    }

    /// The client, as the proxies say: of all hops the last one that is no proxy of ours. What stands before it, anybody may have
    /// written. `CF-Connecting-IP` counts without the other header only: a proxy that sets the other one may pass on whatever
    /// a client says in this one.
    fn client(&self, headers: &HeaderMap) -> Option<SocketAddr> {
        if !headers.contains_key(FOR) {
            let mut told = list(headers, &CLOUDFLARE);
            return told.next().and_then(address).filter(|_| told.next().is_none());
        }
        let mut client = None;
        for hop in list(headers, &FOR).rev() {
            // What can't be read ends the chain: beyond it, nobody vouches.
            let Some(address) = address(hop) else { break };
            client = Some(address);
            if !self.trusts(address.ip()) {
                break;
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|trusted| match trusted {
            Trusted::Network(network) => network.contains(&address),
            Trusted::Socket => false,
        })
    }
}

/// The parts of every header of this name, in their order; one that is no text is a part that can't be read.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'a str> + use<'a> {
    let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// An address with or without a port; port 0 says that there was none.
fn address(hop: &str) -> Option<SocketAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let ip = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    let address = ip.or_else(|_| hop.parse::<SocketAddr>()).ok()?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

fn scheme(headers: &HeaderMap) -> Option<&'static str> {
    let told = list(headers, &SCHEME).next()?;
    ["https", "http"].into_iter().find(|scheme| told.eq_ignore_ascii_case(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(list: &[&str]) -> Proxies {
        Proxies::new(list.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    /// The client's address, and the proxy's if it is a proxy that says so.
    fn seen(proxies: &Proxies, peer: &str, list: &[(&'static str, &str)]) -> (String, Option<String>) {
        let source = proxies.read(peer.parse().ok(), &headers(list)).source;
        let text = |it: SocketAddr| it.to_string();
        (source.address.map(text).unwrap_or_default(), source.proxy.map(|proxy| proxy.to_string()))
    }

    #[test]
    fn a_proxy_is_believed_and_nobody_else() {
        let ours = proxies(&["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"]);
        for proxy in ["10.1.2.3:9", "[2001:db8::1]:9", "192.0.2.7:9", "[::ffff:10.1.2.3]:9"] {
            let (client, told_by) = seen(&ours, proxy, &[("x-forwarded-for", "203.0.113.9")]);
            assert_eq!((&*client, told_by.as_deref()), ("203.0.113.9:0", Some(proxy)));
        }
        for other in ["11.0.0.1:9", "192.0.2.8:9", "[2001:db9::1]:9", "127.0.0.1:9"] {
            let spoofed = [("x-forwarded-for", "203.0.113.9"), ("cf-connecting-ip", "203.0.113.9")];
            assert_eq!(seen(&ours, other, &spoofed), (other.to_owned(), None));
        }
    }

    #[test]
    fn the_last_hop_that_is_no_proxy_is_the_client() {
        let ours = proxies(&["10.0.0.0/8"]);
        for (told, client) in [
            (&["1.1.1.1, 203.0.113.9"][..], "203.0.113.9:0"),
            (&["1.1.1.1", "203.0.113.9, 10.0.0.2"], "203.0.113.9:0"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3:0"),
            (&["203.0.113.9:5555"], "203.0.113.9:5555"),
            (&["[2001:db8::1]:5555"], "[2001:db8::1]:5555"),
            (&["[2001:db8::1]"], "[2001:db8::1]:0"),
            (&["2001:db8::1"], "[2001:db8::1]:0"),
            (&["::ffff:203.0.113.9"], "203.0.113.9:0"),
            (&["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2:0"),
        ] {
            let list: Vec<_> = told.iter().map(|value| ("x-forwarded-for", *value)).collect();
            assert_eq!(seen(&ours, "10.0.0.1:9", &list), (client.to_owned(), Some("10.0.0.1:9".to_owned())));
        }
        for unreadable in ["", "unknown", "1.1.1.1, x", "203.0.113.9;", "1.1.1.1 2.2.2.2"] {
            let told = seen(&ours, "10.0.0.1:9", &[("x-forwarded-for", unreadable)]);
            assert_eq!(told, ("10.0.0.1:9".to_owned(), None), "{unreadable}");
        }
    }

    #[test]
    fn the_header_of_cloudflare_counts_alone_and_once() {
        let ours = proxies(&["10.0.0.0/8"]);
        let alone = [("cf-connecting-ip", "203.0.113.9")];
        assert_eq!(seen(&ours, "10.0.0.1:9", &alone).0, "203.0.113.9:0");
        let beside = [("cf-connecting-ip", "1.1.1.1"), ("x-forwarded-for", "203.0.113.9")];
        assert_eq!(seen(&ours, "10.0.0.1:9", &beside).0, "203.0.113.9:0");
        let twice = [("cf-connecting-ip", "1.1.1.1"), ("cf-connecting-ip", "203.0.113.9")];
        assert_eq!(seen(&ours, "10.0.0.1:9", &twice), ("10.0.0.1:9".to_owned(), None));
    }

    #[test]
    fn a_socket_of_this_machine_is_believed_if_it_is_named() {
        let told = [("x-forwarded-for", "203.0.113.9")];
        assert_eq!(seen(&proxies(&["10.0.0.0/8"]), "", &told), (String::new(), None));
        let ours = proxies(&["unix"]);
        assert_eq!(seen(&ours, "", &told), ("203.0.113.9:0".to_owned(), Some("unix".to_owned())));
        assert_eq!(seen(&ours, "10.0.0.1:9", &told).1, None);
    }

    #[test]
    fn what_names_no_peers_is_refused() {
        for bad in ["", "x", "10.0.0.0/33", "10.0.0", "0.0.0.0/0", "::/0", "10.0.0.1:80", "unix:/x"] {
            assert!(bad.parse::<Trusted>().is_err(), "{bad}");
        }
        for mapped in ["::ffff:0:0/96", "::ffff:10.0.0.0/90"] {
            assert!(mapped.parse::<Trusted>().is_err(), "{mapped}");
        }
        for same in ["10.1.2.3/8", "::ffff:10.1.2.3/104"] {
            assert_eq!(same.parse::<Trusted>(), "10.0.0.0/8".parse(), "{same}");
        }
        assert_eq!("::ffff:10.1.2.3".parse::<Trusted>(), "10.1.2.3".parse());
    }

    #[test]
    fn names_and_scheme_are_told_by_a_proxy_alone() {
        let ours = proxies(&["10.0.0.0/8"]);
        let map = headers(&[("x-forwarded-host", "a, b"), ("x-forwarded-proto", "HTTPS")]);
        let told = ours.read("10.0.0.1:9".parse().ok(), &map);
        assert_eq!((told.hosts, told.scheme), (vec!["a", "b"], Some("https")));
        let told = ours.read("11.0.0.1:9".parse().ok(), &map);
        assert_eq!((told.hosts, told.scheme), (vec![], None));
        assert_eq!(
            ours.read("10.0.0.1:9".parse().ok(), &headers(&[("x-forwarded-proto", "ftp")])).scheme,
            None
        );
    }
}
