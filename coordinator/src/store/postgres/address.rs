//! `postgres://user:password@host:port/database?sslmode=…` → where to connect, and how.
//!
//! The password is in no error, no log and no `Debug`; what is wrong with a URL is said without quoting it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jobmeter_daemon::token::Secret;
use postgres::Config;
use postgres::config::SslMode;

/// To one address of the server; there may be several.
const CONNECT: Duration = Duration::from_secs(5);
/// A server that went without a word is noticed after about this time.
const SILENCE: Duration = Duration::from_secs(20);
const PROBES: (Duration, Duration, u32) = (Duration::from_secs(10), Duration::from_secs(5), 2);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Address {
    source: Source,
    ca_file: Option<PathBuf>,
    shown: String,
}

#[derive(Clone, Debug)]
enum Source {
    Url(Secret),
    /// Read at each connection, so that a password may change.
    File(PathBuf),
}

/// One connection's worth of it.
pub(super) struct Target {
    pub(super) config: Config,
    pub(super) tls: Tls,
    pub(super) ca_file: Option<PathBuf>,
    /// Host, port and database.
    shown: String,
}

/// As libpq has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    Disable,
    /// Where the server has it; whoever answers is believed.
    Prefer,
    /// Whoever answers is believed, unless a CA is given: then as [`Self::VerifyCa`].
    Require,
    VerifyCa,
    VerifyFull,
}

#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    #[error("is not of the form postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    Form,
    #[error("has an `@`, `/`, `:` or `?` too many: write those of a password as %40, %2F, %3A and %3F")]
    Unescaped,
    #[error("names no host")]
    Host,
    #[error("has sslmode {word:?}; known are disable, prefer, require, verify-ca, verify-full")]
    SslMode { word: String },
    #[error("has a parameter that PostgreSQL's clients do not know, or a value that does not fit; the parameters are {names}")]
    Parameters { names: String },
    #[error("cannot be read: {} ({})", path.display(), source.kind())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl Address {
    pub fn url(url: &str) -> Result<Self, AddressError> {
        let shown = Target::parse(url)?.shown;
        Ok(Self { source: Source::Url(Secret::new(url)), ca_file: None, shown })
    }

    /// The file holds one URL.
    pub fn file(path: &Path) -> Result<Self, AddressError> {
        let shown = Target::parse(&read(path)?)?.shown;
        Ok(Self { source: Source::File(path.to_owned()), ca_file: None, shown })
    }

    /// A PEM file; wins over `sslrootcert` of the URL.
    pub fn with_ca(self, path: Option<PathBuf>) -> Self {
        Self { ca_file: path, ..self }
    }

    pub(super) fn target(&self) -> Result<Target, AddressError> {
        let target = match &self.source {
            Source::Url(url) => Target::parse(url.expose()),
            Source::File(path) => Target::parse(&read(path)?),
        }?;
        Ok(Target { ca_file: self.ca_file.clone().or(target.ca_file), ..target })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

fn read(path: &Path) -> Result<String, AddressError> {
    let text = std::fs::read_to_string(path).map_err(|source| AddressError::Read { path: path.to_owned(), source })?;
    Ok(text.trim().to_owned())
}

impl Target {
    fn parse(url: &str) -> Result<Self, AddressError> {
        let rest = ["postgres://", "postgresql://"].into_iter().find_map(|scheme| url.strip_prefix(scheme));
        let (place, query) = rest.ok_or(AddressError::Form)?.split_once('?').unwrap_or((rest.unwrap_or_default(), ""));
        let (authority, database) = place.split_once('/').unwrap_or((place, ""));
        let (_, hosts) = authority.split_once('@').unwrap_or(("", authority));
        // A password that breaks out of its place would be shown as part of the host or of the database.
        if hosts.contains('@') || database.contains(['@', ':', '/']) || query.contains(['@', '?']) {
            return Err(AddressError::Unescaped);
        }
        if hosts.is_empty() && !query.split('&').any(|pair| pair.starts_with("host=")) {
            return Err(AddressError::Host);
        }
        let (mut tls, mut ca_file, mut others) = (Tls::Prefer, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", word)) => tls = Tls::from_word(word)?,
                Some(("sslrootcert", path)) => ca_file = Some(PathBuf::from(unescaped(path))),
                _ => others.push(pair),
            }
        }
        let names =
            || others.iter().map(|pair| pair.split_once('=').map_or(*pair, |(name, _)| name)).collect::<Vec<_>>().join(", ");
        let parsed = format!("postgres://{place}?{}", others.join("&")).parse::<Config>();
        // The error may quote what it stumbled over.
        let mut config = parsed.map_err(|_| match others.is_empty() {
            true => AddressError::Form,
            false => AddressError::Parameters { names: names() },
        })?;
        config.ssl_mode(tls.mode());
        if config.get_application_name().is_none() {
            config.application_name("jobmeter-coordinator");
        }
        config.connect_timeout(config.get_connect_timeout().copied().unwrap_or(CONNECT));
        config.tcp_user_timeout(config.get_tcp_user_timeout().copied().unwrap_or(SILENCE));
        let (idle, interval, probes) = PROBES;
        config.keepalives_idle(idle).keepalives_interval(interval).keepalives_retries(probes);
        let shown = if database.is_empty() { format!("postgres://{hosts}") } else { format!("postgres://{hosts}/{database}") };
        Ok(Self { config, tls, ca_file, shown })
    }
}

impl Tls {
    fn from_word(word: &str) -> Result<Self, AddressError> {
        Ok(match word {
            "disable" => Self::Disable,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return Err(AddressError::SslMode { word: word.to_owned() }),
        })
    }

    const fn mode(self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => SslMode::Require,
        }
    }
}

/// `%2F` → `/`.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = (*first == b'%').then(|| tail.get(..2)).flatten();
        let code = code.and_then(|code| std::str::from_utf8(code).ok()).and_then(|code| u8::from_str_radix(code, 16).ok());
        (rest, bytes) = match code {
            Some(code) => (&tail[2..], [bytes, vec![code]].concat()),
            None => (tail, [bytes, vec![*first]].concat()),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_user_and_password() {
        let address = Address::url("postgres://jobmeter:s3cr%40t@db.example:5433/books?sslmode=verify-full").unwrap();
        assert_eq!(address.to_string(), "postgres://db.example:5433/books");
        assert!(!format!("{address:?}").contains("s3cr"));
        let target = address.target().unwrap();
        assert_eq!((target.tls, target.config.get_password()), (Tls::VerifyFull, Some(b"s3cr@t".as_slice())));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (url, expected) in [
            ("mysql://u:s3cret@h/d", "is not of the form"),
            ("postgres://u:s3c@ret@h/d", "%40"),
            ("postgres://u:12/s3cret@h/d", "%2F"),
            ("postgres://u:s3cret/x", "is not of the form"),
            ("postgres://u:s3?cret@h/d", "%3F"),
            ("postgres://u:s3cret@/d", "names no host"),
            ("postgres://u:s3cret@h/d?sslmode=allow", "\"allow\""),
            ("postgres://u:s3cret@h/d?passwort=s3cret", "the parameters are passwort"),
            ("postgres://u:s3cret@h:port/d", "is not of the form"),
        ] {
            let error = Address::url(url).unwrap_err();
            assert!(error.to_string().contains(expected), "{url}: {error}");
            for said in [format!("{error:?}"), format!("{error}")] {
                assert!(!said.contains("s3c") && !said.contains("ret"), "{url}: {said}");
            }
        }
    }

    #[test]
    fn a_file_is_read_again_for_each_connection_and_named_when_it_is_gone() {
        let files = tempfile::tempdir().unwrap();
        let path = files.path().join("url");
        std::fs::write(&path, "postgres://u:before@h/d\n").unwrap();
        let address = Address::file(&path).unwrap();
        std::fs::write(&path, "postgres://u:after@h/d\n").unwrap();
        assert_eq!(address.target().unwrap().config.get_password(), Some(b"after".as_slice()));
        std::fs::remove_file(&path).unwrap();
        assert!(address.target().err().unwrap().to_string().contains(path.to_str().unwrap()));
    }

    #[test]
    fn a_ca_of_the_configuration_wins_over_that_of_the_url() {
        let address = Address::url("postgres://u@h/d?sslrootcert=%2Fa%2Fca.pem").unwrap();
        assert_eq!(address.target().unwrap().ca_file, Some(PathBuf::from("/a/ca.pem")));
        assert_eq!(address.with_ca(Some("/b".into())).target().unwrap().ca_file, Some(PathBuf::from("/b")));
    }
}
