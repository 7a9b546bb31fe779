//! Node runs for people: what ran where, what is due, and the few things that can be asked for.
//!
//! Reads of runs are the store's, so every replica answers them; definitions and what is asked for are the leader's.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use jobmeter_decide::runs::Command;
use jobmeter_protocol::Page;
use jobmeter_protocol::runs::{DefinitionStatus, NodeResult, Run, RunDetail, RunQuery, StartRun};

use super::body;
use super::error::ApiError;
use super::people::guarded;
use crate::CoordinatorHandle;
use crate::store::runs::query::is_id;

mod refusal;

type Coordinator = State<CoordinatorHandle>;
/// 201, and where the run is.
type Begun = (StatusCode, [(HeaderName, String); 1], Json<Run>);

const MAX_BODY_BYTES: usize = 64 << 10;

pub(super) async fn runs(State(coordinator): Coordinator, headers: HeaderMap, uri: Uri) -> Result<Json<Page<Run>>, ApiError> {
    guarded(&coordinator, &headers, async |coordinator| {
        let Query(query) = Query::<RunQuery>::try_from_uri(&uri)
            .map_err(|err| ApiError::new(StatusCode::BAD_REQUEST, err.body_text()).about("query"))?;
        Ok(Json(coordinator.stored_runs(&query).await?))
    })
    .await
}

pub(super) async fn run(
    State(coordinator): Coordinator,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<RunDetail>, ApiError> {
    guarded(&coordinator, &headers, async |coordinator| {
        checked(&id)?;
        coordinator.stored_run(&id).await?.map(Json).ok_or_else(|| missing(&id))
    })
    .await
}

pub(super) async fn results(
    State(coordinator): Coordinator,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Vec<NodeResult>>, ApiError> {
    guarded(&coordinator, &headers, async |coordinator| {
        checked(&id)?;
        coordinator.stored_run_results(&id).await?.map(Json).ok_or_else(|| missing(&id))
    })
    .await
}

pub(super) async fn definitions(
    State(coordinator): Coordinator,
    headers: HeaderMap,
) -> Result<Json<Vec<DefinitionStatus>>, ApiError> {
    guarded(&coordinator, &headers, async |coordinator| Ok(Json(coordinator.run_definitions()?))).await
}

pub(super) async fn start(State(coordinator): Coordinator, headers: HeaderMap, body: Body) -> Result<Begun, ApiError> {
    by_operator(&coordinator, &headers, async |coordinator| {
        let bytes = body::read(body, MAX_BODY_BYTES).await?;
        let start: StartRun = serde_json::from_slice(&bytes).map_err(|err| malformed(&err))?;
        Ok(begun(coordinator.command_runs(Command::Start(start)).await?))
    })
    .await
}

pub(super) async fn cancel(
    State(coordinator): Coordinator,
    Path(run): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Run>), ApiError> {
    by_operator(&coordinator, &headers, async |coordinator| {
        checked(&run)?;
        nothing_said(body).await?;
        Ok((StatusCode::ACCEPTED, Json(coordinator.command_runs(Command::Cancel { run }).await?)))
    })
    .await
}

pub(super) async fn retry(
    State(coordinator): Coordinator,
    Path(run): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Begun, ApiError> {
    by_operator(&coordinator, &headers, async |coordinator| {
        checked(&run)?;
        nothing_said(body).await?;
        Ok(begun(coordinator.command_runs(Command::Retry { run }).await?))
    })
    .await
}

/// Authorized before anything of the body is read, counted when refused.
async fn by_operator<T>(
    coordinator: &CoordinatorHandle,
    headers: &HeaderMap,
    answer: impl AsyncFnOnce(&CoordinatorHandle) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let answered = match coordinator.auth().operator(headers) {
        Ok(()) => answer(coordinator).await,
        Err(err) => Err(err.into()),
    };
    answered.inspect_err(|err| coordinator.count_refusal(err))
}

fn begun(run: Run) -> Begun {
    (StatusCode::CREATED, [(header::LOCATION, format!("/v1/runs/{}", run.id))], Json(run))
}

/// These calls say all by their path.
async fn nothing_said(body: Body) -> Result<(), ApiError> {
    let bytes = body::read(body, MAX_BODY_BYTES).await?;
    if matches!(bytes.trim_ascii(), b"" | b"{}") {
        return Ok(());
    }
    let error = ApiError::new(StatusCode::BAD_REQUEST, "this call has no body").about("body");
    Err(error.hint("what is to be done is in the path; `POST /v1/runs` begins a run of chosen nodes"))
}

fn malformed(err: &serde_json::Error) -> ApiError {
    let error = format!("the body is not what starts a run: {err}");
    ApiError::new(StatusCode::BAD_REQUEST, error)
        .about(format!("line {} column {}", err.line(), err.column()))
        .hint(r#"send {"definition": "NAME"}, or with "nodes": ["NODE", …]"#)
}

/// What cannot be an ID is not looked for.
fn checked(id: &str) -> Result<(), ApiError> {
    if is_id(id) { Ok(()) } else { Err(missing(id)) }
}

fn missing(id: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "there is no run of this ID")
        .about(id)
        .hint("`GET /v1/runs` lists those that are kept; a definition's `history` says how many that are")
}
