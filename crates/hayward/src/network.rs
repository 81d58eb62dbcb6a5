//! Where `serve` listens and who may reach it there: flags and environment, checked as a whole before anything is bound.

mod doors;
mod inherited;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use hayward_gateway::listener::{Guard, Proxies, Tls, TlsFiles, Trusted};

use self::inherited::Inherited;
use crate::config::file::{Look, look};
use crate::public_url::PublicUrl;

pub(crate) use self::doors::Doors;

/// Among the allowed hosts: every name.
const EVERY_NAME: &str = "*";

/// An address, which no name stands for.
pub(crate) fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "use an IP address, e.g. 127.0.0.1 or ::".to_owned())
}

/// A port.
pub(crate) fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("use a whole number from 0 to {}", u16::MAX))
}

/// Where to listen, and for whom.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Network {
    /// Address to listen on; one beyond loopback needs TLS, a proxy or `--insecure-http`
    #[arg(long, env = "HAYWARD_HOST", value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_parser = address)]
    pub(crate) host: IpAddr,

    /// Port to listen on; 0 picks a free one
    #[arg(long, env = "HAYWARD_PORT", default_value_t = 8765, value_parser = port)]
    pub(crate) port: u16,

    /// Socket in the file system to listen on beside the port, for HTTP without TLS
    #[arg(long, env = "HAYWARD_UNIX_SOCKET", value_name = "PATH")]
    pub(crate) unix_socket: Option<PathBuf>,

    /// Who may connect to that socket, as an octal mode
    #[arg(long, env = "HAYWARD_UNIX_SOCKET_MODE", value_name = "MODE", default_value = "0600", value_parser = Octal::parse)]
    pub(crate) unix_socket_mode: Octal,

    /// Listen on no port, only on `--unix-socket` or on what a service manager opened
    #[arg(long, env = "HAYWARD_NO_TCP")]
    pub(crate) no_tcp: bool,

    /// Certificate to speak TLS with, PEM, those that lead to its authority behind it; needs `--tls-key`
    ///
    /// A change of the files is noticed within two seconds, and at SIGHUP. If the new ones are of no use, the old ones
    /// stay in force, and the log says why. The rest of the configuration changes with them.
    #[arg(long, env = "HAYWARD_TLS_CERT", value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Private key of that certificate, PEM, not encrypted
    #[arg(long, env = "HAYWARD_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Authorities of clients, PEM: who has no certificate of theirs is not served (mTLS)
    ///
    /// A token is needed all the same.
    #[arg(long, env = "HAYWARD_TLS_CLIENT_CA", value_name = "FILE")]
    pub(crate) tls_client_ca: Option<PathBuf>,

    /// Proxies that are believed who their clients are: an address, a network as `10.0.0.0/8`, or `unix`; may be repeated
    ///
    /// `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host` and `CF-Connecting-IP` count from them alone. With a proxy, an
    /// address beyond loopback is listened on without TLS: the way from the proxy is for you to guard.
    #[arg(
        long = "behind-proxy",
        env = "HAYWARD_BEHIND_PROXY",
        value_name = "CIDR",
        value_delimiter = ',',
        num_args = 1..
    )]
    pub(crate) behind_proxy: Vec<String>,

    /// Listen on an address beyond loopback although tokens cross the network in clear
    #[arg(long, env = "HAYWARD_INSECURE_HTTP")]
    pub(crate) insecure_http: bool,

    /// Name that clients may reach the server under, beside loopback; may be repeated [default: this machine's name and addresses]
    ///
    /// The default has those addresses that are listened on. The address of `--host` and the host of `--public-url` are always
    /// among the names. `*` stands for every name: then requests aren't held to ours, and pages of other names still are.
    #[arg(long = "allowed-host", env = "HAYWARD_ALLOWED_HOSTS", value_name = "NAME", value_delimiter = ',')]
    pub(crate) allowed_hosts: Vec<String>,

    /// Origin of web pages that may send requests, e.g. `http://localhost:6274`; may be repeated
    #[arg(
        long = "allowed-origin",
        env = "HAYWARD_ALLOWED_ORIGINS",
        value_name = "URL",
        value_delimiter = ','
    )]
    pub(crate) allowed_origins: Vec<String>,

    /// Address that clients reach the server under, e.g. `https://nas.example.org`; for the URLs of transfers
    #[arg(long, env = "HAYWARD_PUBLIC_URL", value_name = "URL", value_parser = PublicUrl::parse)]
    pub(crate) public_url: Option<PublicUrl>,
}

/// The mode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Octal(u32);

impl Octal {
    fn parse(text: &str) -> Result<Self, String> {
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
        mode.map(Self).ok_or_else(|| "write an octal mode such as 0660".to_owned())
    }
}

/// What was found good.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// Sockets that a service manager opened for us.
    pub(crate) inherited: Vec<Inherited>,
    /// What connections to ports begin with, if they begin with TLS.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Who is believed.
    pub(crate) proxies: Proxies,
}

/// Who is believed, and how.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    /// What connections to ports begin with, if they begin with TLS.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Who is believed.
    pub(crate) proxies: Proxies,
}

/// What a service manager handed over in the place of the port.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handed {
    is_any: bool,
    addresses: Vec<SocketAddr>,
}

impl Handed {
    /// These sockets.
    pub(crate) fn of(inherited: &[Inherited]) -> Self {
        let addresses = inherited.iter().filter_map(Inherited::address).collect();
        Self { is_any: !inherited.is_empty(), addresses }
    }
}

impl Network {
    /// Reads what the settings name; everything that is wrong goes to `faults`.
    pub(crate) fn check(&self, faults: &mut Vec<String>) -> Checked {
        let inherited = inherited::take(faults);
        let Trust { tls, proxies } = self.check_with(&Handed::of(&inherited), faults);
        Checked { inherited, tls, proxies }
    }

    /// The same for a server that was handed these sockets.
    pub(crate) fn check_with(&self, handed: &Handed, faults: &mut Vec<String>) -> Trust {
        let tls = match self.tls_files() {
            Ok(None) => None,
            Ok(Some(files)) => Tls::load(&files)
                .map_err(|found| faults.extend(found.iter().map(|fault| self.named(fault))))
                .ok()
                .map(Arc::new),
            Err(fault) => {
                faults.push(fault);
                None
            }
        };
        if !handed.is_any && self.no_tcp && self.unix_socket.is_none() {
            faults.push("`--no-tcp` is given without `--unix-socket`: nobody could connect".to_owned());
        }
        if !handed.is_any && !self.no_tcp {
            faults.extend(self.check_bind(self.host));
        }
        faults.extend(handed.addresses.iter().filter_map(|address| self.check_bind(address.ip())));
        faults.extend(self.named_hosts().filter(|host| !is_host(host)).map(|host| {
            format!(
                "`--allowed-host` `{host}`: write a name or an address, without scheme, port and wildcard, or `*` alone"
            )
        }));
        let mut trusted = Vec::new();
        for text in &self.behind_proxy {
            match text.trim().parse::<Trusted>() {
                Ok(proxy) => trusted.push(proxy),
                Err(reason) => faults.push(format!("`--behind-proxy` `{text}`: {reason}")),
            }
        }
        Trust { tls, proxies: Proxies::new(trusted) }
    }

    /// What every request must pass at a server that listens at this address; none: on no port.
    pub(crate) fn guard(&self, address: Option<SocketAddr>) -> Guard {
        let mut hosts: Vec<String> = self.named_hosts().cloned().collect();
        let is_default = hosts.is_empty();
        if is_default {
            hosts.extend(names_of_machine());
        }
        let is_everywhere = address.is_some_and(|address| address.ip().is_unspecified());
        hosts.extend(address.filter(|_| !is_everywhere).map(|address| address.ip().to_string()));
        hosts.extend(self.public_url.as_ref().map(|url| url.host.clone()));
        let pages = self.public_url.as_ref().map(|url| url.origin.clone());
        let port = address.map_or(0, |address| address.port());
        let guard = Guard::new(port, hosts, self.allowed_origins.iter().cloned().chain(pages));
        let guard = if is_default && is_everywhere { guard.with_own_addresses() } else { guard };
        let is_every_name = self.allowed_hosts.iter().any(|host| host == EVERY_NAME);
        if is_every_name { guard.with_every_host() } else { guard }
    }

    /// The names that were given one by one.
    fn named_hosts(&self) -> impl Iterator<Item = &String> {
        self.allowed_hosts.iter().filter(|host| *host != EVERY_NAME)
    }

    /// The scheme of our URLs.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls_cert.is_some() { "https" } else { "http" }
    }

    /// The URL of a server that listens at this address; none: on sockets of this machine alone.
    pub(crate) fn url(&self, address: Option<SocketAddr>) -> String {
        match address {
            Some(address) => format!("{}://{address}/mcp", self.scheme()),
            None => "http://localhost/mcp".to_owned(),
        }
    }

    /// The URL that clients use: the public one, else of a server on every address that with the machine's name.
    pub(crate) fn client_url(&self, address: Option<SocketAddr>) -> String {
        if let Some(public) = &self.public_url {
            return format!("{}/mcp", public.text);
        }
        let everywhere = address.filter(|address| address.ip().is_unspecified());
        let named = everywhere.and_then(|address| {
            let name = self.named_hosts().next().cloned().or_else(|| names_of_machine().next())?;
            let name = if name.contains(':') { format!("[{name}]") } else { name };
            Some(format!("{}://{name}:{}/mcp", self.scheme(), address.port()))
        });
        named.unwrap_or_else(|| self.url(address))
    }

    /// The files of TLS as they look now.
    pub(crate) fn looks(&self) -> impl Iterator<Item = (PathBuf, Look)> {
        let files = [&self.tls_cert, &self.tls_key, &self.tls_client_ca];
        files.into_iter().flatten().map(|path| (path.clone(), look(path)))
    }

    /// Where we are to listen.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }

    fn tls_files(&self) -> Result<Option<TlsFiles>, String> {
        let client_ca = self.tls_client_ca.clone();
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                Ok(Some(TlsFiles { certificate: certificate.clone(), key: key.clone(), client_ca }))
            }
            (Some(_), None) => Err("`--tls-cert` is given without `--tls-key`".to_owned()),
            (None, Some(_)) => Err("`--tls-key` is given without `--tls-cert`".to_owned()),
            (None, None) if client_ca.is_some() => {
                Err("`--tls-client-ca` is given without `--tls-cert` and `--tls-key`".to_owned())
            }
            (None, None) => Ok(None),
        }
    }

    /// A fault behind the flag that names its file.
    fn named(&self, fault: &hayward_gateway::listener::TlsFault) -> String {
        let flags = [
            ("--tls-cert", &self.tls_cert),
            ("--tls-key", &self.tls_key),
            ("--tls-client-ca", &self.tls_client_ca),
        ];
        let flag = flags.into_iter().find(|(_, path)| path.as_ref() == Some(&fault.path));
        flag.map_or_else(|| fault.to_string(), |(flag, _)| format!("`{flag}` {fault}"))
    }

    /// What speaks against listening where others could read tokens on the wire, unless that was asked for by name.
    fn check_bind(&self, address: IpAddr) -> Option<String> {
        let is_guarded = address.is_loopback()
            || self.tls_cert.is_some()
            || self.insecure_http
            || !self.behind_proxy.is_empty();
        (!is_guarded).then(|| {
            format!(
                "refusing to listen on `{address}` without encryption: tokens would cross the network in clear; give \
                 `--tls-cert` and `--tls-key`, name the proxy in front with `--behind-proxy`, listen on 127.0.0.1 and \
                 tunnel with ssh, or accept the risk with `--insecure-http`"
            )
        })
    }
}

/// The machine's own name, in full and without its domain.
fn names_of_machine() -> impl Iterator<Item = String> {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy().into_owned();
    let short = name.split('.').next().unwrap_or_default().to_owned();
    [name, short].into_iter().filter(|name| is_host(name))
}

/// Whether this is a name or an address.
fn is_host(text: &str) -> bool {
    let is_name = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
    is_name || text.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        network: Network,
    }

    fn faults(flags: &[&str]) -> Vec<String> {
        let line = Line::try_parse_from([&["x"], flags].concat()).unwrap();
        let mut faults = Vec::new();
        line.network.check(&mut faults);
        faults
    }

    #[test]
    fn only_loopback_is_bound_without_encryption() {
        for address in ["127.0.0.1", "127.1.2.3", "::1"] {
            assert!(faults(&["--host", address]).is_empty());
        }
        for address in ["0.0.0.0", "::", "192.0.2.1"] {
            let [fault] = &faults(&["--host", address])[..] else { panic!("{address}") };
            assert!(fault.contains("without encryption"), "{fault}");
            assert!(faults(&["--host", address, "--insecure-http"]).is_empty());
            assert!(faults(&["--host", address, "--behind-proxy", "10.0.0.1"]).is_empty());
        }
    }

    #[test]
    fn clients_are_told_an_address_that_they_can_reach() {
        let told = |flags: &[&str], address: Option<&str>| {
            let line = Line::try_parse_from([&["x"], flags].concat()).unwrap();
            line.network.client_url(address.map(|address| address.parse().unwrap()))
        };
        assert_eq!(told(&[], Some("127.0.0.1:1")), "http://127.0.0.1:1/mcp");
        assert_eq!(told(&["--public-url", "https://a.b/c"], Some("0.0.0.0:1")), "https://a.b/c/mcp");
        assert_eq!(told(&["--allowed-host", "::1"], Some("[::]:1")), "http://[::1]:1/mcp");
        assert_eq!(
            told(&["--allowed-host", "nas", "--tls-cert", "x"], Some("0.0.0.0:1")),
            "https://nas:1/mcp"
        );
        assert_eq!(told(&["--allowed-host", "*,nas"], Some("0.0.0.0:1")), "http://nas:1/mcp");
        assert_eq!(told(&[], None), "http://localhost/mcp");
    }

    #[test]
    fn a_mode_is_octal_and_of_a_file() {
        assert_eq!(Octal::parse("0660"), Ok(Octal(0o660)));
        for bad in ["", "0888", "1777", "rw", "-1"] {
            assert!(Octal::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(faults(&["--no-tcp"]).len(), 1);
        assert!(faults(&["--no-tcp", "--unix-socket", "/x", "--host", "0.0.0.0"]).is_empty());
    }

    #[test]
    fn proxies_and_hosts_that_name_nothing_are_told() {
        assert!(faults(&["--behind-proxy", "10.0.0.0/8,unix", "::1"]).is_empty());
        assert!(faults(&["--allowed-host", "nas.lan,192.0.2.1,::1,*"]).is_empty());
        let bad = ["--behind-proxy", "0.0.0.0/0,x", "--allowed-host", "*.lan,http://a,a:80"];
        let told = faults(&bad);
        assert_eq!(told.len(), 5, "{told:?}");
        assert!(
            told.iter().any(|fault| fault.contains("`0.0.0.0/0`: it would believe everybody")),
            "{told:?}"
        );
    }

    #[test]
    fn half_a_pair_is_told_together_with_everything_else() {
        for (flags, expect) in [
            (&["--tls-cert", "/x"][..], "`--tls-cert` is given without"),
            (&["--tls-key", "/x"], "`--tls-key` is given without"),
            (&["--tls-client-ca", "/x"], "`--tls-client-ca` is given without"),
        ] {
            let [fault] = &faults(flags)[..] else { panic!("{expect}") };
            assert!(fault.starts_with(expect), "{fault}");
        }
        let all = ["--tls-cert", "/no/c", "--tls-key", "/no/k", "--tls-client-ca", "/no/a"];
        let told = faults(&all).join("\n");
        for expect in
            ["`--tls-cert` `/no/c`: it can't be read", "`--tls-key` `/no/k`", "`--tls-client-ca` `/no/a`"]
        {
            assert!(told.contains(expect), "{expect}: {told}");
        }
    }
}
