//! Whom a request may reach, wherever its address came from.
//!
//! An address that a stranger names is looked up once, every answer is judged, and the connection goes to what was judged:
//! a second look-up could say something else.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Whom a request may reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Whoever its address names, which the operator said.
    #[default]
    Anywhere,
    /// Who can be reached from anywhere: nobody of this machine, of its networks, of a provider's own services.
    Public,
}

/// Why a request reaches nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{address}` is no public address")]
pub struct NotPublic {
    /// The address.
    pub address: IpAddr,
}

impl Reach {
    /// Refuses an address that may not be reached.
    pub fn check(self, address: IpAddr) -> Result<(), NotPublic> {
        match self {
            Self::Anywhere => Ok(()),
            Self::Public if is_public(address) => Ok(()),
            Self::Public => Err(NotPublic { address }),
        }
    }
}

/// Networks that are nobody's, ours, or a way to those in other words (IANA special-purpose registries).
const IPV4_DENIED: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 31, 196, 0], 24),
    ([192, 52, 193, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([192, 175, 48, 0], 24),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// What IPv6 has of public addresses: `2000::/3`.
const IPV6_GLOBAL: (u128, u32) = (0x2000 << 112, 3);

/// Networks of those that are nobody's, or carry an IPv4 address within (6to4, Teredo).
const IPV6_DENIED: &[([u16; 8], u32)] = &[
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let bits = address.to_bits();
            !IPV4_DENIED.iter().any(|(network, length)| {
                bits >> (32 - length) == Ipv4Addr::from(*network).to_bits() >> (32 - length)
            })
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let is_within = |network: u128, length: u32| bits >> (128 - length) == network >> (128 - length);
            let is_denied =
                |(network, length): &([u16; 8], u32)| is_within(Ipv6Addr::from(*network).to_bits(), *length);
            is_within(IPV6_GLOBAL.0, IPV6_GLOBAL.1) && !IPV6_DENIED.iter().any(is_denied)
        }
    }
}

/// The IP address that a URL names, in whatever way it is written; none for a name, which is looked up.
pub(crate) fn literal(url: &str) -> Option<IpAddr> {
    match Url::parse(url).ok()?.host()? {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
    }
}

/// Refuses what a name stands for if any of it may not be reached: one among those that may is no accident.
pub(crate) fn judged(reach: Reach, found: &[SocketAddr]) -> Result<(), NotPublic> {
    found.iter().try_for_each(|address| reach.check(address.ip()))
}

/// Looks names up, and refuses those that stand for anything but public addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judge;

impl Resolve for Judge {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if found.is_empty() {
                return Err(io::Error::from(io::ErrorKind::NotFound).into());
            }
            judged(Reach::Public, &found)?;
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_reached(address: &str) -> bool {
        Reach::Public.check(address.parse().unwrap()).is_ok()
    }

    #[test]
    fn who_is_reached_from_anywhere_is_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "93.184.215.14",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "2a00:1450::1",
        ] {
            assert!(is_reached(address), "{address}");
        }
    }

    #[test]
    fn nobody_of_ours_and_nobody_in_other_words_is_public() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "192.168.255.255",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:0:7f00:1",
            "4000::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_reached(address), "{address}");
            assert!(Reach::Anywhere.check(address.parse().unwrap()).is_ok());
        }
    }
}
