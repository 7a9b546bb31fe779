//! TLS to the server, by rustls on ring; what is believed of its certificate is what libpq's `sslmode` says.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use postgres::{Client, NoTls};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::{Target, Tls};

type Failed = Box<dyn Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
enum CaError {
    #[error("failed to read the CA certificates {path}")]
    Read {
        path: String,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("there is no certificate in {path}")]
    Empty { path: String },
    #[error("this system has no CA certificates: name a file of them (`caFile`, or `sslrootcert` in the URL)")]
    None,
}

pub(super) fn connect(target: &Target) -> Result<Client, Failed> {
    Ok(match target.tls {
        Tls::Disable => target.config.connect(NoTls)?,
        tls => target.config.connect(MakeRustlsConnect::new(config(tls, target.ca_file.as_deref())?))?,
    })
}

fn config(tls: Tls, ca_file: Option<&Path>) -> Result<ClientConfig, Failed> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let chain = match (tls, ca_file) {
        (Tls::Disable | Tls::Prefer | Tls::Require, None) => None,
        (Tls::Disable | Tls::Prefer | Tls::Require | Tls::VerifyCa, _) => Some(verifier(ca_file, &provider)?),
        (Tls::VerifyFull, _) => return Ok(config.with_root_certificates(roots(ca_file)?).with_no_client_auth()),
    };
    let verifier = Arc::new(AnyName { chain, provider });
    Ok(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn verifier(ca_file: Option<&Path>, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, Failed> {
    Ok(WebPkiServerVerifier::builder_with_provider(Arc::new(roots(ca_file)?), provider.clone()).build()?)
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, CaError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            let path = || file.display().to_string();
            let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            roots.add_parsable_certificates(read.map_err(|source| CaError::Read { path: path(), source })?);
            if roots.is_empty() { Err(CaError::Empty { path: path() }) } else { Ok(roots) }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() { Err(CaError::None) } else { Ok(roots) }
        }
    }
}

/// For all modes but `verify-full`: the name in the certificate is not looked at, and without a chain nothing of it is.
#[derive(Debug)]
struct AnyName {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
