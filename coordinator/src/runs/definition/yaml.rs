//! YAML documents as nodes that know their place, so that everything that is wrong with a definition can be told at once, and a key
//! that nobody knows with its line. Text in, [`Node`]s out.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer};
use serde_json::Number;
use serde_saphyr::{Location, MessageFormatter, Spanned, UserMessageFormatter};

/// Both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Place, Node)>),
}

/// One document of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Document<'a> {
    /// Of the file before it.
    lines_before: u64,
    text: &'a str,
}

/// Those of a text that hold something. Each is parsed by itself: one that is broken leaves the others whole.
pub(super) fn documents(text: &str) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    let (mut begin, mut begin_line, mut at) = (0, 0, 0);
    for (line, content) in (0..).zip(text.split_inclusive('\n')) {
        // Nothing else can begin a line so: inside of scalars too it would end the document.
        let marker = content.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if marker {
            documents.push(Document { lines_before: begin_line, text: &text[begin..at] });
            (begin, begin_line) = (at, line);
        }
        at += content.len();
    }
    documents.push(Document { lines_before: begin_line, text: &text[begin..] });
    documents.retain(Document::has_content);
    documents
}

impl<'a> Document<'a> {
    pub(super) const fn text(&self) -> &'a str {
        self.text
    }

    pub(super) const fn lines_before(&self) -> u64 {
        self.lines_before
    }

    fn has_content(&self) -> bool {
        let first = self.text.strip_prefix("---").unwrap_or(self.text);
        first.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with(['#', '%']) && line != "...")
    }

    pub(super) fn parse(&self) -> Result<Node, (Place, String)> {
        let options = serde_saphyr::options! { with_snippet: false };
        let mut node = serde_saphyr::from_str_with_options::<Node>(self.text, options).map_err(|error| {
            let at = error.location().map_or(Place { line: 1, column: 1 }, Place::from);
            (at.later(self.lines_before), UserMessageFormatter.format_message(error.without_snippet()).into_owned())
        })?;
        node.move_down(self.lines_before);
        Ok(node)
    }
}

impl Place {
    const fn later(self, lines: u64) -> Self {
        Self { line: self.line + lines, column: self.column }
    }
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Node {
    fn move_down(&mut self, lines: u64) {
        self.place = self.place.later(lines);
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.move_down(lines)),
            Value::Map(entries) => {
                for (_, place, value) in entries {
                    *place = place.later(lines);
                    value.move_down(lines);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
        }
    }

    /// A scalar as a text, as Go's YAML gives it where a text is wanted.
    pub(super) fn plain(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { place: spanned.referenced.into(), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> de::Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number).map(Value::Number).ok_or_else(|| E::custom("a number without end"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Spanned<String>, Node>()? {
            map.push((key.value, key.referenced.into(), value));
        }
        Ok(Value::Map(map))
    }
}
