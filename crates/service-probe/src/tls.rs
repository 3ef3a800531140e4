//! The certificates that `https://` checks trust: the machine's, the ones in `ca_file`, or any; and errors of
//! certificates, with a remedy.

use service_core::config::Health;
use service_host::ca_file::{CaFileError, read_certificates};
use service_host::text::describe_io_error;
use std::io;
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::JoinError;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};

/// The remedy for an unknown certificate.
const WAY_OUT: &str = "name it or its authority in `health.ca_file`, or set `health.insecure = true`";

/// Why TLS cannot be used with a server.
#[derive(Debug, Error)]
pub(super) enum TlsError {
    #[error(transparent)]
    CaFile(#[from] CaFileError),
    #[error(
        "there is no trust store: {}; install it, name its file in $SSL_CERT_FILE, or set `health.ca_file`",
        .0.to_string().trim_start_matches("unexpected error: ")
    )]
    NoTrustStore(rustls::Error),
    /// The task that reads the trust store did not end.
    #[error(transparent)]
    Aborted(#[from] JoinError),
    #[error("cannot set up TLS: {0}")]
    Setup(rustls::Error),
    #[error("`{host}` cannot be the name of a certificate")]
    ServerName { host: String },
    #[error("{}", describe(error, host, endpoint))]
    Handshake { host: String, endpoint: String, error: io::Error },
}

impl TlsError {
    /// Whether the error concerns the certificates that a check trusts.
    pub(super) fn is_about_certificate(&self) -> bool {
        match self {
            Self::CaFile(_) => true,
            Self::Handshake { error, .. } => {
                matches!(tls_cause(error), Some(rustls::Error::InvalidCertificate(_)))
            }
            _ => false,
        }
    }
}

/// The certificates of the machine. The first check that needs them reads hundreds of files, which may be missing.
#[derive(Debug, Default)]
pub(super) struct Trust(OnceCell<Arc<ClientConfig>>);

impl Trust {
    /// The TLS configuration for the checks of a service. A `ca_file` is read each time, because it may change.
    pub(super) async fn rules(&self, health: &Health, base: &Path) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        if health.insecure {
            return config(
                &provider,
                Arc::new(Named {
                    known: Vec::new(),
                    roots: None,
                    any_certificate: true,
                    provider: Arc::clone(&provider),
                }),
            );
        }
        if let Some(file) = &health.ca_file {
            return config(&provider, Arc::new(Named::read(&base.join(file), &provider)?));
        }
        let make = async || {
            let machine = Arc::clone(&provider);
            let verifier = move || rustls_platform_verifier::Verifier::new(machine);
            let verifier = tokio::task::spawn_blocking(verifier).await?.map_err(TlsError::NoTrustStore)?;
            config(&provider, Arc::new(verifier))
        };
        self.0.get_or_try_init(make).await.cloned()
    }
}

/// The TLS configuration with this verifier. Each check makes a full handshake, without session resumption.
fn config(
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::Setup)?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Begins TLS on a connection.
pub(super) async fn connect(
    rules: Arc<ClientConfig>,
    host: &str,
    stream: TcpStream,
    shown: &str,
) -> Result<TlsStream<TcpStream>, TlsError> {
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| TlsError::ServerName { host: host.to_owned() })?;
    let connected = TlsConnector::from(rules).connect(name, stream).await;
    connected.map_err(|error| TlsError::Handshake {
        host: host.to_owned(),
        endpoint: shown.to_owned(),
        error,
    })
}

/// The verifier for the certificates of a file. A server certificate is valid if the file contains it, whatever its
/// purpose, or if a certificate of the file has signed it.
#[derive(Debug)]
struct Named {
    known: Vec<CertificateDer<'static>>,
    roots: Option<Arc<WebPkiServerVerifier>>,
    /// Whether every certificate is accepted.
    any_certificate: bool,
    provider: Arc<CryptoProvider>,
}

impl Named {
    fn read(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Self, CaFileError> {
        let known = read_certificates(path)?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(known.iter().cloned());
        let roots =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build().ok();
        Ok(Self { known, roots, any_certificate: false, provider: Arc::clone(provider) })
    }
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.any_certificate || self.known.iter().any(|known| known == shown) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.roots {
            Some(roots) => roots.verify_server_cert(shown, between, name, stapled, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The cause of a failed handshake, unless it is one of the connection.
fn tls_cause(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// The error of a TLS handshake.
fn describe(error: &io::Error, host: &str, shown: &str) -> String {
    match tls_cause(error) {
        Some(rustls::Error::InvalidCertificate(wrong)) => {
            format!("cannot trust {shown}: {}", certificate(wrong, host))
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            format!("the server at {shown} does not use TLS: write `http://` if that is intended")
        }
        Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)) => {
            format!(
                "{shown} requires a client certificate, and a check has none: use an `exec:` check with \
                     one"
            )
        }
        Some(rustls::Error::AlertReceived(alert)) => format!("{shown} aborted the TLS handshake ({alert:?})"),
        Some(rustls::Error::PeerIncompatible(_)) => {
            format!("{shown} supports no secure version of TLS (1.2 or 1.3)")
        }
        Some(error) => format!("cannot begin TLS with {shown}: {error}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            format!("{shown} ended the connection during the TLS handshake")
        }
        None => format!("cannot begin TLS with {shown}: {}", describe_io_error(error)),
    }
}

/// The error of a certificate, with a remedy.
fn certificate(wrong: &CertificateError, host: &str) -> String {
    match wrong {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("its certificate is not for `{host}`: use a name of the certificate, or {WAY_OUT}")
        }
        CertificateError::UnknownIssuer => {
            format!("its certificate is self-signed, or of an unknown authority: {WAY_OUT}")
        }
        CertificateError::Revoked => "its certificate has been revoked".to_owned(),
        CertificateError::Other(_) => format!("its certificate is self-signed: {WAY_OUT}"),
        _ => format!("its certificate is invalid: {WAY_OUT}"),
    }
}
