//! Single values of the pools file: what is written, or what is wrong with it, as the end of a sentence that names the key.

use std::fmt;
use std::time::Duration;

use jobmeter_daemon::config::HumanDuration;
use jobmeter_decide::pool::placement::{Effect, Toleration};
use jobmeter_decide::pool::{Order, Size, StartRate};
use serde::de::{self, Deserialize, Deserializer};

use super::TolerationForm;

/// What is wrong.
pub(crate) type Wrong = String;

/// A number or a text as it was written, so that what is wrong with it is told together with everything else.
#[derive(Debug)]
pub(super) struct Plain(pub(super) String);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyPlain)
    }
}

struct AnyPlain;

impl de::Visitor<'_> for AnyPlain {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Plain, E> {
        Ok(Plain(text.to_owned()))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Plain, E> {
        Ok(Plain(number.to_string()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Plain, E> {
        Ok(Plain(number.to_string()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Plain, E> {
        Ok(Plain(number.to_string()))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Plain, E> {
        Ok(Plain(value.to_string()))
    }
}

pub(super) fn size(text: &str) -> Result<Size, Wrong> {
    let wrong = || format!("`{text}` is no size: write `8`, `25%` or `0`");
    match text.strip_suffix('%') {
        Some(percent) => match digits(percent) {
            Some(percent @ 1..=100) => Ok(Size::Percent(percent)),
            Some(0) => Err("`0%` means nothing: write `0` to hold everybody back".to_owned()),
            Some(_) => Err(format!("`{text}` is more than all nodes")),
            None => Err(wrong()),
        },
        None => digits(text).map(Size::Places).ok_or_else(wrong),
    }
}

pub(super) fn at_least_one(text: &str) -> Result<u32, Wrong> {
    digits(text).filter(|number| *number > 0).ok_or_else(|| format!("`{text}` is no number from 1 on"))
}

pub(super) fn start_rate(text: &str) -> Result<StartRate, Wrong> {
    let (starts, within) = text.split_once('/').ok_or_else(|| format!("`{text}` is no rate: write it like `5/1m`"))?;
    let starts = at_least_one(starts)?;
    let within: HumanDuration = within.parse().map_err(|why| format!("{why}"))?;
    if within.0 < Duration::from_secs(1) {
        return Err(format!("`{text}` counts starts within less than a second"));
    }
    Ok(StartRate { starts, within: within.0 })
}

pub(super) fn order(text: &str) -> Result<Order, Wrong> {
    match text {
        "fifo" => Ok(Order::Fifo),
        "fairShare" => Ok(Order::FairShare),
        _ => Err(format!("`{text}` is no order: write `fifo` or `fairShare`")),
    }
}

pub(super) fn toleration(form: TolerationForm) -> Result<Toleration, Wrong> {
    let exists = match form.operator.as_deref() {
        None | Some("Equal") => false,
        Some("Exists") => true,
        Some(other) => return Err(format!("`{other}` is no operator: write `Equal` or `Exists`")),
    };
    if form.key.is_empty() && !exists {
        return Err("has no key: only `operator: Exists` may leave it out".to_owned());
    }
    if exists && !form.value.is_empty() {
        return Err("has a value, which `operator: Exists` does not look at".to_owned());
    }
    let effect = match form.effect.as_deref() {
        None | Some("") => None,
        Some("NoSchedule") => Some(Effect::NoSchedule),
        Some("PreferNoSchedule") => Some(Effect::PreferNoSchedule),
        Some("NoExecute") => Some(Effect::NoExecute),
        Some(other) => return Err(format!("`{other}` is no effect: write `NoSchedule`, `PreferNoSchedule` or `NoExecute`")),
    };
    Ok(Toleration { key: form.key, exists, value: form.value, effect })
}

/// Pods name their pool in a label.
pub(crate) fn label_value(text: &str) -> Result<(), Wrong> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let fits = bytes.len() <= 63 && bytes.iter().copied().all(inner) && ends(bytes.first()) && ends(bytes.last());
    if fits {
        return Ok(());
    }
    Err(format!("`{text}` is no label value: at most 63 letters, digits, `-`, `_` and `.`, a letter or digit at both ends"))
}

pub(crate) fn label_key(text: &str) -> Result<(), Wrong> {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let prefix_fits = prefix.is_none_or(crate::ingest::valid_name);
    if prefix_fits && label_value(name).is_ok() { Ok(()) } else { Err(format!("`{text}` is no label key")) }
}

fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
