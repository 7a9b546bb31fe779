//! A callback's URL. Whoever has it may post, so it is never shown: its token is left out wherever people read.

use std::env;
use std::fmt;

/// Its `Display` and `Debug` are safe to print.
#[derive(Clone)]
pub(crate) struct SecretUrl(String);

#[derive(Debug, thiserror::Error)]
pub(crate) enum UrlError {
    #[error("{0} is not set: this is no pod of a node run; give --url")]
    NotSet(&'static str),
    #[error("{0} is not a URL like http://HOST:PORT/report/NODE/RUN/TOKEN/result")]
    Malformed(&'static str),
    #[error("{0} begins with https://, and only plain http:// is spoken here")]
    Https(&'static str),
}

impl SecretUrl {
    /// `from` is where it was written, for errors.
    pub(crate) fn new(from: &'static str, url: String) -> Result<Self, UrlError> {
        if url.starts_with("https://") {
            return Err(UrlError::Https(from));
        }
        let uri: ureq::http::Uri = url.parse().map_err(|_| UrlError::Malformed(from))?;
        let plain = uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty());
        if plain { Ok(Self(url)) } else { Err(UrlError::Malformed(from)) }
    }

    pub(crate) fn of_variable(name: &'static str) -> Result<Self, UrlError> {
        match env::var(name) {
            Ok(url) if !url.is_empty() => Self::new(name, url),
            Err(env::VarError::NotUnicode(_)) => Err(UrlError::Malformed(name)),
            _ => Err(UrlError::NotSet(name)),
        }
    }

    /// `value` is percent-encoded already.
    pub(crate) fn with_query(&self, name: &str, value: &str) -> Self {
        let separator = if self.0.contains('?') { '&' } else { '?' };
        Self(format!("{}{separator}{name}={value}", self.0))
    }

    /// Not to be shown.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(rest) = self.0.strip_prefix("http://") else { return f.write_str("http://…") };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // A password may stand before the host.
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = host.split(['?', '#']).next().unwrap_or_default();
        let path = path.split(['?', '#']).next().unwrap_or_default();
        // Of a path of another form nobody knows which part is secret.
        match path.split('/').collect::<Vec<_>>()[..] {
            ["report", node, run, kind] => write!(f, "http://{host}/report/{node}/{run}/{kind}"),
            ["report", node, run, _, kind] => write!(f, "http://{host}/report/{node}/{run}/…/{kind}"),
            _ => write!(f, "http://{host}/…"),
        }
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        SecretUrl::new("--url", url.to_owned()).unwrap().to_string()
    }

    #[test]
    fn the_token_is_left_out_of_what_people_read() {
        let url = "http://10.0.0.1:8080/report/node-a/202611211930/AAAAbbbbCCCC-_9/result";
        assert_eq!(shown(url), "http://10.0.0.1:8080/report/node-a/202611211930/…/result");
        let with_name = SecretUrl::new("--url", url.to_owned()).unwrap().with_query("name", "a%20b");
        assert_eq!(with_name.reveal(), format!("{url}?name=a%20b"));
        assert!(!format!("{with_name:?} {with_name}").contains("AAAA"));
        assert_eq!(shown("http://[fd00::1]:8080/report/a/1/file"), "http://[fd00::1]:8080/report/a/1/file");
        assert_eq!(shown("http://me:secret@host/hooks/secret?token=secret"), "http://host/…");
        assert_eq!(shown("http://host?token=secret"), "http://host/…");
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_without_being_shown() {
        for url in ["", "host:8080", "https://host/secret", "ftp://host/secret", "http:///secret", "http://ho st/secret"] {
            let error = SecretUrl::new("--url", url.to_owned()).unwrap_err().to_string();
            assert!(error.starts_with("--url ") && !error.contains("secret"), "{error}");
        }
    }
}
