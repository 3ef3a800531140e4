//! [`BoundListener`]: the API on TCP, plain or with TLS, if `[orchestrator.api]` configures it.

use super::auth::{AuthPolicy, ExpensiveRequests};
use super::peer::Peer;
use super::server::{ConnectionSource, ReadyConnection};
use super::throttled_log::{ThrottledLog, ThrottledLogs};
use super::tokens::Tokens;
use super::unix_listener::RETRY_DELAY;
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

/// The timeout of a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A bound listener and its policy.
pub struct BoundListener {
    pub(super) listener: ApiTcpListener,
    pub(super) policy: AuthPolicy,
}

/// Accepts connections from every address; [`AuthPolicy`] decides about their requests.
pub(super) struct ApiTcpListener {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    failed: ThrottledLog,
}

/// Binds the listener.
///
/// # Errors
/// The reason why the address cannot be bound.
pub async fn bind_tcp(api: &Api, base: &Path, state_dir: &Path) -> Result<BoundListener, String> {
    let tokens = Tokens::open(&state_dir.join("tokens")).map_err(|error| format!("no tokens: {error}"))?;
    let tls = match api.tls.clone() {
        Some(tls) => {
            let base = base.to_owned();
            let read = tokio::task::spawn_blocking(move || acceptor(&tls, &base)).await;
            Some(read.map_err(|error| error.to_string())??)
        }
        None => None,
    };
    let listener = TcpListener::bind(api.listen).await.map_err(|error| error.to_string())?;
    let (hosts, origins) = (api.hosts.clone(), api.origins.clone());
    let listener = ApiTcpListener { listener, tls, failed: ThrottledLog::default() };
    Ok(BoundListener {
        listener,
        policy: AuthPolicy {
            tokens,
            hosts,
            origins,
            refused: ThrottledLogs::default(),
            expensive: ExpensiveRequests::default(),
        },
    })
}

impl BoundListener {
    /// The URL for clients.
    pub fn url(&self) -> String {
        let scheme = if self.listener.tls.is_some() { "https" } else { "http" };
        let at = self.listener.listener.local_addr().map_or_else(|_| "?".to_owned(), |at| at.to_string());
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
    check_key_permissions(&key).map_err(|error| wrong(&key, &error))?;
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

/// Requires a key that only its owner can read, or a key of root that a group can read.
fn check_key_permissions(key: &Path) -> Result<(), String> {
    let found = std::fs::metadata(key).map_err(|error| error.to_string())?;
    let uid = geteuid().as_raw();
    let forbidden = if found.uid() == uid { 0o077 } else { 0o037 };
    if !found.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    if found.uid() != uid && found.uid() != 0 {
        return Err("it belongs to another user".to_owned());
    }
    match found.mode() & forbidden {
        0 => Ok(()),
        _ => Err("others can read it: `chmod 600` it".to_owned()),
    }
}

impl ConnectionSource for ApiTcpListener {
    type Raw = (TcpStream, SocketAddr);
    type Stream = Transport;

    async fn accept(&self) -> Self::Raw {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => {
                    self.failed
                        .log(|times| tracing::warn!(%error, times, "cannot accept a connection over TCP"));
                    tokio::time::sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    fn handshake(
        &self,
        (stream, from): Self::Raw,
    ) -> impl Future<Output = Option<ReadyConnection<Transport>>> + Send + 'static {
        let tls = self.tls.clone();
        async move {
            let at = stream.local_addr().ok().map(|at| at.ip());
            // Small responses are sent at once.
            let _ = stream.set_nodelay(true);
            let stream = match tls {
                None => Transport::Plain(stream),
                Some(tls) => {
                    let agreed = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await;
                    Transport::Tls(Box::new(agreed.ok()?.ok()?))
                }
            };
            Some(ReadyConnection { stream, at, peer: Peer::Remote(from) })
        }
    }
}

/// A connection with or without TLS.
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
