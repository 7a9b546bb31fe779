//! What people and programs ask: records, jobs, nodes, what runs now.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use jobmeter_protocol::{Job, JobDetail, LivePod, NodeStatus, Page, Record, RecordQuery};

use super::error::ApiError;
use super::watch;
use crate::CoordinatorHandle;
use crate::store::RecordFilter;

type Coordinator = State<CoordinatorHandle>;

/// `?watch`: from now on, as server-sent events, what is written to the store and meets the conditions.
pub(super) async fn records(State(coordinator): Coordinator, headers: HeaderMap, uri: Uri) -> Result<Response, ApiError> {
    guarded(&coordinator, &headers, async |coordinator| {
        let (query, watch) = query(&uri)?;
        if watch {
            return watch::records(coordinator, RecordFilter::of(&query)?);
        }
        let page: Page<Record> = coordinator.records(&query).await?;
        Ok(Json(page).into_response())
    })
    .await
}

pub(super) async fn record(
    State(coordinator): Coordinator,
    Path(uid): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Record>, ApiError> {
    guarded(&coordinator, &headers, async |coordinator| {
        let missing = || {
            ApiError::new(StatusCode::NOT_FOUND, "there is no record of this pod")
                .about(&uid)
                .hint("give the pod's UID here; `/v1/records?pod=NAME` finds it by name")
        };
        coordinator.record(&uid).await?.map(Json).ok_or_else(missing)
    })
    .await
}

pub(super) async fn jobs(State(coordinator): Coordinator, headers: HeaderMap, uri: Uri) -> Result<Json<Page<Job>>, ApiError> {
    guarded(&coordinator, &headers, async |coordinator| {
        let (query, watch) = query(&uri)?;
        if watch {
            return Err(ApiError::new(StatusCode::BAD_REQUEST, "jobs cannot be watched")
                .about("watch")
                .hint("watch /v1/records"));
        }
        Ok(Json(coordinator.jobs(&query).await?))
    })
    .await
}

pub(super) async fn job(
    State(coordinator): Coordinator,
    Path((namespace, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<JobDetail>, ApiError> {
    guarded(&coordinator, &headers, async |coordinator| {
        let missing =
            || ApiError::new(StatusCode::NOT_FOUND, "there is no job of this name").about(format!("{namespace}/{name}"));
        coordinator.job(&namespace, &name).await?.map(Json).ok_or_else(missing)
    })
    .await
}

pub(super) async fn nodes(State(coordinator): Coordinator, headers: HeaderMap) -> Result<Json<Vec<NodeStatus>>, ApiError> {
    guarded(&coordinator, &headers, async |coordinator| Ok(Json(coordinator.nodes()))).await
}

pub(super) async fn live(State(coordinator): Coordinator, headers: HeaderMap) -> Result<Json<Vec<LivePod>>, ApiError> {
    guarded(&coordinator, &headers, async |coordinator| Ok(Json(coordinator.live()))).await
}

pub(super) async fn nothing(State(coordinator): Coordinator, uri: Uri) -> ApiError {
    let err = ApiError::new(StatusCode::NOT_FOUND, "there is nothing at this path").about(uri.path());
    coordinator.count_refusal(&err);
    err
}

pub(super) async fn wrong_method(State(coordinator): Coordinator, method: Method, uri: Uri) -> ApiError {
    let err = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not what this path takes")).about(uri.path());
    coordinator.count_refusal(&err);
    err
}

/// Authorized first, counted when refused.
pub(super) async fn guarded<T>(
    coordinator: &CoordinatorHandle,
    headers: &HeaderMap,
    answer: impl AsyncFnOnce(&CoordinatorHandle) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let answered = match coordinator.auth().reader(headers) {
        Ok(()) => answer(coordinator).await,
        Err(err) => Err(err.into()),
    };
    answered.inspect_err(|err| coordinator.count_refusal(err))
}

/// `watch` is not a condition on records and is taken out before the rest is read strictly.
fn query(uri: &Uri) -> Result<(RecordQuery, bool), ApiError> {
    let is_watch = |part: &&str| matches!(*part, "watch" | "watch=" | "watch=true" | "watch=1");
    let parts = || uri.query().unwrap_or_default().split('&').filter(|part| !part.is_empty());
    let rest = parts().filter(|part| !is_watch(part)).collect::<Vec<_>>().join("&");
    let bad = |why: String| ApiError::new(StatusCode::BAD_REQUEST, why).about("query");
    let uri = Uri::builder().path_and_query(format!("/?{rest}")).build().map_err(|err| bad(err.to_string()))?;
    let Query(query) = Query::<RecordQuery>::try_from_uri(&uri).map_err(|err| bad(err.body_text()))?;
    Ok((query, parts().any(|part| is_watch(&part))))
}
