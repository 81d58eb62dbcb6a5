//! Target `proxies`: whom a request comes from, as the kernel and the proxies say that an operator named. The input is a line with
//! those proxies, a line with the peer, and headers.
//!
//! The rule is said once more, from the other end: who isn't named changes nothing, and the client is the hop before the
//! trusted ones that end the chain.

use std::net::{IpAddr, SocketAddr};

use hayward_api::Source;
use hayward_api::source::Proxy;
use hayward_gateway::listener::{Forwarded, Proxies, Trusted};
use http::HeaderMap;

use crate::headers::{line, read};

pub(crate) fn check(input: &[u8]) {
    let (named, rest) = line(input);
    let (peer, rest) = line(rest);
    let (headers, _) = read(rest);
    let named = String::from_utf8_lossy(named);
    let trusted: Vec<Trusted> = named.split(',').filter_map(|text| text.trim().parse().ok()).collect();
    let peer: Option<SocketAddr> = String::from_utf8_lossy(peer).trim().parse().ok();
    let told = Proxies::new(trusted.clone()).read(peer, &headers);
    let proxy = match peer {
        Some(peer) => is_named(&trusted, peer.ip()).then_some(Proxy::Address(peer)),
        None => trusted.contains(&Trusted::Socket).then_some(Proxy::Socket),
    };
    match proxy {
        None => assert_eq!(told, Forwarded { source: Source::peer(peer), ..Forwarded::default() }),
        Some(proxy) => check_told(&trusted, &headers, &told, (peer, proxy)),
    }
}

/// What a proxy that is named says.
fn check_told(
    trusted: &[Trusted],
    headers: &HeaderMap,
    told: &Forwarded<'_>,
    (peer, proxy): (Option<SocketAddr>, Proxy),
) {
    let expected = match vouched(trusted, headers) {
        Some(client) => Source { address: Some(client), proxy: Some(proxy) },
        None => Source::peer(peer),
    };
    assert_eq!(told.source, expected);
    if let Some(address) = told.source.address.filter(|_| told.source.proxy.is_some()) {
        assert_eq!(address.ip(), address.ip().to_canonical(), "one address has one form");
    }
    assert_eq!(told.hosts, hops(headers, "x-forwarded-host"));
    let scheme = hops(headers, "x-forwarded-proto").first().map(|scheme| scheme.to_ascii_lowercase());
    assert_eq!(told.scheme, scheme.as_deref().filter(|scheme| ["http", "https"].contains(scheme)));
}

/// The client that the chain of trusted proxies vouches for: who stands before them, else the first of them.
fn vouched(trusted: &[Trusted], headers: &HeaderMap) -> Option<SocketAddr> {
    if !headers.contains_key("x-forwarded-for") {
        return match hops(headers, "cf-connecting-ip")[..] {
            [only] => address(only),
            _ => None,
        };
    }
    let hops: Vec<_> = hops(headers, "x-forwarded-for").into_iter().map(address).collect();
    let is_ours = |hop: &&Option<SocketAddr>| hop.is_some_and(|hop| is_named(trusted, hop.ip()));
    let first = hops.len() - hops.iter().rev().take_while(is_ours).count();
    let before = first.checked_sub(1).and_then(|at| hops[at]);
    before.or_else(|| hops.get(first).copied().flatten())
}

fn hops<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("unreadable"));
    let hops = values.flat_map(|value| value.split(',')).map(str::trim);
    // What is no text is nobody.
    hops.map(|hop| if hop == "unreadable" { "?" } else { hop }).collect()
}

fn address(hop: &str) -> Option<SocketAddr> {
    let (ip, port) = if let Ok(socket) = hop.parse::<SocketAddr>() {
        (socket.ip(), socket.port())
    } else {
        let is_bracketed = hop.starts_with('[') && hop.ends_with(']') && hop.len() > 1;
        let bare = if is_bracketed { &hop[1..hop.len() - 1] } else { hop };
        (bare.parse().ok()?, 0)
    };
    let ip = match ip {
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    };
    Some(SocketAddr::new(ip, port))
}

/// Whether one of these is a network of the address, bit for bit.
fn is_named(trusted: &[Trusted], address: IpAddr) -> bool {
    let bits = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(four) => format!("4{:032b}", four.to_bits()),
        IpAddr::V6(six) => format!("6{:0128b}", six.to_bits()),
    };
    trusted.iter().any(|trusted| match trusted {
        Trusted::Network(network) => {
            let shared = 1 + usize::from(network.prefix_len());
            bits(network.addr())[..shared] == bits(address)[..shared.min(bits(address).len())]
        }
        Trusted::Socket => false,
    })
}
