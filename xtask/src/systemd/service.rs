//! The service on the host: installed as an operator does it, and removed again.

use anyhow::{Context, Result, bail};

use super::house::{BINARY, House, SHARED};

/// Where TLS's files are on the host.
const TLS: &str = "/etc/hayward/tls";

/// The tokens of an installed service.
pub(super) struct Tokens {
    pub(super) admin: String,
    pub(super) metrics: String,
    pub(super) rw: String,
    pub(super) ro: String,
}

impl House {
    /// Installs the service with these options; the tokens that it shows.
    pub(super) fn install(&self, options: &str) -> Result<Vec<String>> {
        let shown = self.host.good(&format!("{BINARY} install-service --yes {options}"))?;
        Ok(shown.lines().map(str::to_owned).collect())
    }

    /// Installs it for the network, with TLS, starts it, and makes a token of each kind.
    pub(super) fn serve(&self, profile: &str) -> Result<Tokens> {
        let options = format!("--profile {profile} --bind 0.0.0.0 --enable-metrics");
        let shown = self.install(&options)?;
        let [admin, metrics] = &shown[..] else { bail!("two tokens were to be shown, not {}", shown.len()) };
        self.give_tls()?;
        self.start()?;
        let make = |role: &str| self.make_token(admin, &format!("trial-{role}"), role);
        Ok(Tokens { admin: admin.clone(), metrics: metrics.clone(), rw: make("rw")?, ro: make("ro")? })
    }

    /// Gives the service the certificate that there is now.
    pub(super) fn give_tls(&self) -> Result<()> {
        self.lay_certificate()?;
        let set = |key: &str, value: &str| {
            self.host
                .good(&format!("HAYWARD_CONFIG=/etc/hayward/hayward.toml {BINARY} config set {key} {value}"))
        };
        set("tls.cert", &format!("{TLS}/cert.pem"))?;
        set("tls.key", &format!("{TLS}/key.pem"))?;
        set("allowed.hosts", super::house::HOST).map(drop)
    }

    /// Lays the certificate that there is now where the service has it, for the user that it runs as.
    pub(super) fn lay_certificate(&self) -> Result<()> {
        let user = self.property("User")?;
        self.host
            .good(&format!(
                "install -d -m 755 {TLS} && install -m 644 {SHARED}/host.pem {TLS}/cert.pem && \
                 install -m 400 -o {user} {SHARED}/host.key {TLS}/key.pem"
            ))
            .map(drop)
    }

    /// Starts it, and waits until it is up.
    pub(super) fn start(&self) -> Result<()> {
        self.host.good("systemctl start hayward").context("the service does not start").map(drop)
    }

    /// A property that systemd has of it.
    pub(super) fn property(&self, name: &str) -> Result<String> {
        self.host.good(&format!("systemctl show --value --property {name} hayward"))
    }

    /// Removes it with everything that it kept, if it is there.
    pub(super) fn purge(&self) -> Result<()> {
        self.host.good(&format!("{BINARY} uninstall-service --yes --purge")).map(drop)
    }

    /// Clears the host of whatever a trial that broke off has left.
    pub(super) fn clear(&self) -> Result<()> {
        self.host
            .run("mymcp uninstall-service --purge; rm -rf /opt/environment /usr/local/bin/mymcp /srv/*")?;
        self.purge()
    }

    /// What `audit verify` finds.
    pub(super) fn verified(&self) -> Result<crate::toolbox::docker::Said> {
        self.host.run(&format!("{BINARY} audit verify --data-dir /var/lib/hayward"))
    }
}
