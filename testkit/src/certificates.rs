//! Authorities and certificates for tests, made on the spot.

use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

/// An authority that issues certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug)]
pub enum Times {
    /// Now.
    Now,
    /// It was.
    Past,
    /// It will be.
    Future,
}

/// Files of a certificate and its key.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl Authority {
    /// A new one.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer })
    }

    /// Writes its own certificate.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, self.issuer.pem()).context("the authority's certificate")
    }

    /// Writes a certificate for loopback and its key, as `NAME.pem` and `NAME.key`; both appear in one step each.
    pub fn issue(&self, folder: &Path, name: &str, times: Times) -> anyhow::Result<Pair> {
        let names = ["localhost", "127.0.0.1", "mcp.example.org"].map(str::to_owned);
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = match times {
            Times::Now => (date_time_ymd(2020, 1, 1), date_time_ymd(4000, 1, 1)),
            Times::Past => (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 2, 1)),
            Times::Future => (date_time_ymd(3900, 1, 1), date_time_ymd(4000, 1, 1)),
        };
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let pair =
            Pair { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) };
        replace(&pair.certificate, &certificate.pem())?;
        replace(&pair.key, &key.serialize_pem())?;
        Ok(pair)
    }
}

/// Puts a file in the place of another in one step.
pub fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let next = path.with_extension("next");
    std::fs::write(&next, text)?;
    std::fs::rename(&next, path).context("a file in place of another")
}
