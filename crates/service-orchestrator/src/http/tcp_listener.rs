//! The TCP door: plain, or with TLS. It is there only if `[orchestrator.api]` says where.

use super::auth::{Costly, Gate};
use super::peer::Peer;
use super::server::{Caller, Door};
use super::throttled_log::{Complaint, Complaints};
use super::tokens::Tokens;
use super::unix_listener::PAUSE;
use nix::unistd::geteuid;
use service_api::ownership::read_regular;
use service_api::trust::MAX_FILE_BYTES;
use service_core::config::{Api, Tls};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

/// How long a client may take to agree on keys.
const AGREES_WITHIN: Duration = Duration::from_secs(10);

/// A door that listens, and who may come in.
pub(crate) struct Opened {
    pub(super) door: Remote,
    pub(super) gate: Gate,
}

/// Accepts connections from anywhere; the gate is behind it.
pub(super) struct Remote {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    failed: Complaint,
}

/// Opens the door.
///
/// # Errors
/// Why it cannot be opened, in words.
pub(crate) async fn open(api: &Api, base: &Path, state_dir: &Path) -> Result<Opened, String> {
    let tokens = Tokens::open(&state_dir.join("tokens")).map_err(|error| format!("no tokens: {error}"))?;
    let tls = api.tls.as_ref().map(|tls| acceptor(tls, base)).transpose()?;
    let listener = TcpListener::bind(api.listen).await.map_err(|error| error.to_string())?;
    let (hosts, origins) = (api.hosts.clone(), api.origins.clone());
    let door = Remote { listener, tls, failed: Complaint::default() };
    Ok(Opened {
        door,
        gate: Gate { tokens, hosts, origins, refused: Complaints::default(), costly: Costly::default() },
    })
}

impl Opened {
    /// Where it listens, as a client would write it.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.door.tls.is_some() { "https" } else { "http" };
        let at = self.door.listener.local_addr().map_or_else(|_| "?".to_owned(), |at| at.to_string());
        format!("{scheme}://{at}")
    }
}

fn acceptor(tls: &Tls, base: &Path) -> Result<TlsAcceptor, String> {
    let (certificate, key) = (base.join(&tls.certificate), base.join(&tls.key));
    let wrong = |path: &Path, error: &dyn std::fmt::Display| format!("`{}`: {error}", path.display());
    let read = |path: &Path| read_regular(path, MAX_FILE_BYTES).map_err(|error| wrong(path, &error));
    let chain = CertificateDer::pem_slice_iter(&read(&certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(&certificate, &error))?;
    private(&key).map_err(|error| wrong(&key, &error))?;
    let secret = PrivateKeyDer::from_pem_slice(&read(&key)?).map_err(|error| wrong(&key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| wrong(&certificate, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A key is for its owner alone, as a token is. One of root's that we may read is for a group.
fn private(key: &Path) -> Result<(), String> {
    let found = std::fs::metadata(key).map_err(|error| error.to_string())?;
    let uid = geteuid().as_raw();
    let forbidden = if found.uid() == uid { 0o077 } else { 0o037 };
    if !found.is_file() {
        return Err("it is no regular file".to_owned());
    }
    if found.uid() != uid && found.uid() != 0 {
        return Err("it belongs to somebody else".to_owned());
    }
    match found.mode() & forbidden {
        0 => Ok(()),
        _ => Err("others can read it: `chmod 600` it".to_owned()),
    }
}

impl Door for Remote {
    type Raw = (TcpStream, SocketAddr);
    type Stream = Wire;

    async fn next(&self) -> Self::Raw {
        loop {
            match self.listener.accept().await {
                Ok(came) => return came,
                Err(error) => {
                    self.failed
                        .say(|times| tracing::warn!(%error, times, "cannot accept a connection over TCP"));
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn greet(
        &self,
        (stream, from): Self::Raw,
    ) -> impl Future<Output = Option<Caller<Wire>>> + Send + 'static {
        let tls = self.tls.clone();
        async move {
            let at = stream.local_addr().ok().map(|at| at.ip());
            // Small answers are not held back for the next.
            let _ = stream.set_nodelay(true);
            let stream = match tls {
                None => Wire::Plain(stream),
                Some(tls) => {
                    let agreed = tokio::time::timeout(AGREES_WITHIN, tls.accept(stream)).await;
                    Wire::Sealed(Box::new(agreed.ok()?.ok()?))
                }
            };
            Some(Caller { stream, at, peer: Peer::Remote(from) })
        }
    }
}

/// A connection, sealed or not.
pub(super) enum Wire {
    Plain(TcpStream),
    Sealed(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Sealed(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Sealed(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Sealed(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Sealed(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
