//! `/metrics`: gathers the registries of a process into one Prometheus text exposition.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::error::Error;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, Registry, TextEncoder};
use tracing::error;

use super::Admin;

pub(super) async fn metrics(State(admin): State<Admin>) -> Response {
    // Collectors read files and format hundreds of series: not on the threads that turn the event loop.
    let exposition = tokio::task::spawn_blocking(move || {
        let mut text = Vec::new();
        TextEncoder::new().encode(&gather(&admin.registries), &mut text).map(|()| text)
    });
    let error: Box<dyn Error> = match exposition.await {
        Ok(Ok(text)) => return ([(header::CONTENT_TYPE, TextEncoder::new().format_type())], text).into_response(),
        Ok(Err(error)) => error.into(),
        Err(error) => error.into(),
    };
    error!(error = error.as_ref(), "failed to gather the metrics");
    (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to gather the metrics: {error}\n")).into_response()
}

/// Prometheus refuses a page that has the same family twice, so those of several registries become one.
fn gather(registries: &[Registry]) -> Vec<MetricFamily> {
    let mut families: BTreeMap<String, MetricFamily> = BTreeMap::new();
    for mut family in registries.iter().flat_map(Registry::gather) {
        match families.entry(family.name().to_owned()) {
            Entry::Vacant(free) => {
                free.insert(family);
            }
            Entry::Occupied(mut taken) if taken.get().get_field_type() == family.get_field_type() => {
                taken.get_mut().mut_metric().extend(family.take_metric());
            }
            Entry::Occupied(taken) => error!(metric = taken.key(), "a metric is registered with two types, left one out"),
        }
    }
    families.into_values().collect()
}
