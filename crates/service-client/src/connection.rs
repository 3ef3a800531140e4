//! [`Connection`]: a bare connection to a daemon, which another thread can shut down; and the certificates that TLS
//! trusts.

use crate::daemon_address::DaemonAddress;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_platform_verifier::BuilderVerifierExt;
use service_api::endpoint::{DaemonEndpoint, TcpEndpoint};
use service_api::{Code, Problem};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The time limit for connecting to another machine.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to a daemon.
pub enum Connection {
    /// To a socket of this machine.
    Unix(UnixStream),
    /// To a remote daemon without TLS.
    Tcp(TcpStream),
    /// To a remote daemon with TLS.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// Shuts a [`Connection`] down when it is dropped, which ends a read on any thread.
pub enum ShutdownHandle {
    /// To a socket of this machine.
    Unix(UnixStream),
    /// To a remote daemon without TLS.
    Tcp(TcpStream),
}

impl Drop for ShutdownHandle {
    fn drop(&mut self) {
        // The daemon may have closed the connection already.
        let _ = match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Connection {
    /// Connects to the daemon. The TLS handshake follows with the first read or write.
    ///
    /// # Errors
    /// There is no listener, or the TLS handshake fails.
    pub fn connect(address: &DaemonAddress, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let remote = match &address.endpoint {
            DaemonEndpoint::Unix(socket) => return UnixStream::connect(socket).map(Self::Unix),
            DaemonEndpoint::Tcp(remote) => remote,
        };
        let stream = connect_tcp(remote)?;
        stream.set_nodelay(true)?;
        let Some(tls) = tls.filter(|_| remote.tls) else { return Ok(Self::Tcp(stream)) };
        let name = ServerName::try_from(remote.host.clone()).map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
        Ok(Self::Tls(Box::new(StreamOwned::new(session, stream))))
    }

    /// A handle with which another thread ends the connection.
    ///
    /// # Errors
    /// The socket cannot be duplicated.
    pub fn shutdown_handle(&self) -> io::Result<ShutdownHandle> {
        match self {
            Self::Unix(stream) => stream.try_clone().map(ShutdownHandle::Unix),
            Self::Tcp(stream) => stream.try_clone().map(ShutdownHandle::Tcp),
            Self::Tls(stream) => stream.sock.try_clone().map(ShutdownHandle::Tcp),
        }
    }

    /// Sets the time limit for the next reads.
    ///
    /// # Errors
    /// The kernel refuses the limit, such as zero.
    pub fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_read_timeout(limit),
            Self::Tcp(stream) => stream.set_read_timeout(limit),
            Self::Tls(stream) => stream.sock.set_read_timeout(limit),
        }
    }
}

fn connect_tcp(remote: &TcpEndpoint) -> io::Result<TcpStream> {
    let mut last = io::Error::other("its name has no address");
    for resolved in (remote.host.as_str(), remote.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.flush(),
            Self::Tcp(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// The TLS configuration, which trusts only the authority in `ca_file`; without a file, the authorities that the
/// machine trusts.
///
/// # Errors
/// [`Code::BadRequest`] if the `ca_file` cannot be read or has no certificate.
pub fn tls_config(ca_file: Option<&Path>) -> Result<ClientConfig, Problem> {
    let broken = |error: rustls::Error| Problem::new(Code::Internal, format!("cannot set up TLS: {error}"));
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(broken)?;
    let Some(path) = ca_file else {
        return Ok(builder.with_platform_verifier().map_err(broken)?.with_no_client_auth());
    };
    let cannot = |error: &dyn std::fmt::Display| {
        Problem::new(Code::BadRequest, format!("cannot use the `ca_file` `{}`: {error}", path.display()))
            .help("the file should contain the certificate of an authority, in PEM")
    };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| cannot(&error))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| cannot(&error))?;
        roots.add(certificate).map_err(|error| cannot(&error))?;
    }
    if roots.is_empty() {
        return Err(cannot(&"the file contains no certificate"));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
