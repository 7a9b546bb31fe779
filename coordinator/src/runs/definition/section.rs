//! The keys of one mapping: each is taken once, and what nobody took is told. In: a [`Node`]. Out: values; lines of a [`Report`].

use std::collections::BTreeMap;
use std::fmt::Display;

use super::yaml::{Node, Place, Value};

/// What is wrong with a value, as the end of a sentence that names the key.
pub(super) type Wrong = String;

/// What is found of one file, or of one document of it.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Before line and column.
    pub(super) file: String,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Report {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), ..Self::default() }
    }

    pub(super) fn problem(&mut self, place: Place, key: &str, why: impl Display) {
        let line = self.line(place, key, why);
        self.problems.push(line);
    }

    pub(super) fn warning(&mut self, place: Place, key: &str, why: impl Display) {
        let line = self.line(place, key, why);
        self.warnings.push(line);
    }

    fn line(&self, place: Place, key: &str, why: impl Display) -> String {
        let colon = if key.is_empty() { "" } else { ": " };
        format!("{}:{place}: {key}{colon}{why}", self.file)
    }
}

/// What becomes of a key that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    Problem,
    /// Keys are then found whatever their case, as Go's JSON finds them.
    Warning,
}

pub(super) struct Section {
    /// Of the mapping itself.
    pub(super) place: Place,
    path: String,
    unknown: Unknown,
    entries: BTreeMap<String, (Place, Node)>,
    /// Those that were asked for.
    known: Vec<&'static str>,
}

impl Section {
    /// `path` ends with a dot, or is empty. What is no mapping is a problem, and stands for an empty one.
    pub(super) fn new(node: Node, path: &str, unknown: Unknown, report: &mut Report) -> Self {
        let place = node.place;
        let entries = match node.value {
            Value::Map(entries) => entries.into_iter().map(|(key, place, value)| (key, (place, value))).collect(),
            Value::Null => BTreeMap::new(),
            _ => {
                report.problem(place, path.trim_end_matches('.'), "is no mapping of keys");
                BTreeMap::new()
            }
        };
        Self { place, path: path.to_owned(), unknown, entries, known: Vec::new() }
    }

    /// The value, be it null, and the key's place.
    pub(super) fn take_written(&mut self, key: &'static str) -> Option<(Place, Node)> {
        self.known.push(key);
        if let Some(entry) = self.entries.remove(key) {
            return Some(entry);
        }
        if self.unknown == Unknown::Problem {
            return None;
        }
        let same = self.entries.keys().find(|written| written.eq_ignore_ascii_case(key))?.clone();
        self.entries.remove(&same)
    }

    /// Null is as good as absent.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node> {
        self.take_written(key).map(|(_, node)| node).filter(|node| !matches!(node.value, Value::Null))
    }

    /// The value, read; what is wrong with it is a problem of its place.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        report: &mut Report,
        read: impl FnOnce(&Node) -> Result<T, Wrong>,
    ) -> Option<T> {
        let node = self.take(key)?;
        read(&node).map_err(|why| report.problem(node.place, &self.name(key), why)).ok()
    }

    pub(super) fn name(&self, key: &str) -> String {
        format!("{}{key}", self.path)
    }

    /// Tells what nobody took.
    pub(super) fn finish(self, report: &mut Report) {
        for (key, (place, _)) in &self.entries {
            let name = self.name(key);
            if self.unknown == Unknown::Warning {
                report.warning(*place, &name, "is no key; batch-job-controller does not look at it either");
                continue;
            }
            match self.known.iter().find(|known| known.eq_ignore_ascii_case(key)) {
                Some(known) => report.problem(*place, &name, format_args!("is no key: write `{known}`")),
                None => report.problem(*place, &name, format_args!("is no key; there are {}", self.known.join(", "))),
            }
        }
    }
}
