//! YAML → a pod's manifest. In: rendered text. Out: JSON that the API server can read, or what is wrong with it.

use k8s_openapi::api::core::v1::Pod;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_saphyr::{MessageFormatter, UserMessageFormatter};

use crate::runs::definition::yaml::{self, Document};

pub(super) fn read(text: &str) -> Result<Value, String> {
    let documents = yaml::documents(text);
    let document = match documents.as_slice() {
        [] => return Err("it is no pod's manifest: it has no keys".to_owned()),
        [document] => document,
        _ => return Err("it is more than one YAML document: it makes one pod".to_owned()),
    };
    let mut manifest: Value = parse(document)?;
    let Value::Object(keys) = &manifest else { return Err("it is no pod's manifest: it has no keys".to_owned()) };
    for (key, expected) in [("apiVersion", "v1"), ("kind", "Pod")] {
        match keys.get(key) {
            None => {}
            Some(Value::String(found)) if found == expected => {}
            Some(other) => return Err(format!("its {key} is {other} and not {expected:?}")),
        }
    }
    let containers = manifest.pointer("/spec/containers").and_then(Value::as_array);
    if containers.is_none_or(Vec::is_empty) {
        return Err("it has no spec.containers".to_owned());
    }
    // What is of the wrong type is told here and not by the API server for each node.
    let typed: Pod = parse(document)?;
    let typed = serde_json::to_value(&typed).map_err(|err| format!("failed to read it as a pod: {err}"))?;
    prefer(&mut manifest, &typed);
    Ok(manifest)
}

/// As Kubernetes reads YAML: `0644` is octal, `yes` is true.
fn parse<T: DeserializeOwned>(document: &Document<'_>) -> Result<T, String> {
    let options = serde_saphyr::options! { with_snippet: false, legacy_octal_numbers: true };
    serde_saphyr::from_str_with_options(document.text(), options).map_err(|error| {
        let line = error.location().map(|at| at.line() + document.lines_before());
        let place = line.map_or_else(String::new, |line| format!("line {line} of what it makes: "));
        format!("{place}{}", UserMessageFormatter.format_message(error.without_snippet()))
    })
}

/// `value: 5` is a text where a pod has texts, as for Go. Fields that these types do not know stay as they are written.
fn prefer(written: &mut Value, typed: &Value) {
    match (written, typed) {
        (Value::Object(written), Value::Object(typed)) => {
            for (key, value) in written {
                if let Some(typed) = typed.get(key) {
                    prefer(value, typed);
                }
            }
        }
        (Value::Array(written), Value::Array(typed)) => {
            written.iter_mut().zip(typed).for_each(|(written, typed)| prefer(written, typed));
        }
        (
            written @ (Value::Bool(_) | Value::Number(_) | Value::String(_)),
            Value::String(_) | Value::Bool(_) | Value::Number(_),
        ) => {
            *written = typed.clone();
        }
        _ => {}
    }
}
