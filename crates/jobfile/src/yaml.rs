//! YAML text to documents of nodes that know their place. Text in, [`Node`]s out; no schema.
//!
//! Serde's view of YAML loses the place of unknown keys and of values of the wrong type, so this goes by parser events.
//! Scalars are typed as `kubectl` reads them: YAML 1.1 booleans count, because a cluster would refuse them as strings.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span};

use crate::findings::{Place, Problem};

/// Aliases are copied in; this bounds what a few lines of them can grow to.
const MAX_NODES: usize = 200_000;
/// A manifest nests about 12 deep.
const MAX_DEPTH: usize = 64;

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) place: Place,
}

/// The documents of a stream; empty ones are left out.
pub(crate) fn documents(text: &str) -> Result<Vec<Node>, Problem> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => builder.event(event, place(span))?,
            Err(error) => {
                let at = Place { line: error.marker().line(), column: error.marker().col() + 1 };
                return Err(problem(at, error.info()));
            }
        }
    }
    Ok(builder.documents)
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, Extent)>,
    nodes: usize,
}

/// How much a node holds, itself included.
#[derive(Clone, Copy)]
struct Extent {
    nodes: usize,
    depth: usize,
}

const SCALAR: Extent = Extent { nodes: 1, depth: 1 };

/// A collection whose end has not come yet.
struct Open {
    place: Place,
    anchor: usize,
    content: Content,
    nodes_before: usize,
    /// Of the deepest child so far.
    depth: usize,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, key: Option<Key> },
}

impl Builder {
    fn event(&mut self, event: Event<'_>, at: Place) -> Result<(), Problem> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let forced_text = style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.core_suffix() == Some("str"));
                let value = if forced_text { Value::Text(text.into_owned()) } else { plain(&text) };
                let node = Node { place: at, value };
                if anchor != 0 {
                    self.anchors.insert(anchor, (node.clone(), SCALAR));
                }
                self.add(node, SCALAR)
            }
            Event::Alias(anchor) => {
                let Some((_, extent)) = self.anchors.get(&anchor) else {
                    return Err(problem(at, "an alias inside its own anchor has no end"));
                };
                self.make_room(at, *extent)?;
                match self.anchors.get(&anchor).cloned() {
                    Some((node, extent)) => self.add(node, extent),
                    None => Ok(()),
                }
            }
            Event::SequenceStart(_, anchor, _) => self.open(at, anchor, Content::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => self.open(at, anchor, Content::Map { entries: Vec::new(), key: None }),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, place: Place, anchor: usize, content: Content) -> Result<(), Problem> {
        self.make_room(place, SCALAR)?;
        self.open.push(Open { place, anchor, content, nodes_before: self.nodes, depth: 0 });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        let Some(Open { place, anchor, content, nodes_before, depth }) = self.open.pop() else { return Ok(()) };
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(merged(entries)?),
        };
        let node = Node { place, value };
        let depth = depth + 1;
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), Extent { nodes: self.nodes - nodes_before + 1, depth }));
        }
        // Its children are counted already.
        self.add(node, Extent { nodes: 1, depth })
    }

    /// Both limits, before anything is copied.
    fn make_room(&self, at: Place, extent: Extent) -> Result<(), Problem> {
        if self.nodes + extent.nodes > MAX_NODES {
            return Err(problem(at, format!("more than {MAX_NODES} values, aliases counted as what they stand for")));
        }
        if self.open.len() + extent.depth > MAX_DEPTH {
            return Err(problem(at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(())
    }

    fn add(&mut self, node: Node, extent: Extent) -> Result<(), Problem> {
        self.make_room(node.place, extent)?;
        self.nodes += extent.nodes;
        if let Some(open) = self.open.last_mut() {
            open.depth = open.depth.max(extent.depth);
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None if matches!(node.value, Value::Null) => {}
            None => self.documents.push(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key }) => match key.take() {
                Some(name) => entries.push((name, node)),
                None => *key = Some(self::key(node, entries)?),
            },
        }
        Ok(())
    }
}

fn key(node: Node, entries: &[(Key, Node)]) -> Result<Key, Problem> {
    let name = match node.value {
        Value::Text(name) | Value::Number(name) => name,
        Value::Bool(value) => value.to_string(),
        Value::Null => "null".to_owned(),
        Value::List(_) | Value::Map(_) => return Err(problem(node.place, "a key must be a plain word, not a list or a map")),
    };
    if let Some((first, _)) = entries.iter().find(|(key, _)| key.name == name) {
        return Err(problem(node.place, format!("key `{name}` is given twice (first on line {})", first.place.line)));
    }
    Ok(Key { name, place: node.place })
}

/// `<<: *anchor`: keys that the map does not have itself.
fn merged(entries: Vec<(Key, Node)>) -> Result<Vec<(Key, Node)>, Problem> {
    let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| key.name == "<<");
    for (key, node) in merges {
        let sources = match node.value {
            Value::List(items) => items,
            _ => vec![node],
        };
        for source in sources {
            let Value::Map(more) = source.value else {
                return Err(problem(key.place, "`<<` merges maps only"));
            };
            for (key, node) in more {
                if !own.iter().any(|(have, _)| have.name == key.name) {
                    own.push((key, node));
                }
            }
        }
    }
    Ok(own)
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ if is_number(text) => Value::Number(text.to_owned()),
        _ => Value::Text(text.to_owned()),
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(hex) = digits.strip_prefix("0x") {
        return !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
    }
    // `parse` also takes `inf` and `nan` without the dot, which YAML reads as words.
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && digits.parse::<f64>().is_ok()
}

fn place(span: Span) -> Place {
    Place { line: span.start.line(), column: span.start.col() + 1 }
}

fn problem(place: Place, what: impl Into<String>) -> Problem {
    Problem { place, path: String::new(), what: what.into() }
}
