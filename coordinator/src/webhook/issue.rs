//! Makes certificates: an authority of our own, and leaves of it. In: names and the time. Out: PEM. Nothing is kept.

use std::time::Duration;

use jiff::Timestamp;
use jobmeter_decide::certificates::{AUTHORITY_LIFE, LEAF_LIFE, Validity};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::Names;

/// Every authority has it, so a leaf can be signed from the authority's key alone.
const AUTHORITY_NAME: &str = "jobmeter webhook authority";
/// `kubectl` and Go show it; nobody checks it.
const LEAF_NAME: &str = "jobmeter webhook";

/// PEM, both.
#[derive(Clone)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

#[derive(Debug, thiserror::Error)]
#[error("failed to make {what}")]
pub struct IssueError {
    what: &'static str,
    #[source]
    source: rcgen::Error,
}

pub fn authority(now: Timestamp) -> Result<Pair, IssueError> {
    let failed = |source| IssueError { what: "an authority for the webhook's certificate", source };
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = authority_params(Validity::starting(now, AUTHORITY_LIFE)).self_signed(&key).map_err(failed)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// `authority`: the key of an authority that [`authority`] made.
pub fn leaf(authority: &str, names: &Names, now: Timestamp) -> Result<Pair, IssueError> {
    let failed = |source| IssueError { what: "a certificate for the webhook", source };
    let validity = Validity::starting(now, LEAF_LIFE);
    let signer_params = authority_params(validity);
    let issuer = Issuer::from_params(&signer_params, KeyPair::from_pem(authority).map_err(failed)?);
    let host = names.host();
    let mut params = CertificateParams::new(vec![format!("{host}.cluster.local"), host]).map_err(failed)?;
    params.distinguished_name = named(LEAF_NAME);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, validity);
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn authority_params(validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(AUTHORITY_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    valid(&mut params, validity);
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

fn valid(params: &mut CertificateParams, validity: Validity) {
    let at = |time: Timestamp| {
        let seconds = u64::try_from(time.as_second()).unwrap_or_default();
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    params.not_before = at(validity.from);
    params.not_after = at(validity.until);
}
