//! The mounted Secret: one file for each field. Inputs: a directory, and what the configuration says. Output: which store
//! it describes, or what is wrong with it, by the names of the fields and never by their values.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use jobmeter_daemon::token::Secret;

use crate::config::objects::PlainFields;

const KEYS: [&str; 8] =
    ["accessKeyID", "secretAccessKey", "sessionToken", "bucket", "region", "endpoint", "pathStyle", "caBundle"];
/// As IBM's documents and tools name them.
const IBM: [&str; 5] = ["rawBucketName", "apiKey", "serviceInstanceID", "authEndpoint", "serviceEndpoint"];
const IBM_AUTH: &str = "https://iam.cloud.ibm.com/identity/token";
/// Stores other than Amazon's ignore it, but it is part of every signature.
const REGION: &str = "us-east-1";

/// A store that is completely described.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) bucket: String,
    pub(super) region: String,
    /// `None`: Amazon's own, by the region.
    pub(super) endpoint: Option<String>,
    pub(super) path_style: bool,
    pub(super) ca_bundle: Option<String>,
    pub(super) access: Access,
}

#[derive(Clone, Debug)]
pub(super) enum Access {
    Keys { id: Secret, secret: Secret, session: Option<Secret> },
    Ibm { api_key: Secret, instance: String, auth_endpoint: String },
}

impl Settings {
    pub(super) const fn is_ibm(&self) -> bool {
        matches!(self.access, Access::Ibm { .. })
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    #[error("failed to read the Secret {}: {}", path.display(), source.kind())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0}")]
    Contradiction(String),
}

/// Whatever differs when the kubelet swaps the files, or somebody writes one.
pub(super) type Version = Vec<(String, u64, u64, i64, i64)>;

/// Values are kept as secrets, whatever they are.
#[derive(Debug, Default)]
pub(super) struct Fields(BTreeMap<&'static str, Secret>);

/// A `stat` for each field; nothing is read.
pub(super) fn version(directory: &Path) -> Version {
    let names = ["", "..data"].into_iter().chain(KEYS).chain(IBM);
    names
        .filter_map(|name| {
            let path = if name.is_empty() { directory.to_owned() } else { directory.join(name) };
            // `..data` itself is a link that is replaced; the fields are links through it.
            let file = if name == "..data" { fs::symlink_metadata(path) } else { fs::metadata(path) }.ok()?;
            Some((name.to_owned(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
        })
        .collect()
}

impl Fields {
    /// Those that are there and not empty.
    pub(super) fn read(directory: &Path) -> Result<Self, SecretError> {
        let mut fields = BTreeMap::new();
        for name in KEYS.into_iter().chain(IBM) {
            let path = directory.join(name);
            match fs::read_to_string(&path) {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) => {
                    fields.insert(name, Secret::new(text.trim()));
                }
                Err(err) if matches!(err.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(source) => return Err(SecretError::Read { path, source }),
            }
        }
        Ok(Self(fields))
    }

    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| value.expose().to_owned())
    }

    /// Missing ones go to `missing`.
    fn need(&self, name: &'static str, missing: &mut Vec<&'static str>) -> Secret {
        self.0.get(name).cloned().unwrap_or_else(|| {
            missing.push(name);
            Secret::new("")
        })
    }

    fn present(&self, names: &[&'static str]) -> Vec<&'static str> {
        names.iter().copied().filter(|name| self.0.contains_key(name)).collect()
    }

    /// `Ok(None)`: no store is described, neither here nor in the configuration.
    pub(super) fn settings(&self, plain: &PlainFields) -> Result<Option<Settings>, SecretError> {
        let keys = self.present(&["accessKeyID", "secretAccessKey", "sessionToken"]);
        let ibm = self.present(&IBM);
        match (keys.is_empty(), ibm.is_empty()) {
            (false, false) => Err(contradiction(format_args!(
                "the object store's Secret has fields of both kinds: {} (access keys) and {} (IBM IAM); keep one kind",
                keys.join(", "),
                ibm.join(", "),
            ))),
            (true, false) => self.ibm().map(Some),
            (false, true) => self.keys(plain).map(Some),
            (true, true) => {
                let named = plain.bucket.is_some() || plain.endpoint.is_some() || plain.region.is_some();
                let rest = self.present(&KEYS);
                if rest.is_empty() && !named {
                    return Ok(None);
                }
                Err(contradiction(format_args!(
                    "an object store is named ({}) but its Secret has no accessKeyID and secretAccessKey, nor IBM's apiKey",
                    if rest.is_empty() { "in the configuration".to_owned() } else { rest.join(", ") },
                )))
            }
        }
    }

    fn keys(&self, plain: &PlainFields) -> Result<Settings, SecretError> {
        let mut missing = Vec::new();
        let id = self.need("accessKeyID", &mut missing);
        let secret = self.need("secretAccessKey", &mut missing);
        let bucket = self.get("bucket").or_else(|| plain.bucket.clone()).unwrap_or_else(|| {
            missing.push("bucket");
            String::new()
        });
        complete(&missing)?;
        let endpoint = self.get("endpoint").or_else(|| plain.endpoint.clone()).map(|endpoint| with_scheme(&endpoint));
        let path_style = match self.get("pathStyle").map(|text| text.to_ascii_lowercase()).as_deref() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) => {
                return Err(contradiction(format_args!("pathStyle in the object store's Secret is neither true nor false")));
            }
            None => plain.path_style,
        };
        Ok(Settings {
            bucket,
            region: self.get("region").or_else(|| plain.region.clone()).unwrap_or_else(|| REGION.to_owned()),
            // Amazon wants the bucket in the host's name, nearly everybody else understands it in the path.
            path_style: path_style.unwrap_or(endpoint.is_some()),
            endpoint,
            ca_bundle: self.get("caBundle"),
            access: Access::Keys { id, secret, session: self.0.get("sessionToken").cloned() },
        })
    }

    fn ibm(&self) -> Result<Settings, SecretError> {
        let mut missing = Vec::new();
        let api_key = self.need("apiKey", &mut missing);
        let instance = self.need("serviceInstanceID", &mut missing).expose().to_owned();
        let bucket = self.need("rawBucketName", &mut missing).expose().to_owned();
        let endpoint = self.need("serviceEndpoint", &mut missing).expose().to_owned();
        complete(&missing)?;
        Ok(Settings {
            bucket,
            region: REGION.to_owned(),
            endpoint: Some(with_scheme(&endpoint)),
            path_style: true,
            ca_bundle: self.get("caBundle"),
            access: Access::Ibm {
                api_key,
                instance,
                auth_endpoint: with_scheme(&self.get("authEndpoint").unwrap_or_else(|| IBM_AUTH.to_owned())),
            },
        })
    }
}

fn complete(missing: &[&str]) -> Result<(), SecretError> {
    if missing.is_empty() {
        return Ok(());
    }
    Err(contradiction(format_args!("the object store's Secret is incomplete: {} missing", missing.join(", "))))
}

fn contradiction(text: std::fmt::Arguments<'_>) -> SecretError {
    SecretError::Contradiction(text.to_string())
}

/// IBM's endpoints are handed around without one.
fn with_scheme(endpoint: &str) -> String {
    if endpoint.contains("://") { endpoint.to_owned() } else { format!("https://{endpoint}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(fields: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        settings_with(fields, &PlainFields::default())
    }

    fn settings_with(fields: &[(&str, &str)], plain: &PlainFields) -> Result<Option<Settings>, String> {
        let directory = tempfile::tempdir().unwrap();
        for (name, value) in fields {
            fs::write(directory.path().join(name), format!("{value}\n")).unwrap();
        }
        Fields::read(directory.path()).unwrap().settings(plain).map_err(|err| err.to_string())
    }

    #[test]
    fn no_fields_are_no_store() {
        assert!(settings(&[]).unwrap().is_none());
        assert!(settings(&[("apiKey", "")]).unwrap().is_none());
        assert!(Fields::read(Path::new("/nowhere/at/all")).unwrap().settings(&PlainFields::default()).unwrap().is_none());
    }

    #[test]
    fn access_keys_take_the_rest_from_the_secret_first_and_the_configuration_second() {
        let plain = PlainFields { bucket: Some("mine".into()), region: Some("eu".into()), ..PlainFields::default() };
        let keys = [("accessKeyID", "AK"), ("secretAccessKey", "SK"), ("endpoint", "minio:9000"), ("region", "de")];
        let found = settings_with(&keys, &plain).unwrap().unwrap();
        assert_eq!((found.bucket.as_str(), found.region.as_str(), found.path_style), ("mine", "de", true));
        assert_eq!(found.endpoint.as_deref(), Some("https://minio:9000"));
        let amazon = settings_with(&keys[..2], &plain).unwrap().unwrap();
        assert_eq!((amazon.endpoint, amazon.path_style), (None, false));
    }

    #[test]
    fn ibms_five_fields_are_taken_with_their_defaults() {
        let fields = [
            ("rawBucketName", "raw"),
            ("apiKey", "k3y"),
            ("serviceInstanceID", "crn:v1"),
            ("serviceEndpoint", "s3.eu-de.cloud-object-storage.appdomain.cloud"),
        ];
        let found = settings(&fields).unwrap().unwrap();
        assert_eq!(found.endpoint.as_deref(), Some("https://s3.eu-de.cloud-object-storage.appdomain.cloud"));
        let Access::Ibm { auth_endpoint, .. } = &found.access else { panic!("{found:?}") };
        assert_eq!(auth_endpoint, IBM_AUTH);
        assert!(!format!("{found:?}").contains("k3y"));
    }

    #[test]
    fn half_a_family_and_both_families_are_refused_by_the_names_of_the_fields() {
        let error = settings(&[("accessKeyID", "AK"), ("apiKey", "k3y")]).unwrap_err();
        assert!(error.contains("accessKeyID") && error.contains("apiKey") && !error.contains("k3y"), "{error}");
        let error = settings(&[("accessKeyID", "AK")]).unwrap_err();
        assert!(error.contains("secretAccessKey, bucket missing"), "{error}");
        let error = settings(&[("apiKey", "k3y")]).unwrap_err();
        assert!(error.contains("serviceInstanceID, rawBucketName, serviceEndpoint missing"), "{error}");
        assert!(settings(&[("bucket", "b")]).unwrap_err().contains("accessKeyID"));
        let plain = PlainFields { bucket: Some("b".into()), ..PlainFields::default() };
        assert!(settings_with(&[], &plain).unwrap_err().contains("in the configuration"));
    }
}
