//! What was configured → segments of literals and placeholders. In: text. Out: a [`Template`], or what is wrong with it.

use std::{fmt, str::FromStr};

use super::is_allowed;

/// Read by [`str::parse`]; printed as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    written: String,
    pub(super) directories: Vec<Segment>,
    /// Of the last segment, without its extension.
    pub(super) name: Segment,
    /// With its dot; of the last segment, if that ends in a literal with one.
    pub(super) extension: String,
}

pub(super) type Segment = Vec<Part>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Literal(String),
    Placeholder(Placeholder),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    Benchmark,
    Namespace,
    Cluster,
    Job,
    Pod,
    Container,
    Attempt,
    Uid,
    Node,
    Date,
}

impl Placeholder {
    pub const ALL: [Self; 10] = [
        Self::Benchmark,
        Self::Namespace,
        Self::Cluster,
        Self::Job,
        Self::Pod,
        Self::Container,
        Self::Attempt,
        Self::Uid,
        Self::Node,
        Self::Date,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Benchmark => "benchmark",
            Self::Namespace => "namespace",
            Self::Cluster => "cluster",
            Self::Job => "job",
            Self::Pod => "pod",
            Self::Container => "container",
            Self::Attempt => "attempt",
            Self::Uid => "uid",
            Self::Node => "node",
            Self::Date => "date",
        }
    }

    fn find(name: &str) -> Result<Self, TemplateError> {
        Self::ALL
            .into_iter()
            .find(|placeholder| placeholder.as_str() == name)
            .ok_or_else(|| TemplateError::Unknown { name: name.to_owned() })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("{{{name}}} is not a placeholder; there are {}", all())]
    Unknown { name: String },
    #[error("the brace before '{after}' is never closed")]
    Unclosed { after: String },
    #[error("the closing brace after '{before}' was never opened")]
    Unopened { before: String },
    #[error("'{character}' in '{segment}' cannot be part of a key: letters, digits and . _ = @ + - can")]
    Character { character: char, segment: String },
    #[error("segment {number} is empty; write it without a slash at the beginning or the end, or two in a row")]
    EmptySegment { number: usize },
    #[error("segment '{segment}' means a directory, not a name")]
    Dots { segment: String },
    #[error("without {{pod}} and {{uid}} all pods of a job would have one key")]
    NoPod,
}

fn all() -> String {
    Placeholder::ALL.map(|placeholder| format!("{{{}}}", placeholder.as_str())).join(" ")
}

impl Template {
    pub(super) fn has(&self, wanted: Placeholder) -> bool {
        self.directories.iter().chain([&self.name]).flatten().any(|part| *part == Part::Placeholder(wanted))
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(written: &str) -> Result<Self, TemplateError> {
        let mut segments = written.split('/').enumerate().map(|(n, text)| segment(n + 1, text)).collect::<Result<Vec<_>, _>>()?;
        let mut name = segments.pop().unwrap_or_default();
        let extension = split_extension(&mut name);
        let template = Self { written: written.to_owned(), directories: segments, name, extension };
        if !template.has(Placeholder::Pod) && !template.has(Placeholder::Uid) {
            return Err(TemplateError::NoPod);
        }
        Ok(template)
    }
}

impl Default for Template {
    fn default() -> Self {
        let directories = [Placeholder::Benchmark, Placeholder::Cluster, Placeholder::Job];
        Self {
            written: "{benchmark}/{cluster}/{job}/{pod}.log".to_owned(),
            directories: directories.map(|placeholder| vec![Part::Placeholder(placeholder)]).to_vec(),
            name: vec![Part::Placeholder(Placeholder::Pod)],
            extension: ".log".to_owned(),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.written)
    }
}

fn segment(number: usize, text: &str) -> Result<Segment, TemplateError> {
    if text.is_empty() {
        return Err(TemplateError::EmptySegment { number });
    }
    if text.bytes().all(|byte| byte == b'.') {
        return Err(TemplateError::Dots { segment: text.to_owned() });
    }
    let (mut parts, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (literal, after) = rest.split_at(rest.find(['{', '}']).unwrap_or(rest.len()));
        if let Some(character) = literal.chars().find(|character| !is_allowed(*character)) {
            return Err(TemplateError::Character { character, segment: text.to_owned() });
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.to_owned()));
        }
        rest = match after.strip_prefix('{') {
            Some(opened) => {
                let unclosed = || TemplateError::Unclosed { after: opened.to_owned() };
                let (name, rest) = opened.split_once('}').ok_or_else(unclosed)?;
                parts.push(Part::Placeholder(Placeholder::find(name)?));
                rest
            }
            None if after.is_empty() => after,
            None => return Err(TemplateError::Unopened { before: literal.to_owned() }),
        };
    }
    Ok(parts)
}

/// The last dot of a literal at the end of the last segment, and what follows.
fn split_extension(name: &mut Segment) -> String {
    let Some(Part::Literal(literal)) = name.last_mut() else { return String::new() };
    let Some(dot) = literal.rfind('.') else { return String::new() };
    let extension = literal.split_off(dot);
    if literal.is_empty() {
        name.pop();
    }
    extension
}
