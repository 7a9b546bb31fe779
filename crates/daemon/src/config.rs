//! Reads the one YAML file of a process. Input: a path and a type with `#[serde(deny_unknown_fields, default)]`; output: the
//! value, or an error with path, line and column. What the value means is checked by its owner, who collects [`Problems`].

mod duration;
mod problems;
mod size;

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_saphyr::{MessageFormatter, UserMessageFormatter};

pub use duration::{DurationError, HumanDuration};
pub use problems::{Invalid, Problems};
pub use serde_saphyr::Spanned;
pub use size::{HumanSize, SizeError};

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}:{line}:{column}: {why}", path.display())]
    Parse { path: PathBuf, line: u64, column: u64, why: String },
}

pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse(&text, path)
}

/// Parses a text that is already in memory; `path` is for the error only. A text without content stands for `{}`.
pub fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, ConfigError> {
    let has_content = text.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with('#') && line != "---");
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(if has_content { text } else { "{}" }, options).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |location| (location.line(), location.column()));
        ConfigError::Parse {
            path: path.to_owned(),
            line,
            column,
            why: UserMessageFormatter.format_message(error.without_snippet()).into_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Agent {
        interval: HumanDuration,
        journal: Journal,
        namespaces: Vec<String>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Journal {
        directory: String,
        limit: HumanSize,
    }

    fn read(text: &str) -> Result<Agent, ConfigError> {
        parse(text, Path::new("agent.yaml"))
    }

    fn refused(text: &str) -> String {
        let error = read(text).unwrap_err().to_string();
        eprintln!("{error}");
        error
    }

    #[test]
    fn durations_and_sizes_are_written_as_people_write_them() {
        let agent = read("interval: 1m30s\njournal:\n  limit: 64Mi\nnamespaces: [ci, batch]\n").unwrap();
        assert_eq!(agent.interval, HumanDuration::from_secs(90));
        assert_eq!(agent.journal.limit, HumanSize::mebibytes(64));
        assert_eq!(read("journal: { limit: 4096 }").unwrap().journal.limit, HumanSize(4096));
    }

    #[test]
    fn a_file_of_comments_only_is_the_default() {
        assert_eq!(read("").unwrap(), Agent::default());
        assert_eq!(read("---\n# interval: 1s\n\n").unwrap(), Agent::default());
    }

    #[test]
    fn an_unknown_key_is_refused_with_path_line_and_column() {
        let error = refused("interval: 10s\njournal:\n  directory: /var/lib/x\n  limits: 64Mi\n");
        assert!(error.starts_with("agent.yaml:4:3: "), "{error}");
        assert!(error.contains("limits"), "{error}");
        assert!(error.contains("limit"), "{error}");
    }

    #[test]
    fn a_wrong_value_is_refused_where_it_stands() {
        let error = refused("journal:\n  limit: 64MB\n");
        assert!(error.starts_with("agent.yaml:2:10: "), "{error}");
        assert!(error.contains("`MB` is no unit of size"), "{error}");
        let error = refused("interval: 10\n");
        assert!(error.starts_with("agent.yaml:1:11: "), "{error}");
        assert!(error.contains("has no unit"), "{error}");
    }

    #[test]
    fn a_key_written_twice_and_broken_yaml_are_refused_with_their_place() {
        assert!(refused("interval: 1s\ninterval: 2s\n").starts_with("agent.yaml:2:1: "));
        assert!(refused("interval: 1s\nnamespaces: [a, b\n").starts_with("agent.yaml:"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load::<Agent>(Path::new("/nowhere/agent.yaml")).unwrap_err();
        assert_eq!(error.to_string(), "failed to read /nowhere/agent.yaml");
    }
}
