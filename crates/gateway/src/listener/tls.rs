//! TLS: a certificate, its key, and perhaps an authority for clients, read as a whole.
//!
//! What is in force is part of the [`App`](super::App) and changes with it, in one step; connections that are there go on. A
//! handshake takes the place of its connection and is bounded in time; what it leads to is served like any other connection.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::limits::TLS_FILE_BYTES_MAX;

/// How a key begins that nobody can use without a password.
const ENCRYPTED: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";

/// The files that TLS is made of, all of them PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate of this server, and behind it those that lead to its authority.
    pub certificate: PathBuf,
    /// The private key of the certificate, not encrypted.
    pub key: PathBuf,
    /// The authorities of clients; with it, who has no certificate of theirs is not served.
    pub client_ca: Option<PathBuf>,
}

/// Why files can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}`: {reason}", path.display())]
pub struct TlsFault {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// What handshakes are made with. It stays as it was read: when files change, another one takes its place.
#[derive(Debug)]
pub struct Tls(Arc<ServerConfig>);

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn load(files: &TlsFiles) -> Result<Self, Vec<TlsFault>> {
        config(files).map(Self)
    }

    /// Makes the handshake. Whoever speaks HTTP without TLS is told so.
    ///
    /// # Errors
    /// What ended it; `TimedOut` if it took too long.
    pub(crate) async fn shake<S>(
        &self,
        stream: TcpStream,
        patience: Duration,
        bound: impl FnOnce(TcpStream) -> S,
    ) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.0));
        let shaking = async {
            let mut first = [0];
            stream.peek(&mut first).await?;
            let stream = bound(stream);
            // A handshake begins with the byte 22, a method with a letter.
            if first[0].is_ascii_alphabetic() {
                return Err(tell_plain(stream).await);
            }
            acceptor.accept(stream).await
        };
        timeout(patience, shaking).await.unwrap_or_else(|_elapsed| {
            Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long"))
        })
    }
}

/// Tells a client that it has to speak TLS, and waits for it to hang up.
async fn tell_plain<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Error {
    const BODY: &str = r#"{"detail":"This port speaks TLS; hint: use https://"}"#;
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    let told = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // Closing on what it still sends would take the answer from it.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        Err(io::Error::new(io::ErrorKind::InvalidData, "a client spoke HTTP without TLS"))
    };
    told.await.unwrap_or_else(|error| error)
}

/// Everything that handshakes need, from files that fit together.
fn config(files: &TlsFiles) -> Result<Arc<ServerConfig>, Vec<TlsFault>> {
    let provider = Arc::new(ring::default_provider());
    let mut faults = Vec::new();
    let mut fault = |path: &Path, reason: String| faults.push(TlsFault { path: path.to_owned(), reason });
    let chain = certificates(&files.certificate)
        .and_then(|chain| in_time(chain, &provider))
        .map_err(|reason| fault(&files.certificate, reason));
    let key = private_key(&files.key).map_err(|reason| fault(&files.key, reason));
    let authority = files.client_ca.as_ref().map(|path| {
        let verifier = authorities(path).and_then(|roots| {
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| format!("clients can't be checked with it: {error}"))
        });
        verifier.map_err(|reason| fault(path, reason))
    });
    let (Ok(chain), Ok(key), Ok(authority)) = (chain, key, authority.transpose()) else {
        return Err(faults);
    };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has what the safe versions need");
    let builder = match authority {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        let reason = match error {
            rustls::Error::InconsistentKeys(_) => {
                format!("it is not the key of the certificate in `{}`", files.certificate.display())
            }
            error => format!("it can't be used: {error}"),
        };
        vec![TlsFault { path: files.key.clone(), reason }]
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A whole file, if it is one and not larger than any certificate.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: io::Error| format!("it can't be read: {error}");
    // Opening a pipe would wait for somebody to write.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(TLS_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > TLS_FILE_BYTES_MAX {
        return Err(format!("it is larger than {TLS_FILE_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match chain {
        Ok(chain) if chain.is_empty() => {
            Err("it has no `-----BEGIN CERTIFICATE-----`: give a certificate as PEM".to_owned())
        }
        Ok(chain) => Ok(chain),
        Err(error) => Err(format!("it is no PEM: {error}")),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let bytes = read(path)?;
    if bytes.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED) {
        return Err("the key is encrypted: give it decrypted, e.g. by `openssl pkey`, mode 0600".to_owned());
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            "it has no `-----BEGIN PRIVATE KEY-----`: give a private key as PEM".to_owned()
        }
        error => format!("it is no PEM: {error}"),
    })
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| format!("it has a certificate that can't be used: {error}"))?;
    }
    Ok(roots)
}

/// The chain, if it can be read and its certificate has not expired.
fn in_time(
    chain: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let Some(certificate) = chain.first() else { return Ok(chain) };
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).map_err(|error| format!("its certificate can't be used: {error}"))?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| format!("its certificate can't be used: {error}"))?;
    // It is asked for its times alone: whoever issued it, and for whom, is for clients to judge.
    let name = ServerName::try_from("localhost").expect("it is a name");
    match verifier.verify_server_cert(certificate, &[], &name, &[], UnixTime::now()) {
        Err(rustls::Error::InvalidCertificate(
            error @ (CertificateError::Expired | CertificateError::ExpiredContext { .. }),
        )) => Err(format!("its certificate has expired: {error}")),
        Err(rustls::Error::InvalidCertificate(
            error @ (CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }),
        )) => {
            // The clock of a machine that has just started may be behind.
            tracing::warn!(%error, "the certificate is not valid yet");
            Ok(chain)
        }
        Ok(_) | Err(_) => Ok(chain),
    }
}
