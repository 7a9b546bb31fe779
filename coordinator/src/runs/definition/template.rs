//! The pod template: Go's `text/template`, with the three fields that batch-job-controller gives it. Pure.
//!
//! In: the template and the fields. Out: the pod's manifest, of which it is known that the API server can read it. What a template can
//! cost is bounded: it is written by those who may make pods, and read by a process that others depend on.

use std::fmt;

use gotmpl::{MissingKey, Template, tmap};

mod blocks;
mod bounds;
mod comments;
mod manifest;

/// What a template may use.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    pub namespace: &'a str,
    pub execution_id: &'a str,
    pub node_name: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pod template cannot be used: {why}")]
pub struct TemplateError {
    pub why: String,
}

/// Of a rendered manifest.
pub const MAX_MANIFEST_BYTES: usize = 1 << 20;

/// What Go prints for a value that is not there.
const NO_VALUE: &str = "<no value>";

/// In the template's own errors, before line and column.
const NAME: &str = "pod-template";

/// The pod's manifest, as a JSON value.
pub fn render(template: &str, fields: Fields<'_>) -> Result<serde_json::Value, TemplateError> {
    text(template, fields).and_then(|text| manifest::read(&text)).map_err(|why| TemplateError { why })
}

fn text(written: &str, fields: Fields<'_>) -> Result<String, String> {
    let template = comments::trimmed_as_go_does(written);
    blocks::check(&template)?;
    bounds::check(&template)?;
    let parsed = bounds::functions(Template::new(NAME))
        .missing_key(MissingKey::Error)
        .max_range_iters(bounds::MAX_ITERATIONS)
        .parse(&template)
        .map_err(|err| err.to_string())?;
    let data = tmap! {
        "Namespace" => fields.namespace,
        "ExecutionID" => fields.execution_id,
        "NodeName" => fields.node_name,
    };
    let mut rendered = Bounded(String::new());
    parsed.execute_fmt(&mut rendered, &data).map_err(|err| match err {
        gotmpl::TemplateError::Write => format!("it grows beyond {MAX_MANIFEST_BYTES} bytes"),
        gotmpl::TemplateError::MissingKey { key } => {
            format!("there is no field .{key}: there are .Namespace, .ExecutionID and .NodeName")
        }
        other => other.to_string(),
    })?;
    // `index` of a field that is not there is nothing, and no error.
    if rendered.0.contains(NO_VALUE) && !written.contains(NO_VALUE) {
        return Err("it prints a value that is not there: there are .Namespace, .ExecutionID and .NodeName".to_owned());
    }
    Ok(rendered.0)
}

struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_MANIFEST_BYTES {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
