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
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinError;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
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

/// Why an address cannot be listened on.
#[derive(Debug, Error)]
pub enum BindError {
    /// The file of the tokens cannot be used.
    #[error("no tokens: {0}")]
    Tokens(io::Error),
    /// A file of TLS cannot be used.
    #[error("`{}`: {error}", file.display())]
    TlsFile {
        /// The file.
        file: PathBuf,
        /// The cause.
        error: TlsFileError,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The task that reads the files of TLS did not end.
    #[error(transparent)]
    Aborted(#[from] JoinError),
    /// The address cannot be bound.
    #[error(transparent)]
    Bind(#[from] io::Error),
}

/// Why a certificate or a key cannot be used.
#[derive(Debug, Error)]
pub enum TlsFileError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The content is no PEM.
    #[error(transparent)]
    Pem(#[from] pem::Error),
    /// The certificate does not fit the key.
    #[error(transparent)]
    Certificate(#[from] rustls::Error),
    /// The key is no file.
    #[error("it is not a regular file")]
    Irregular,
    /// The key belongs to another user, who is not root.
    #[error("it belongs to another user")]
    ForeignOwner,
    /// Other users can read the key.
    #[error("others can read it: `chmod 600` it")]
    Public,
}

/// Binds the listener.
///
/// # Errors
/// The reason why the address cannot be bound.
pub async fn bind_tcp(api: &Api, base: &Path, state_dir: &Path) -> Result<BoundListener, BindError> {
    let tokens = Tokens::open(&state_dir.join("tokens")).map_err(BindError::Tokens)?;
    let tls = match api.tls.clone() {
        Some(tls) => {
            let base = base.to_owned();
            let read = tokio::task::spawn_blocking(move || acceptor(&tls, &base)).await;
            Some(read??)
        }
        None => None,
    };
    let listener = TcpListener::bind(api.listen).await?;
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

fn acceptor(tls: &Tls, base: &Path) -> Result<TlsAcceptor, BindError> {
    let (certificate, key) = (base.join(&tls.certificate), base.join(&tls.key));
    let wrong = |file: &Path, error| BindError::TlsFile { file: file.to_path_buf(), error };
    let chain = read_chain(&certificate).map_err(|error| wrong(&certificate, error))?;
    let secret = read_key(&key).map_err(|error| wrong(&key, error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| wrong(&certificate, error.into()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    Ok(CertificateDer::pem_slice_iter(&read_regular(path, MAX_FILE_BYTES)?).collect::<Result<_, _>>()?)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    check_key_permissions(path)?;
    Ok(PrivateKeyDer::from_pem_slice(&read_regular(path, MAX_FILE_BYTES)?)?)
}

/// Requires a key that only its owner can read, or a key of root that a group can read.
fn check_key_permissions(key: &Path) -> Result<(), TlsFileError> {
    let found = std::fs::metadata(key)?;
    let uid = geteuid().as_raw();
    let forbidden = if found.uid() == uid { 0o077 } else { 0o037 };
    if !found.is_file() {
        return Err(TlsFileError::Irregular);
    }
    if found.uid() != uid && found.uid() != 0 {
        return Err(TlsFileError::ForeignOwner);
    }
    match found.mode() & forbidden {
        0 => Ok(()),
        _ => Err(TlsFileError::Public),
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
