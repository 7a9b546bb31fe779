//! Pools for people: what is used, who is in, who waits and why.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use jobmeter_protocol::{PoolDetail, PoolStatus};
use serde::Deserialize;

use super::error::ApiError;
use super::people::guarded;
use crate::CoordinatorHandle;
use crate::pool::Unknown;

type Coordinator = State<CoordinatorHandle>;

/// Members and waiting ones each, where nothing is asked for.
const LIMIT: usize = 100;
const MAX_LIMIT: usize = 10_000;
/// Names of other pools in a hint.
const HINTED: usize = 20;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    limit: Option<usize>,
}

pub(super) async fn pools(State(coordinator): Coordinator, headers: HeaderMap) -> Result<Json<Vec<PoolStatus>>, ApiError> {
    guarded(&coordinator, &headers, async |coordinator| Ok(Json(coordinator.pools()?.to_vec()))).await
}

pub(super) async fn pool(
    State(coordinator): Coordinator,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<PoolDetail>, ApiError> {
    guarded(&coordinator, &headers, async |coordinator| {
        let Query(asked) = Query::<Asked>::try_from_uri(&uri)
            .map_err(|err| ApiError::new(StatusCode::BAD_REQUEST, err.body_text()).about("query"))?;
        let limit = asked.limit.unwrap_or(LIMIT);
        if limit > MAX_LIMIT {
            let error = format!("the limit {limit} is more than {MAX_LIMIT}");
            return Err(ApiError::new(StatusCode::BAD_REQUEST, error).about("limit"));
        }
        match coordinator.pool(&name, limit).await? {
            Some(detail) => Ok(Json(detail)),
            None => Err(missing(&name, &coordinator.pools()?)),
        }
    })
    .await
}

fn missing(name: &str, pools: &[PoolStatus]) -> ApiError {
    let names: Vec<&str> = pools.iter().take(HINTED).map(|pool| pool.name.as_str()).collect();
    let hint = match names.as_slice() {
        [] => "no pools are configured".to_owned(),
        names => format!("there are: {}{}", names.join(", "), if pools.len() > HINTED { ", …" } else { "" }),
    };
    ApiError::new(StatusCode::NOT_FOUND, "there is no pool of this name").about(name).hint(hint)
}

impl From<Unknown> for ApiError {
    fn from(err: Unknown) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, err.to_string())
            .hint("pools, nodes and pods are counted first; /status says what is missing")
            .later()
    }
}
