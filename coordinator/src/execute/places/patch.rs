//! The JSON patches (RFC 6902) of a place. In: the object as it was read, the place, the restriction. Out: operations that only
//! succeed on that very object in that very state, or why there are none. Pure.

use jobmeter_decide::pool::Kind;
use jobmeter_protocol::PoolSlot;
use jobmeter_protocol::pools::{POOL_GATE, SLOT_ANNOTATION, SUSPENDED_ANNOTATION};
use serde_json::{Value, json};

use super::surroundings::Restriction;

/// Why an object is not patched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Not {
    /// It is another object of the same name.
    Another,
    /// It is not what the ledger took it for: somebody has to look.
    Changed(String),
    Refused(String),
}

const ANNOTATIONS: &str = "/metadata/annotations";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// Writes the place onto an object that is still held back.
pub(super) fn reserve(kind: Kind, object: &Value, uid: &str, slot: &PoolSlot) -> Result<Value, Not> {
    let mut patch = Patch::of(object, uid)?;
    if let Some(there) = written(object)
        && there.epoch > slot.epoch
    {
        return Err(Not::Refused(format!(
            "a coordinator of epoch {} has given it a place; this one is of {}",
            there.epoch, slot.epoch
        )));
    }
    patch.held(kind)?;
    let text = serde_json::to_string(slot).map_err(|err| Not::Refused(format!("the place cannot be written: {err}")))?;
    if object.pointer(ANNOTATIONS).is_some_and(Value::is_object) {
        patch.push("add", &format!("{ANNOTATIONS}/{}", escaped(SLOT_ANNOTATION)), json!(text));
    } else {
        patch.unchanged()?;
        patch.push("add", ANNOTATIONS, json!({SLOT_ANNOTATION: text}));
    }
    Ok(patch.done())
}

/// Lets go an object that has the place written on it.
pub(super) fn release(kind: Kind, object: &Value, uid: &str, slot: &PoolSlot, restriction: &Restriction) -> Result<Value, Not> {
    let mut patch = Patch::of(object, uid)?;
    let path = format!("{ANNOTATIONS}/{}", escaped(SLOT_ANNOTATION));
    if written(object).as_ref() != Some(slot) {
        return Err(Not::Changed(format!("the annotation {SLOT_ANNOTATION} is not the place that was given")));
    }
    // The text itself: another release of ours may have written the same place in another way.
    patch.test(&path)?;
    let held = patch.held(kind)?;
    match kind {
        Kind::Pod => {
            patch.restrict("/spec", restriction)?;
            patch.remove(&held);
        }
        Kind::Job => {
            patch.restrict("/spec/template/spec", restriction)?;
            patch.push("replace", "/spec/suspend", json!(false));
            patch.remove(&held);
        }
    }
    Ok(patch.done())
}

struct Patch<'a> {
    object: &'a Value,
    operations: Vec<Value>,
}

impl<'a> Patch<'a> {
    fn of(object: &'a Value, uid: &str) -> Result<Self, Not> {
        let mut patch = Self { object, operations: Vec::new() };
        if object.pointer("/metadata/uid").and_then(Value::as_str) != Some(uid) {
            return Err(Not::Another);
        }
        patch.push("test", "/metadata/uid", json!(uid));
        Ok(patch)
    }

    fn push(&mut self, op: &str, path: &str, value: Value) {
        self.operations.push(json!({"op": op, "path": path, "value": value}));
    }

    fn remove(&mut self, path: &str) {
        self.operations.push(json!({"op": "remove", "path": path}));
    }

    /// What is there now must still be there.
    fn test(&mut self, path: &str) -> Result<(), Not> {
        let value = self.object.pointer(path).ok_or_else(|| Not::Changed(format!("it has no {path}")))?;
        self.push("test", path, value.clone());
        Ok(())
    }

    /// For what RFC 6902 has no test: that something is not there.
    fn unchanged(&mut self) -> Result<(), Not> {
        self.test("/metadata/resourceVersion")
    }

    /// Tests that it is held back by us, and returns the path whose removal says that it is not any more.
    fn held(&mut self, kind: Kind) -> Result<String, Not> {
        match kind {
            Kind::Pod => {
                let gates = self.object.pointer("/spec/schedulingGates").and_then(Value::as_array);
                let ours = gates.and_then(|gates| gates.iter().position(|gate| gate["name"] == POOL_GATE));
                let index = ours.ok_or_else(|| Not::Changed(format!("it has no gate {POOL_GATE} any more")))?;
                self.test(&format!("/spec/schedulingGates/{index}/name"))?;
                Ok(format!("/spec/schedulingGates/{index}"))
            }
            Kind::Job => {
                if self.object.pointer("/spec/suspend") != Some(&json!(true)) {
                    return Err(Not::Changed("it is not suspended any more".to_owned()));
                }
                self.test("/spec/suspend")?;
                let ours = format!("{ANNOTATIONS}/{}", escaped(SUSPENDED_ANNOTATION));
                self.test(&ours)?;
                Ok(ours)
            }
        }
    }

    /// Kubernetes lets the required node affinity of what is held back only become stricter: a first term may be set, and terms
    /// that are there may get more to ask for.
    fn restrict(&mut self, spec: &str, restriction: &Restriction) -> Result<(), Not> {
        if restriction.is_empty() {
            return Ok(());
        }
        let terms = format!("{spec}/affinity/nodeAffinity/{REQUIRED}/nodeSelectorTerms");
        if let Some(written) = self.object.pointer(&terms).and_then(Value::as_array).filter(|terms| !terms.is_empty()) {
            let stricter: Vec<Value> = written.iter().map(|term| stricter(term, restriction)).collect();
            self.test(&terms)?;
            self.push("replace", &terms, json!(stricter));
            return Ok(());
        }
        self.unchanged()?;
        let required = json!({"nodeSelectorTerms": [restriction.term()]});
        let present = |path: &str| self.object.pointer(path).is_some_and(Value::is_object);
        if present(&format!("{spec}/affinity/nodeAffinity")) {
            self.push("add", &format!("{spec}/affinity/nodeAffinity/{REQUIRED}"), required);
        } else if present(&format!("{spec}/affinity")) {
            self.push("add", &format!("{spec}/affinity/nodeAffinity"), json!({REQUIRED: required}));
        } else {
            self.push("add", &format!("{spec}/affinity"), json!({"nodeAffinity": {REQUIRED: required}}));
        }
        Ok(())
    }

    fn done(self) -> Value {
        Value::Array(self.operations)
    }
}

fn stricter(term: &Value, restriction: &Restriction) -> Value {
    let mut term = term.clone();
    // It matches no node, and Kubernetes refuses to give it more.
    if term.as_object().is_some_and(serde_json::Map::is_empty) {
        return term;
    }
    for (key, more) in [("matchExpressions", &restriction.expressions), ("matchFields", &restriction.fields)] {
        if more.is_empty() {
            continue;
        }
        match term.get_mut(key).and_then(Value::as_array_mut) {
            Some(there) => there.extend(more.iter().cloned()),
            None => term[key] = json!(more),
        }
    }
    term
}

fn written(object: &Value) -> Option<PoolSlot> {
    let text = object.pointer(ANNOTATIONS)?.get(SLOT_ANNOTATION)?.as_str()?;
    serde_json::from_str(text).ok()
}

/// A key as a part of a path (RFC 6901).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests;
