//! [`Wire`]: a bare connection to a daemon, which another thread can break off; and whom TLS trusts.

use crate::daemon_address::DaemonAddress;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_platform_verifier::BuilderVerifierExt;
use service_api::endpoint::{Endpoint, Remote};
use service_api::{Code, Problem};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long another machine may take to be reached.
pub(crate) const REACHED_WITHIN: Duration = Duration::from_secs(5);

/// A connection.
pub(crate) enum Wire {
    Unix(UnixStream),
    Plain(TcpStream),
    Sealed(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// Ends what is read from a [`Wire`], wherever that is done, when it is dropped.
pub(crate) enum Leash {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Drop for Leash {
    fn drop(&mut self) {
        // The daemon may have closed it before.
        let _ = match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Wire {
    /// Connects. What is wrong with a certificate shows with the first word.
    pub(crate) fn connect(way: &DaemonAddress, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let remote = match &way.endpoint {
            Endpoint::Unix(socket) => return UnixStream::connect(socket).map(Self::Unix),
            Endpoint::Tcp(remote) => remote,
        };
        let stream = reach(remote)?;
        stream.set_nodelay(true)?;
        let Some(tls) = tls.filter(|_| remote.tls) else { return Ok(Self::Plain(stream)) };
        let name = ServerName::try_from(remote.host.clone()).map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
        Ok(Self::Sealed(Box::new(StreamOwned::new(session, stream))))
    }

    pub(crate) fn leash(&self) -> io::Result<Leash> {
        match self {
            Self::Unix(stream) => stream.try_clone().map(Leash::Unix),
            Self::Plain(stream) => stream.try_clone().map(Leash::Tcp),
            Self::Sealed(stream) => stream.sock.try_clone().map(Leash::Tcp),
        }
    }

    /// How long the next words may take.
    pub(crate) fn patience(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_read_timeout(limit),
            Self::Plain(stream) => stream.set_read_timeout(limit),
            Self::Sealed(stream) => stream.sock.set_read_timeout(limit),
        }
    }
}

fn reach(remote: &Remote) -> io::Result<TcpStream> {
    let mut last = io::Error::other("its name has no address");
    for address in (remote.host.as_str(), remote.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, REACHED_WITHIN) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Plain(stream) => stream.read(buffer),
            Self::Sealed(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Plain(stream) => stream.write(bytes),
            Self::Sealed(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.flush(),
            Self::Plain(stream) => stream.flush(),
            Self::Sealed(stream) => stream.flush(),
        }
    }
}

/// Whom to trust: the authority in this file alone, else those that the machine trusts.
pub(crate) fn trust(ca_file: Option<&Path>) -> Result<ClientConfig, Problem> {
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
