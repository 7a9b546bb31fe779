//! What the Secret holds: the leaf that is served, and the authorities that callers are to trust.
//!
//! In: the Secret. Out: what can be served, or a sentence why not, by the names of the fields and never by their values. That a
//! leaf is over does not make it unusable: callers say so, and the leader renews it.
//!
//! | field | is |
//! |---|---|
//! | `tls.crt`, `tls.key` | the leaf |
//! | `ca.crt` | the authority that signed it, then those before it that are still valid |
//! | `ca.key` | of the first of them; only the leader needs it |

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jobmeter_decide::certificates::{Found, Validity};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::Names;
use super::issue::Pair;

pub const TLS_CERTIFICATE: &str = "tls.crt";
pub const TLS_KEY: &str = "tls.key";
pub const AUTHORITIES: &str = "ca.crt";
pub const AUTHORITY_KEY: &str = "ca.key";

/// What can be served.
#[derive(Debug)]
pub struct Material {
    pub key: Arc<CertifiedKey>,
    pub leaf: Validity,
    pub authority: Validity,
    /// PEM, as it is written: what callers are to trust.
    pub authorities: String,
}

#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    #[error("the Secret has no {0}")]
    Missing(&'static str),
    #[error("{field} in the Secret cannot be read: {why}")]
    Unreadable { field: &'static str, why: String },
    #[error("tls.crt in the Secret is not for {host} or was not signed by the first of ca.crt: {why}")]
    NotOurs { host: String, why: String },
    #[error("{key} in the Secret is not the key of {certificate}")]
    WrongKey { key: &'static str, certificate: &'static str },
}

pub fn read(secret: &Secret, names: &Names) -> Result<Material, MaterialError> {
    let authorities = text(secret, AUTHORITIES)?;
    let authority = certificates(AUTHORITIES, authorities)?.swap_remove(0);
    let chain = certificates(TLS_CERTIFICATE, text(secret, TLS_CERTIFICATE)?)?;
    let key = PrivateKeyDer::from_pem_slice(text(secret, TLS_KEY)?.as_bytes()).map_err(|err| unreadable(TLS_KEY, &err))?;
    let (leaf_validity, authority_validity) = (validity(TLS_CERTIFICATE, &chain[0])?, validity(AUTHORITIES, &authority)?);
    verify(&chain[0], authority, leaf_validity.from.max(authority_validity.from), names)?;
    let key = CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
        .map_err(|_| MaterialError::WrongKey { key: TLS_KEY, certificate: TLS_CERTIFICATE })?;
    Ok(Material { key: Arc::new(key), leaf: leaf_validity, authority: authority_validity, authorities: authorities.to_owned() })
}

/// For the decision; of whoever leads.
pub fn found(secret: Option<&Secret>, names: &Names) -> Found {
    let Some(secret) = secret else { return Found::Nothing };
    if secret.data.as_ref().is_none_or(BTreeMap::is_empty) {
        return Found::Nothing;
    }
    match read(secret, names).and_then(|material| authority_key(secret).map(|_| material)) {
        Ok(material) => Found::Pair { authority: material.authority, leaf: material.leaf },
        Err(err) => Found::Unusable { why: err.to_string() },
    }
}

/// The PEM of the key that signs leaves.
pub fn authority_key(secret: &Secret) -> Result<String, MaterialError> {
    let key = text(secret, AUTHORITY_KEY)?;
    let pair = rcgen::KeyPair::from_pem(key).map_err(|err| unreadable(AUTHORITY_KEY, &err))?;
    let authority = certificates(AUTHORITIES, text(secret, AUTHORITIES)?)?.swap_remove(0);
    let authority = parse(AUTHORITIES, &authority)?;
    let public = authority.tbs_certificate.subject_public_key_info.subject_public_key;
    if public.raw_bytes() != pair.public_key_raw() {
        return Err(MaterialError::WrongKey { key: AUTHORITY_KEY, certificate: AUTHORITIES });
    }
    Ok(key.to_owned())
}

/// `newest` before the authorities that the Secret has and that are still valid, newest first.
pub fn authorities_with(newest: &str, secret: Option<&Secret>, now: Timestamp) -> String {
    let known = secret.and_then(|secret| text(secret, AUTHORITIES).ok()).unwrap_or_default();
    let mut bundle = newest.to_owned();
    for block in blocks(known).filter(|block| *block != newest.trim()) {
        let valid = CertificateDer::from_pem_slice(block.as_bytes())
            .ok()
            .and_then(|authority| validity(AUTHORITIES, &authority).ok())
            .is_some_and(|validity| validity.until > now);
        if valid {
            bundle.push_str(block);
            bundle.push('\n');
        }
    }
    bundle
}

/// The fields of a Secret.
pub fn fields(leaf: Pair, authorities: String, authority_key: String) -> BTreeMap<String, ByteString> {
    let field = |name: &str, text: String| (name.to_owned(), ByteString(text.into_bytes()));
    BTreeMap::from([
        field(TLS_CERTIFICATE, leaf.certificate),
        field(TLS_KEY, leaf.key),
        field(AUTHORITIES, authorities),
        field(AUTHORITY_KEY, authority_key),
    ])
}

fn text<'a>(secret: &'a Secret, field: &'static str) -> Result<&'a str, MaterialError> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(field)).ok_or(MaterialError::Missing(field))?;
    str::from_utf8(&bytes.0).map_err(|err| unreadable(field, &err))
}

fn blocks(pem: &str) -> impl Iterator<Item = &str> {
    const END: &str = "-----END CERTIFICATE-----";
    pem.split_inclusive(END).map(str::trim).filter(|block| block.ends_with(END))
}

/// One at least.
fn certificates(field: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let read = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let read = read.map_err(|err| unreadable(field, &err))?;
    if read.is_empty() { Err(unreadable(field, &"it has no certificate in PEM")) } else { Ok(read) }
}

fn parse(field: &'static str, certificate: &CertificateDer<'_>) -> Result<Certificate, MaterialError> {
    Certificate::from_der(certificate).map_err(|err| unreadable(field, &err))
}

fn validity(field: &'static str, certificate: &CertificateDer<'_>) -> Result<Validity, MaterialError> {
    let validity = parse(field, certificate)?.tbs_certificate.validity;
    let at = |time: x509_cert::time::Time| {
        let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
    };
    Ok(Validity { from: at(validity.not_before), until: at(validity.not_after) })
}

/// As the API server does, except that it does so at a time when both are valid.
fn verify(leaf: &CertificateDer<'_>, authority: CertificateDer<'_>, at: Timestamp, names: &Names) -> Result<(), MaterialError> {
    let host = names.host();
    let not_ours = |why: &dyn std::fmt::Display| MaterialError::NotOurs { host: host.clone(), why: why.to_string() };
    let mut roots = RootCertStore::empty();
    roots.add(authority).map_err(|err| unreadable(AUTHORITIES, &err))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(|err| not_ours(&err))?;
    let name = ServerName::try_from(host.clone()).map_err(|err| not_ours(&err))?;
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(at.as_second()).unwrap_or_default()));
    verifier.verify_server_cert(leaf, &[], &name, &[], at).map_err(|err| not_ours(&err))?;
    Ok(())
}

fn unreadable(field: &'static str, why: &dyn std::fmt::Display) -> MaterialError {
    MaterialError::Unreadable { field, why: why.to_string() }
}

#[cfg(test)]
mod tests;
