//! The operations of a JSON patch (RFC 6902) on one object, which leave everything else as it is.

use kube::core::DynamicObject;
use serde_json::{Value, json};

#[derive(Debug, Default)]
pub(super) struct Changes(Vec<Value>);

impl Changes {
    /// Replaces what is there.
    pub(super) fn add(&mut self, path: &str, value: Value) {
        self.0.push(json!({ "op": "add", "path": path, "value": value }));
    }

    /// Removes an annotation that is there.
    pub(super) fn strip(&mut self, object: &DynamicObject, annotation: &str) {
        let there = object.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(annotation));
        if there {
            self.0.push(json!({ "op": "remove", "path": annotation_path(annotation) }));
        }
    }

    pub(super) fn annotate(&mut self, object: &DynamicObject, annotation: &str, value: &str) {
        // A patch adds into what is there; `null` is not.
        if object.metadata.annotations.is_none() {
            self.add("/metadata/annotations", json!({ annotation: value }));
        } else {
            self.add(&annotation_path(annotation), json!(value));
        }
    }

    /// `None` without any.
    pub(super) fn operations(self) -> Option<Value> {
        (!self.0.is_empty()).then_some(Value::Array(self.0))
    }
}

fn annotation_path(annotation: &str) -> String {
    format!("/metadata/annotations/{}", annotation.replace('~', "~0").replace('/', "~1"))
}
