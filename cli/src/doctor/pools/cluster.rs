//! Asks the API server what it does with pods of a pool. Changes nothing: an access review is not kept.

use jobmeter_protocol::pools::{POOL_GATE, POOL_LABEL};
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};

use super::{Cluster, Gated, Webhook};

/// As `manifests/base` calls it.
pub(super) const CONFIGURATION: &str = "jobmeter-pool";
/// The coordinator's ServiceAccount, as `manifests/base` calls it.
const ACCOUNT: &str = "jobmeter-coordinator";
/// Pods in one answer.
const PAGE: u32 = 500;

/// `namespace`: the coordinator's.
pub(super) async fn ask(client: Client, namespace: &str, suspends: bool) -> Cluster {
    let resumes = match suspends {
        true => Some(resumes(client.clone(), namespace).await),
        false => None,
    };
    Cluster {
        resumes: resumes.map(|may| may.map_err(|error| sentence("ask whether the coordinator may change Jobs", &error))),
        webhooks: webhooks(client.clone()).await.map_err(|error| sentence("read the webhook configuration", &error)),
        gated: gated(client).await.map_err(|error| sentence("list the pods that wait", &error)),
    }
}

async fn webhooks(client: Client) -> kube::Result<Option<Vec<Webhook>>> {
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(client);
    let found = configurations.get_opt(CONFIGURATION).await?;
    Ok(found.map(|found| found.webhooks.unwrap_or_default().into_iter().map(webhook).collect()))
}

fn webhook(found: MutatingWebhook) -> Webhook {
    let has_authority = found.client_config.ca_bundle.is_some_and(|bundle| !bundle.0.is_empty());
    // Absent means Fail.
    let fails_closed = found.failure_policy.is_none_or(|policy| policy == "Fail");
    let resources = found.rules.iter().flatten().flat_map(|rule| rule.resources.iter().flatten());
    let of_pods = resources.into_iter().any(|resource| resource == "pods");
    let conditions = found.object_selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten());
    let by_label = conditions.into_iter().any(|condition| condition.key == POOL_LABEL && condition.operator == "Exists");
    Webhook { name: found.name, of_pods, by_label, has_authority, fails_closed }
}

/// Whether the coordinator may do what lets a suspended Job go, in all namespaces.
async fn resumes(client: Client, namespace: &str) -> kube::Result<bool> {
    let attributes = ResourceAttributes {
        group: Some("batch".to_owned()),
        resource: Some("jobs".to_owned()),
        verb: Some("patch".to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        user: Some(format!("system:serviceaccount:{namespace}:{ACCOUNT}")),
        groups: Some(vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]),
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let answer = Api::<SubjectAccessReview>::all(client).create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// No selector asks for gates, but a gated pod is always pending.
async fn gated(client: Client) -> kube::Result<Vec<Gated>> {
    let pods: Api<Pod> = Api::all(client);
    let mut params = ListParams::default().fields("status.phase=Pending").limit(PAGE);
    let mut gated = Vec::new();
    loop {
        let page = pods.list(&params).await?;
        gated.extend(page.items.iter().filter(|pod| is_gated(pod)).map(|pod| Gated {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            pool: pod.labels().get(POOL_LABEL).cloned(),
        }));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(gated),
        }
    }
}

fn is_gated(pod: &Pod) -> bool {
    let gates = pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref());
    gates.is_some_and(|gates| gates.iter().any(|gate| gate.name == POOL_GATE))
}

fn sentence(what: &str, error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("failed to {what}: {}", status.message),
        error => format!("failed to {what}: {error}"),
    }
}
