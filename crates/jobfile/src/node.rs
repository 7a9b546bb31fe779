//! Typed access to [`Node`]s: each reading either gives the value or adds one problem with place and path.

use std::collections::BTreeMap;

use crate::findings::{Findings, Place};
use crate::yaml::{Key, Node, Value};

/// A value and where it stands in its document.
#[derive(Clone)]
pub(crate) struct At<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: String,
}

/// A map that is being read: what nobody asked for is told of in [`Fields::finish`].
pub(crate) struct Fields<'a> {
    place: Place,
    path: String,
    rest: Vec<&'a (Key, Node)>,
    asked: Vec<&'static str>,
}

/// Fields that a cluster honours and one machine does not, with what to know about it; empty for the usual sentence.
pub(crate) type NotHonoured = [(&'static str, &'static str)];

impl<'a> At<'a> {
    pub(crate) fn root(node: &'a Node) -> Self {
        Self { node, path: String::new() }
    }

    pub(crate) fn problem(&self, findings: &mut Findings, what: impl Into<String>) {
        findings.problem(self.node.place, &self.path, what);
    }

    /// Says that the field has no effect. Fields of the same schema path count as the same one.
    pub(crate) fn notice(&self, findings: &mut Findings, what: &str) {
        findings.notice(schema_path(&self.path), self.node.place, &self.path, what);
    }

    pub(crate) fn fields(&self, findings: &mut Findings) -> Option<Fields<'a>> {
        match &self.node.value {
            Value::Map(entries) => Some(Fields {
                place: self.node.place,
                path: self.path.clone(),
                rest: entries.iter().collect(),
                asked: Vec::new(),
            }),
            _ => self.wrong(findings, "a map"),
        }
    }

    pub(crate) fn items(&self, findings: &mut Findings) -> Option<Vec<At<'a>>> {
        match &self.node.value {
            Value::List(items) => {
                Some(items.iter().enumerate().map(|(i, node)| At { node, path: format!("{}[{i}]", self.path) }).collect())
            }
            _ => self.wrong(findings, "a list"),
        }
    }

    pub(crate) fn text(&self, findings: &mut Findings) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            Value::Bool(_) | Value::Number(_) => {
                self.problem(findings, format!("must be a string, is {}; put it in quotes", self.kind()));
                None
            }
            _ => self.wrong(findings, "a string"),
        }
    }

    pub(crate) fn flag(&self, findings: &mut Findings) -> Option<bool> {
        match &self.node.value {
            Value::Bool(value) => Some(*value),
            _ => self.wrong(findings, "true or false"),
        }
    }

    /// A whole number that Kubernetes keeps in 32 (or for seconds 64) bits and that has no meaning below `least`.
    /// A whole number that may be negative.
    pub(crate) fn signed(&self, findings: &mut Findings) -> Option<i32> {
        let number = match &self.node.value {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        };
        if number.is_none() {
            return self.wrong(findings, "a whole number between -2147483648 and 2147483647");
        }
        number
    }

    pub(crate) fn whole(&self, least: u32, findings: &mut Findings) -> Option<u32> {
        let Value::Number(text) = &self.node.value else {
            return self.wrong(findings, "a whole number");
        };
        match text.parse::<i64>() {
            Ok(_) if text.trim_start_matches(['-', '+']).starts_with('0') && text.len() > 1 => {
                self.problem(findings, format!("write {text} without a leading 0: some readers take it as octal"));
                None
            }
            Ok(value) if value < i64::from(least) => {
                self.problem(findings, format!("must be {least} or more, is {value}"));
                None
            }
            Ok(value) => match i32::try_from(value) {
                Ok(value) => u32::try_from(value).ok(),
                Err(_) => {
                    self.problem(findings, format!("{value} is too large"));
                    None
                }
            },
            Err(_) => self.wrong(findings, "a whole number"),
        }
    }

    /// Quantities may be written as numbers or as strings.
    pub(crate) fn number_or_text(&self, findings: &mut Findings) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) | Value::Number(text) => Some(text),
            _ => self.wrong(findings, "a quantity such as 500m or 64Mi"),
        }
    }

    pub(crate) fn texts(&self, findings: &mut Findings) -> Option<Vec<String>> {
        let items = self.items(findings)?;
        let texts: Vec<_> = items.iter().map(|item| item.text(findings).map(str::to_owned)).collect();
        texts.into_iter().collect()
    }

    /// Labels and annotations.
    pub(crate) fn text_map(&self, findings: &mut Findings) -> Option<BTreeMap<String, String>> {
        let Value::Map(entries) = &self.node.value else { return self.wrong(findings, "a map of strings") };
        let mut map = BTreeMap::new();
        for (key, node) in entries {
            let at = At { node, path: format!("{}[{}]", self.path, key.name) };
            if let Some(text) = at.text(findings) {
                map.insert(key.name.clone(), text.to_owned());
            }
        }
        Some(map)
    }

    fn wrong<T>(&self, findings: &mut Findings, expected: &str) -> Option<T> {
        self.problem(findings, format!("must be {expected}, is {}", self.kind()));
        None
    }

    fn kind(&self) -> String {
        match &self.node.value {
            Value::Null => "empty".to_owned(),
            Value::Bool(value) => format!("a boolean ({value})"),
            Value::Number(text) => format!("a number ({text})"),
            Value::Text(text) if text.len() <= 40 => format!("a string ({text:?})"),
            Value::Text(_) => "a string".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }
}

impl<'a> Fields<'a> {
    /// The field's value; `null` is as good as absent.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<At<'a>> {
        self.asked.push(name);
        let found = self.rest.iter().position(|(key, _)| key.name == name)?;
        let (key, node) = self.rest.swap_remove(found);
        (!matches!(node.value, Value::Null)).then(|| At { node, path: join(&self.path, &key.name) })
    }

    pub(crate) fn require(&mut self, name: &'static str, findings: &mut Findings) -> Option<At<'a>> {
        let found = self.take(name);
        if found.is_none() {
            findings.problem(self.place, &join(&self.path, name), "is required");
        }
        found
    }

    pub(crate) fn finish(self, not_honoured: &NotHonoured, findings: &mut Findings) {
        for (key, node) in self.rest {
            let path = join(&self.path, &key.name);
            match not_honoured.iter().find(|(name, _)| *name == key.name) {
                // Written out but empty: nothing that could be missed.
                Some(_) if is_empty(node) => {}
                Some((_, why)) => {
                    let what = if why.is_empty() { "has no effect on one machine" } else { why };
                    findings.notice(schema_path(&path), key.place, &path, what);
                }
                None => {
                    let known = self.asked.iter().chain(not_honoured.iter().map(|(name, _)| name));
                    findings.problem(key.place, &path, unknown(&key.name, known));
                }
            }
        }
    }
}

impl Fields<'_> {
    /// For maps whose keys are open (resource names): all that is left is told of, none is wrong.
    pub(crate) fn finish_open(self, why: &str, findings: &mut Findings) {
        for (key, _) in self.rest {
            let path = join(&self.path, &key.name);
            findings.notice(schema_path(&path), key.place, &path, why);
        }
    }
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Null => true,
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        _ => false,
    }
}

fn unknown<'n>(name: &str, known: impl Iterator<Item = &'n &'static str>) -> String {
    match known.map(|known| (distance(name, known), known)).min() {
        Some((edits, known)) if edits <= 3 && edits * 2 < name.len() => format!("unknown field; did you mean `{known}`?"),
        _ => "unknown field".to_owned(),
    }
}

/// Levenshtein, upper and lower case being equal.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.to_lowercase().chars().collect(), b.to_lowercase().chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// `spec.initContainers[3].env[0]` → `spec.containers[].env[]`: the same field, wherever it stands.
fn schema_path(path: &str) -> String {
    let mut schema = String::with_capacity(path.len());
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => {
                inside = true;
                schema.push_str("[]");
            }
            ']' => inside = false,
            _ if inside => {}
            c => schema.push(c),
        }
    }
    schema.replace(".initContainers[]", ".containers[]")
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
