//! Where records are kept: what the configuration says of it. A URL with a password comes in a file of a Secret.

use std::path::PathBuf;

use jobmeter_daemon::config::Problems;
use serde::{Deserialize, Serialize};

use crate::store::{Address, Place};

/// `store` in the file.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct StoreWritten {
    /// `sqlite:///path/of/the/file` (`sqlite:` alone: `<dataDir>/jobmeter.db`), or `postgres://user@host:port/database`.
    pub url: Option<String>,
    /// A file that holds the URL, such as one of a Secret; read again at each connection.
    pub url_file: Option<PathBuf>,
    /// PEM file with the certificates that PostgreSQL's is checked with; the system's where absent.
    pub ca_file: Option<PathBuf>,
}

/// The URL may have a password in it.
impl std::fmt::Debug for StoreWritten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url = self.url.as_ref().map(|_| "…");
        f.debug_struct("StoreWritten")
            .field("url", &url)
            .field("url_file", &self.url_file)
            .field("ca_file", &self.ca_file)
            .finish()
    }
}

impl StoreWritten {
    /// `None`: the file in the data directory.
    pub(super) fn resolve(self, problems: &mut Problems) -> Option<Place> {
        let place = match (self.url, self.url_file) {
            (Some(_), Some(_)) => {
                problems.add("store.urlFile", "cannot stand beside store.url: keep one of them");
                return None;
            }
            (None, Some(file)) => {
                let address = problems.take("store.urlFile", Address::file(&file))?;
                Some(Place::Postgres(address))
            }
            (None, None) => None,
            (Some(url), None) => match url.strip_prefix("sqlite:") {
                Some("") => None,
                Some(path) => match path.strip_prefix("//").filter(|path| path.starts_with('/') && path.len() > 1) {
                    Some(path) => Some(Place::File(PathBuf::from(path))),
                    None => {
                        problems.add(
                            "store.url",
                            "names no file: write sqlite:///path/of/the/file, or sqlite: for the data directory",
                        );
                        return None;
                    }
                },
                None => Some(Place::Postgres(problems.take("store.url", Address::url(&url))?)),
            },
        };
        match place {
            Some(Place::Postgres(address)) => {
                let missing = self.ca_file.as_ref().is_some_and(|file| !file.is_file());
                problems.check(!missing, "store.caFile", "is no file");
                Some(Place::Postgres(address.with_ca(self.ca_file)))
            }
            file => {
                problems.check(self.ca_file.is_none(), "store.caFile", "has a meaning for PostgreSQL only");
                file
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(written: StoreWritten) -> Result<Option<Place>, String> {
        let mut problems = Problems::default();
        let place = written.resolve(&mut problems);
        problems.finish().map(|()| place).map_err(|invalid| invalid.to_string())
    }

    fn url(url: &str) -> StoreWritten {
        StoreWritten { url: Some(url.to_owned()), ..StoreWritten::default() }
    }

    #[test]
    fn the_file_of_the_data_directory_is_the_default() {
        assert!(resolved(StoreWritten::default()).unwrap().is_none());
        assert!(resolved(url("sqlite:")).unwrap().is_none());
        assert_eq!(resolved(url("sqlite:///a/b.db")).unwrap().unwrap().to_string(), "/a/b.db");
        assert!(resolved(url("sqlite:b.db")).unwrap_err().contains("sqlite:///path"));
    }

    #[test]
    fn a_url_may_come_from_a_file_and_its_password_is_never_said() {
        let files = tempfile::tempdir().unwrap();
        let file = files.path().join("url");
        std::fs::write(&file, "postgres://jobmeter:s3cret@db/books\n").unwrap();
        let written = StoreWritten { url_file: Some(file.clone()), ..StoreWritten::default() };
        let place = resolved(written.clone()).unwrap().unwrap();
        assert_eq!(place.to_string(), "postgres://db/books");
        assert!(!format!("{place:?} {:?} {written:?}", url("postgres://jobmeter:s3cret@db/books")).contains("s3cret"));
        std::fs::write(&file, "postgres://jobmeter:s3cr/et@db/books\n").unwrap();
        let error = resolved(written).unwrap_err();
        assert!(error.contains("store.urlFile") && !error.contains("s3c"), "{error}");
    }

    #[test]
    fn a_url_in_the_wrong_place_of_the_file_is_not_repeated_in_the_error() {
        let url = "postgres://jobmeter:s3cret@db/books";
        for text in [
            format!("store: {url}"),
            format!("store: [{url}]"),
            format!("store: {{url: [{url}]}}"),
            format!("store: {{uri: {url}}}"),
        ] {
            let read = jobmeter_daemon::config::parse::<crate::config::written::Written>(&text, "c.yaml".as_ref());
            let error = read.unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_said() {
        let both = StoreWritten { url_file: Some("/a".into()), ..url("sqlite:") };
        assert!(resolved(both).unwrap_err().contains("store.urlFile"));
        let ca = StoreWritten { ca_file: Some("/a".into()), ..url("sqlite:") };
        assert!(resolved(ca).unwrap_err().contains("store.caFile"));
        let ca = StoreWritten { ca_file: Some("/not/there".into()), ..url("postgres://db/books") };
        assert!(resolved(ca).unwrap_err().contains("store.caFile"));
        assert!(resolved(url("mysql://db/books")).unwrap_err().contains("store.url"));
    }
}
