//! The admission webhook as the API server sees it: over HTTPS, trusted by its `caBundle`, with a certificate that changes.

mod api;

use std::net::SocketAddr;
use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use jobmeter_coordinator::config::webhook::WebhookConfig;
use jobmeter_coordinator::execute::call::CallError;
use jobmeter_coordinator::execute::certificates::{CertificateError, Certificates};
use jobmeter_coordinator::leadership::Authority;
use jobmeter_coordinator::webhook::{self, Names, Serving, WebhookMetrics, gating, issue, material};
use jobmeter_daemon::admin::{Admin, SourceBoard, SourceState};
use jobmeter_daemon::supervise::Supervisor;
use jobmeter_decide::gating::Wanted;
use k8s_openapi::api::core::v1::Secret;
use prometheus::Registry;
use serde_json::{Value, json};

use crate::harness::eventually;
use api::Api;

const HOST: &str = "jobmeter-coordinator.jobmeter.svc";

fn config() -> WebhookConfig {
    WebhookConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        namespace: None,
        service: "jobmeter-coordinator".to_owned(),
        secret: "jobmeter-webhook-tls".to_owned(),
        configuration: "jobmeter-pool".to_owned(),
    }
}

/// One replica.
struct Replica {
    address: SocketAddr,
    admin: Admin,
    registry: Registry,
    supervisor: Supervisor,
}

impl Replica {
    fn start(api: &Api) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let (admin, registry) = (Admin::default(), Registry::new());
        let mut supervisor = Supervisor::without_signals(Duration::from_secs(5));
        let gating = gating::detect(Wanted::Auto, api.client(), admin.sources.clone(), &mut supervisor);
        let serving = Serving {
            config: config(),
            client: api.client(),
            gating,
            sources: admin.sources.clone(),
            ready: admin.readiness.gate("webhook"),
            metrics: WebhookMetrics::register(&registry).unwrap(),
        };
        let address = webhook::start(serving, &mut supervisor).unwrap();
        Self { address, admin, registry, supervisor }
    }

    /// As the API server does it, which trusts nobody else.
    async fn post(&self, trusted: &str, body: impl Into<reqwest::Body>) -> Result<reqwest::Response, reqwest::Error> {
        let authorities = reqwest::Certificate::from_pem_bundle(trusted.as_bytes())?;
        let client = reqwest::Client::builder().tls_certs_only(authorities).resolve(HOST, self.address).build()?;
        client.post(format!("https://{HOST}:{}/pool", self.address.port())).body(body).send().await
    }

    async fn answers(&self, trusted: &str) -> bool {
        self.post(trusted, review().to_string()).await.is_ok_and(|answer| answer.status().is_success())
    }

    async fn stop(self) {
        self.supervisor.token().cancel();
        self.supervisor.run().await;
    }
}

fn certificates(api: &Api) -> Certificates {
    let client = api.client();
    Certificates { names: Names::of(&config(), &client), client, authority: Authority::alone(), sources: SourceBoard::default() }
}

fn review() -> Value {
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "bench", "operation": "CREATE", "userInfo": {"username": "somebody"}, "dryRun": false, "oldObject": null,
            "object": {
                "kind": "Pod", "apiVersion": "v1",
                "metadata": {"name": "a", "namespace": "bench", "labels": {"jobmeter.io/pool": "gpu"}},
                "spec": {"containers": [{"name": "main", "image": "x"}]}
            }
        }
    })
}

/// Of an authority that was made then, with a leaf of today.
fn secret_of(made: Timestamp) -> Secret {
    let client = Api::new().client();
    let authority = issue::authority(made).unwrap();
    let leaf = issue::leaf(&authority.key, &Names::of(&config(), &client), Timestamp::now()).unwrap();
    let mut secret = Secret { data: Some(material::fields(leaf, authority.certificate, authority.key)), ..Secret::default() };
    secret.metadata.name = Some("jobmeter-webhook-tls".to_owned());
    secret
}

fn authorities(secret: &Secret) -> String {
    String::from_utf8(secret.data.as_ref().unwrap()[material::AUTHORITIES].0.clone()).unwrap()
}

#[tokio::test]
async fn a_pod_is_gated_over_https_by_a_certificate_that_the_leader_made_and_the_api_server_trusts() {
    let api = Api::new();
    let mut replica = Replica::start(&api);
    replica.admin.readiness.all_ready().await;
    webhook::lead(&config(), api.client(), Authority::alone(), replica.admin.sources.clone(), &mut replica.supervisor);
    let trusted = eventually("trust", async || api.bundle(1)).await;
    assert_eq!(api.bundle(2), Some(trusted.clone()));
    assert_eq!(api.bundle(0), None, "a webhook that calls another Service is not ours");
    eventually("an answer", async || replica.answers(&trusted).await.then_some(())).await;

    let answer = replica.post(&trusted, review().to_string()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["response"]["uid"], &answer["response"]["allowed"]), (&json!("u-1"), &json!(true)));
    let patch: k8s_openapi::ByteString = serde_json::from_value(answer["response"]["patch"].clone()).unwrap();
    let patch: Value = serde_json::from_slice(&patch.0).unwrap();
    assert_eq!(patch, json!([{"op": "add", "path": "/spec/schedulingGates", "value": [{"name": "jobmeter.io/pool"}]}]));

    let board = replica.admin.sources.snapshot();
    assert_eq!(board["webhook"].state, SourceState::Active);
    assert_eq!(board["certificates"].state, SourceState::Active);
    assert_eq!(board["gating"].detail.as_deref(), Some("schedulingGates: the API server is Kubernetes 1.36"));
    let expiry = prometheus::TextEncoder::new().encode_to_string(&replica.registry.gather()).unwrap();
    assert!(expiry.contains("jobmeter_webhook_reviews_total{answer=\"gated\",kind=\"pod\"}"), "{expiry}");
    let until = expiry.lines().find_map(|line| line.strip_prefix("jobmeter_webhook_certificate_expiry_timestamp_seconds "));
    let left = until.unwrap().parse::<f64>().unwrap() - Timestamp::now().as_second() as f64;
    assert!((364.0..366.0).contains(&(left / 86_400.0)), "{left}");
    replica.stop().await;
}

#[tokio::test]
async fn a_new_authority_takes_over_while_it_runs_and_whoever_trusts_the_bundle_never_notices() {
    let api = Api::new();
    // Two thirds of ten years are over.
    let old = secret_of(Timestamp::now() - (7 * 365 * 24).hours());
    api.put(&old);
    let replica = Replica::start(&api);
    eventually("the old one", async || replica.answers(&authorities(&old)).await.then_some(())).await;

    certificates(&api).tend(Timestamp::now()).await.unwrap();
    let writes = api.writes();
    let wrote = |what: &str| writes.iter().position(|write| write.contains(what)).unwrap();
    assert!(wrote("PATCH") < wrote("PUT"), "trusted first, served then: {writes:?}");
    let both = api.bundle(1).unwrap();
    assert!(both.ends_with(&authorities(&old)) && both != authorities(&old));
    assert!(replica.answers(&both).await);
    let newest = both.strip_suffix(&authorities(&old)).unwrap().to_owned();
    eventually("the new one", async || replica.answers(&newest).await.then_some(())).await;
    assert!(replica.answers(&both).await);
    assert!(!replica.answers(&authorities(&old)).await, "nothing of the old authority is served any more");

    // Nothing is left to do.
    let done = api.writes().len();
    certificates(&api).tend(Timestamp::now()).await.unwrap();
    assert_eq!(api.writes().len(), done);
    replica.stop().await;
}

#[tokio::test]
async fn what_cannot_be_served_takes_nothing_away_and_is_said() {
    let api = Api::new();
    let good = secret_of(Timestamp::now());
    api.put(&good);
    let replica = Replica::start(&api);
    eventually("the good one", async || replica.answers(&authorities(&good)).await.then_some(())).await;
    let mut broken = good.clone();
    broken.data.as_mut().unwrap().remove(material::TLS_KEY);
    api.put(&broken);
    let error = eventually("trouble", async || match &replica.admin.sources.snapshot()["webhook"].state {
        SourceState::Failed { error } => Some(error.clone()),
        _ => None,
    })
    .await;
    assert!(error.contains("the Secret jobmeter/jobmeter-webhook-tls: the Secret has no tls.key"), "{error}");
    assert!(replica.answers(&authorities(&good)).await);

    // The leader mends it, and the one before stays trusted by callers.
    certificates(&api).tend(Timestamp::now()).await.unwrap();
    assert!(api.bundle(1).unwrap().ends_with(&authorities(&good)));
    let newest = authorities(&api.secret().unwrap());
    eventually("mended", async || {
        let active = replica.admin.sources.snapshot()["webhook"].state == SourceState::Active;
        (active && replica.answers(&newest).await).then_some(())
    })
    .await;
    replica.stop().await;
}

#[tokio::test]
async fn two_who_believe_that_they_lead_make_one_certificate() {
    let api = Api::new();
    let (one, other) = (certificates(&api), certificates(&api));
    let now = Timestamp::now();
    let answers = tokio::join!(one.tend(now), other.tend(now));
    let ((Ok(_), Err(err)) | (Err(err), Ok(_))) = answers else { panic!("{answers:?}") };
    assert!(matches!(err, CertificateError::Call(CallError::Conflict { .. })), "{err}");
    // Whoever wrote the bundle last, the next round of either makes it that of the Secret.
    one.tend(now).await.unwrap();
    other.tend(now).await.unwrap();
    assert_eq!(api.bundle(1), Some(authorities(&api.secret().unwrap())));
}

#[tokio::test]
async fn what_is_missing_in_the_cluster_is_said_with_what_to_apply() {
    let api = Api::new();
    api.forbid(true);
    let error = certificates(&api).tend(Timestamp::now()).await.unwrap_err().to_string();
    assert!(
        error.contains("may not read the Secret jobmeter/jobmeter-webhook-tls: apply the roles of manifests/base"),
        "{error}"
    );
    let replica = Replica::start(&api);
    replica.admin.readiness.all_ready().await;
    let webhook = replica.admin.sources.snapshot()["webhook"].clone();
    let SourceState::Failed { error } = webhook.state else { panic!("{webhook:?}") };
    assert!(error.contains("apply the Role of manifests/base"), "{error}");
    replica.stop().await;

    api.forbid(false);
    api.remove_configuration();
    let error = certificates(&api).tend(Timestamp::now()).await.unwrap_err().to_string();
    assert!(error.contains("the MutatingWebhookConfiguration jobmeter-pool is not there"), "{error}");
    assert!(api.secret().is_some(), "there is a certificate for when it comes");
}

#[tokio::test]
async fn what_is_no_review_is_400_what_is_too_large_413_and_what_cannot_be_known_yet_503() {
    let api = Api::new();
    api.is(None);
    let secret = secret_of(Timestamp::now());
    api.put(&secret);
    let replica = Replica::start(&api);
    let trusted = authorities(&secret);
    let unknown = eventually("TLS", async || replica.post(&trusted, review().to_string()).await.ok()).await;
    assert_eq!(unknown.status(), 503);
    assert!(unknown.text().await.unwrap().contains("does not know the API server's version yet"));

    api.is(Some("25+"));
    eventually("suspend", async || {
        let board = replica.admin.sources.snapshot();
        board["gating"]
            .detail
            .as_ref()
            .is_some_and(|detail| detail.contains("Kubernetes 1.25 has no scheduling gates"))
            .then_some(())
    })
    .await;
    let answer: Value = replica.post(&trusted, review().to_string()).await.unwrap().json().await.unwrap();
    assert!(answer["response"]["warnings"][0].as_str().unwrap().contains("older than scheduling gates"), "{answer}");
    assert_eq!(replica.post(&trusted, "{}").await.unwrap().status(), 400);
    assert_eq!(replica.post(&trusted, vec![b' '; (3 << 20) + 1]).await.unwrap().status(), 413);
    replica.stop().await;
}
