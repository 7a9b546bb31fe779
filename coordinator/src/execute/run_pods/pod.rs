//! The pod of one node: what the template says, and over it what makes it a pod of its run. Pure.
//!
//! In: the rendered template, the decision to make the pod, where its reports go. Out: the manifest for the API server, as raw JSON, so
//! that nothing of a newer Kubernetes is lost on the way.

use jobmeter_decide::runs::CreatePod;
use jobmeter_protocol::pools::{POOL_GATE, POOL_LABEL, SLOT_ANNOTATION};
use jobmeter_protocol::runs::{EXECUTION_LABEL, OWNER_LABEL, Placement, PodTask, RUN_LABEL, TASK_ANNOTATION};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Map, Value, json};

use super::environment::{self, Callbacks};

/// No scheduler's name: the pod is bound by us.
pub(super) const BOUND: &str = "jobmeter.io/bound";
/// Taint of a cordoned node.
const CORDONED: &str = "node.kubernetes.io/unschedulable";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
/// Of metadata, only these are a template's business.
const TEMPLATES: [&str; 3] = ["labels", "annotations", "finalizers"];

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ManifestError {
    #[error("the pod template is a {found}, and it must be a Pod")]
    NotAPod { found: String },
    #[error("in the pod template, {path} must be {expected}")]
    Shape { path: String, expected: &'static str },
    #[error("the pod template has no containers (spec.containers)")]
    NoContainers,
    #[error("the task of the pod cannot be written: {why}")]
    Task { why: String },
}

/// What is forced onto the template.
pub(super) struct Forced<'a> {
    pub(super) pod: &'a CreatePod,
    pub(super) callbacks: &'a Callbacks,
    pub(super) owner: Option<&'a OwnerReference>,
}

pub(super) fn manifest(template: Value, forced: &Forced<'_>) -> Result<Value, ManifestError> {
    let Value::Object(mut template) = template else { return Err(shape("it", "a map")) };
    if let Some(found) = template.get("kind").and_then(Value::as_str).filter(|kind| *kind != "Pod") {
        return Err(ManifestError::NotAPod { found: found.to_owned() });
    }
    let mut metadata = taken(&mut template, "metadata")?;
    let mut spec = taken(&mut template, "spec")?;
    forced.metadata(&mut metadata)?;
    forced.spec(&mut spec)?;
    Ok(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
}

impl Forced<'_> {
    fn metadata(&self, metadata: &mut Map<String, Value>) -> Result<(), ManifestError> {
        let (pod, settings) = (self.pod, &self.pod.settings);
        metadata.retain(|key, _| TEMPLATES.contains(&key.as_str()));
        metadata.insert("name".to_owned(), json!(pod.name));
        metadata.insert("namespace".to_owned(), json!(settings.namespace));
        if let Some(owner) = self.owner {
            metadata.insert("ownerReferences".to_owned(), json!([owner]));
        }
        let labels = map(metadata, "labels", "metadata.labels")?;
        for (key, value) in
            [(EXECUTION_LABEL, &pod.run), (OWNER_LABEL, &settings.name), (RUN_LABEL, &pod.run), (POOL_LABEL, &settings.pool)]
        {
            labels.insert(key.to_owned(), json!(value));
        }
        let task = PodTask { node: pod.node.clone(), attempt: pod.attempt };
        let task = serde_json::to_string(&task).map_err(|err| ManifestError::Task { why: err.to_string() })?;
        let annotations = map(metadata, "annotations", "metadata.annotations")?;
        // Places are given by the pool alone.
        annotations.remove(SLOT_ANNOTATION);
        annotations.insert(TASK_ANNOTATION.to_owned(), json!(task));
        Ok(())
    }

    fn spec(&self, spec: &mut Map<String, Value>) -> Result<(), ManifestError> {
        let settings = &self.pod.settings;
        // The old name of `serviceAccountName`; and no gate holds a pod that names its node.
        for key in ["nodeName", "serviceAccount"] {
            spec.remove(key);
        }
        let account = if settings.service_account.is_empty() { "default" } else { &settings.service_account };
        spec.insert("serviceAccountName".to_owned(), json!(account));
        spec.insert("restartPolicy".to_owned(), json!("Never"));
        if !settings.image_pull_secrets.is_empty() {
            let secrets: Vec<Value> = settings.image_pull_secrets.iter().map(|name| json!({"name": name})).collect();
            spec.insert("imagePullSecrets".to_owned(), json!(secrets));
        }
        let gates = list(spec, "schedulingGates", "spec.schedulingGates")?;
        if !gates.iter().any(|gate| gate["name"] == POOL_GATE) {
            gates.push(json!({"name": POOL_GATE}));
        }
        self.place(spec)?;
        for key in ["initContainers", "containers"] {
            let path = format!("spec.{key}");
            let containers = list(spec, key, &path)?;
            if containers.is_empty() && key == "containers" {
                return Err(ManifestError::NoContainers);
            }
            for container in containers.iter_mut() {
                let container = container.as_object_mut().ok_or_else(|| shape(&path, "a list of maps"))?;
                let env = list(container, "env", &format!("{path}[].env"))?;
                environment::append(env, self.pod, self.callbacks);
            }
        }
        Ok(())
    }

    /// The affinity is there also for a pod that is bound by us: the pool counts it on its node, and the kubelet asks for it.
    fn place(&self, spec: &mut Map<String, Value>) -> Result<(), ManifestError> {
        let settings = &self.pod.settings;
        let path = "spec.affinity.nodeAffinity";
        let affinity = map(map(spec, "affinity", "spec.affinity")?, "nodeAffinity", path)?;
        let path = format!("{path}.{REQUIRED}");
        let terms = list(map(affinity, REQUIRED, &path)?, "nodeSelectorTerms", &format!("{path}.nodeSelectorTerms"))?;
        if terms.is_empty() {
            terms.push(json!({"matchFields": []}));
        } else {
            // Such a term matches no node, and must not begin to.
            terms.retain(|term| !is_empty(term));
            if terms.is_empty() {
                terms.push(json!({}));
            }
        }
        let this = json!({"key": "metadata.name", "operator": "In", "values": [self.pod.node]});
        for term in terms.iter_mut().filter(|term| **term != json!({})) {
            let term = term.as_object_mut().ok_or_else(|| shape(&path, "terms that are maps"))?;
            list(term, "matchFields", "matchFields of a node selector term")?.push(this.clone());
        }
        let mut tolerated = Vec::new();
        if settings.unschedulable_nodes {
            tolerated.push(json!({"key": CORDONED, "operator": "Exists", "effect": "NoSchedule"}));
        }
        if settings.placement == Placement::NodeName {
            spec.insert("schedulerName".to_owned(), json!(BOUND));
            // A pool of the pools file may choose nodes, and it asks their taints; a pool of its own does not.
            if settings.own_pool_size.is_none() {
                tolerated.push(json!({"operator": "Exists", "effect": "NoSchedule"}));
            }
        }
        if !tolerated.is_empty() {
            list(spec, "tolerations", "spec.tolerations")?.append(&mut tolerated);
        }
        Ok(())
    }
}

fn is_empty(term: &Value) -> bool {
    let empty = |key: &str| term.get(key).is_none_or(|there| there.is_null() || there == &json!([]));
    term.is_object() && empty("matchExpressions") && empty("matchFields")
}

fn taken(template: &mut Map<String, Value>, key: &str) -> Result<Map<String, Value>, ManifestError> {
    match template.remove(key) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(shape(key, "a map")),
    }
}

/// Made where it is not there, or null.
fn map<'v>(of: &'v mut Map<String, Value>, key: &str, path: &str) -> Result<&'v mut Map<String, Value>, ManifestError> {
    let value = of.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut().ok_or_else(|| shape(path, "a map"))
}

fn list<'v>(of: &'v mut Map<String, Value>, key: &str, path: &str) -> Result<&'v mut Vec<Value>, ManifestError> {
    let value = of.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = json!([]);
    }
    value.as_array_mut().ok_or_else(|| shape(path, "a list"))
}

fn shape(path: &str, expected: &'static str) -> ManifestError {
    ManifestError::Shape { path: path.to_owned(), expected }
}

#[cfg(test)]
mod tests;
