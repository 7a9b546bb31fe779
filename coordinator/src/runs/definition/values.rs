//! Single values of a definition: what is written, or what is wrong with it, as the end of a sentence that names the key.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jobmeter_daemon::config::HumanDuration;

use super::section::Wrong;
use super::yaml::{Node, Value};
use crate::config::pools;

/// It begins the names of pods: `<name>-job-<node>-<run>` has 63 characters at most.
const MAX_NAME: usize = 40;

pub(super) fn text(node: &Node) -> Result<String, Wrong> {
    node.plain().ok_or_else(|| "is no text".to_owned())
}

pub(super) fn boolean(node: &Node) -> Result<bool, Wrong> {
    match node.value {
        Value::Bool(value) => Ok(value),
        _ => Err("is neither `true` nor `false`".to_owned()),
    }
}

pub(super) fn number(node: &Node) -> Result<u32, Wrong> {
    let number = match &node.value {
        Value::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        _ => None,
    };
    number.ok_or_else(|| format!("{} is no whole number from 0 to {}", shown(node), u32::MAX))
}

pub(super) fn at_least_one(node: &Node) -> Result<u32, Wrong> {
    match number(node)? {
        0 => Err("is 0; 1 is the least".to_owned()),
        number => Ok(number),
    }
}

/// 0 is none.
pub(super) fn port(node: &Node) -> Result<Option<u16>, Wrong> {
    let port = u16::try_from(number(node)?).map_err(|_| format!("{} is no port", shown(node)))?;
    Ok((port > 0).then_some(port))
}

pub(super) fn duration(node: &Node) -> Result<SignedDuration, Wrong> {
    let text = text(node)?;
    let duration: HumanDuration = text.parse().map_err(|why| format!("{why}"))?;
    SignedDuration::try_from(duration.0).map_err(|_| format!("`{text}` is too long"))
}

/// `0s` is none.
pub(super) fn limit(node: &Node) -> Result<Option<SignedDuration>, Wrong> {
    duration(node).map(|limit| (!limit.is_zero()).then_some(limit))
}

/// Go's JSON has durations as nanoseconds.
pub(super) fn duration_or_nanoseconds(node: &Node) -> Result<SignedDuration, Wrong> {
    match &node.value {
        Value::Number(number) => match number.as_i64() {
            Some(nanoseconds @ 0..) => Ok(SignedDuration::from_nanos(nanoseconds)),
            _ => Err(format!("{number} is no number of nanoseconds; write it like `10s`")),
        },
        _ => duration(node),
    }
}

/// One of some words.
pub(super) fn word<T: Copy>(node: &Node, words: &[(&str, T)]) -> Result<T, Wrong> {
    let written = text(node)?;
    words.iter().find(|(word, _)| *word == written).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        format!("`{written}` is none of {}", words.join(", "))
    })
}

pub(super) fn name(node: &Node) -> Result<String, Wrong> {
    let name = dns_label(node)?;
    if name.len() <= MAX_NAME {
        return Ok(name);
    }
    Err(format!("`{name}` has {} characters; it begins the names of pods and may have {MAX_NAME}", name.len()))
}

pub(super) fn dns_label(node: &Node) -> Result<String, Wrong> {
    let text = text(node)?;
    if is_dns_label(&text) {
        return Ok(text);
    }
    Err(format!("`{text}` is no name: at most 63 lower case letters, digits and `-`, a letter or digit at both ends"))
}

pub(crate) fn is_dns_label(text: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.iter().all(|byte| plain(byte) || *byte == b'-')
        && bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
}

/// Such as that of a Secret.
fn object_name(text: &str) -> Result<(), Wrong> {
    if text.len() <= 253 && text.split('.').all(is_dns_label) { Ok(()) } else { Err(format!("`{text}` is no name of an object")) }
}

pub(super) fn labels(node: &Node) -> Result<BTreeMap<String, String>, Wrong> {
    let Value::Map(entries) = &node.value else { return Err("is no mapping of labels".to_owned()) };
    let mut labels = BTreeMap::new();
    for (key, _, value) in entries {
        pools::label_key(key)?;
        let value = text(value).map_err(|why| format!("`{key}` {why}"))?;
        if !value.is_empty() {
            pools::label_value(&value)?;
        }
        labels.insert(key.clone(), value);
    }
    Ok(labels)
}

/// Names as they are, or as `name` of a mapping: Kubernetes' `LocalObjectReference`.
pub(super) fn references(node: &Node) -> Result<Vec<String>, Wrong> {
    let Value::List(items) = &node.value else { return Err("is no list of names".to_owned()) };
    let mut names = Vec::new();
    for item in items {
        let name = match &item.value {
            Value::Map(entries) => match entries.as_slice() {
                [(key, _, value)] if key == "name" => text(value)?,
                _ => return Err("has an entry with other keys than `name`".to_owned()),
            },
            _ => text(item)?,
        };
        object_name(&name)?;
        names.push(name);
    }
    Ok(names)
}

pub(super) fn texts(node: &Node) -> Result<Vec<String>, Wrong> {
    let Value::List(items) = &node.value else { return Err("is no list".to_owned()) };
    items.iter().map(text).collect()
}

fn shown(node: &Node) -> String {
    node.plain().map_or_else(|| "this".to_owned(), |text| format!("`{text}`"))
}
