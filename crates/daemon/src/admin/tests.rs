use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use prometheus::{Gauge, IntCounterVec, Opts};
use tower::ServiceExt;

use super::*;

async fn get_page(admin: &Admin, path: &str) -> (StatusCode, HeaderMap, String) {
    let response = router(admin.clone()).oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
}

fn registry_with(node: &str) -> Registry {
    let registry = Registry::new();
    let reports = IntCounterVec::new(Opts::new("reports_total", "Reports."), &["node"]).unwrap();
    reports.with_label_values(&[node]).inc();
    registry.register(Box::new(reports)).unwrap();
    registry
}

#[tokio::test]
async fn metrics_come_with_the_content_type_that_prometheus_3_insists_on() {
    let admin = Admin { registries: vec![registry_with("a")], ..Admin::default() };
    let (status, headers, page) = get_page(&admin, "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["content-type"], "text/plain; version=0.0.4");
    assert_eq!(page, "# HELP reports_total Reports.\n# TYPE reports_total counter\nreports_total{node=\"a\"} 1\n");
}

#[tokio::test]
async fn families_of_several_registries_are_merged_and_a_clash_of_types_costs_only_itself() {
    let clash = Registry::new();
    clash.register(Box::new(Gauge::new("reports_total", "A gauge of the same name.").unwrap())).unwrap();
    clash.register(Box::new(Gauge::new("other", "Not concerned.").unwrap())).unwrap();
    let admin = Admin { registries: vec![registry_with("a"), registry_with("b"), clash], ..Admin::default() };
    let (_, _, page) = get_page(&admin, "/metrics").await;
    assert_eq!(page.matches("# TYPE reports_total").count(), 1);
    assert!(page.contains("reports_total{node=\"a\"} 1\nreports_total{node=\"b\"} 1\n"), "{page}");
    assert!(page.contains("other 0\n"), "{page}");
}

#[tokio::test]
async fn readyz_says_what_it_waits_for_while_livez_does_not_care() {
    let admin = Admin::default();
    let journal = admin.readiness.gate("journal");
    journal.not_ready("replaying");
    let (status, _, page) = get_page(&admin, "/readyz").await;
    assert_eq!((status, page.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "journal: replaying\n"));
    assert_eq!(get_page(&admin, "/livez").await.0, StatusCode::OK);
    journal.ready();
    assert_eq!(get_page(&admin, "/readyz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn status_tells_of_each_source_whether_it_works_and_why_not() {
    let admin = Admin::default();
    admin.sources.set_with_detail("cgroups", SourceState::Active, "v1 and v2");
    admin.sources.set("processes", SourceState::Disabled);
    admin.sources.set("pressure", SourceState::Unsupported);
    admin.sources.clone().set("pods", SourceState::Failed { error: "forbidden".into() });
    let (_, _, page) = get_page(&admin, "/status").await;
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!(
        page,
        serde_json::json!({
            "ready": true,
            "not_ready": {},
            "sources": {
                "cgroups": { "state": "active", "detail": "v1 and v2" },
                "pods": { "state": "failed", "error": "forbidden" },
                "pressure": { "state": "unsupported" },
                "processes": { "state": "disabled" },
            },
        })
    );
}
