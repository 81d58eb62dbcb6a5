//! TLS, with whom it trusts.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A client's side of TLS that trusts one certificate.
#[derive(Clone, Debug)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Trusts what this file (PEM) has signed.
    pub fn of(certificate: &Path) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        let trusted = CertificateDer::from_pem_file(certificate).context("failed to read a certificate")?;
        roots.add(trusted).context("failed to trust a certificate")?;
        Ok(Self(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())))
    }

    /// Shakes hands with the server at `host:port`.
    pub(super) async fn shake(&self, authority: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>> {
        let host = authority.rsplit_once(':').map_or(authority, |(host, _port)| host);
        let name = ServerName::try_from(host.to_owned()).context("the server has no name")?;
        TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await.context("the handshake failed")
    }
}
