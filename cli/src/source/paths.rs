//! Paths and query strings of the coordinator's API, version 1.

use jobmeter_protocol::runs::RunQuery;
use jobmeter_protocol::{LogQuery, LogRead, RecordQuery};
use reqwest::Url;

use super::RunId;

/// A path with its query, to be put behind a server's address or a service proxy's prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    path: String,
    pairs: Vec<(String, String)>,
}

impl Path {
    pub(super) fn records(query: &RecordQuery) -> Self {
        Self { path: "/v1/records".to_owned(), pairs: pairs(query) }
    }

    pub(super) fn jobs(query: &RecordQuery) -> Self {
        Self { path: "/v1/jobs".to_owned(), pairs: pairs(query) }
    }

    pub(super) fn nodes() -> Self {
        Self { path: "/v1/nodes".to_owned(), pairs: Vec::new() }
    }

    pub(super) fn live() -> Self {
        Self { path: "/v1/live".to_owned(), pairs: Vec::new() }
    }

    pub(super) fn status() -> Self {
        Self { path: "/status".to_owned(), pairs: Vec::new() }
    }

    pub(super) fn pools() -> Self {
        Self { path: "/v1/pools".to_owned(), pairs: Vec::new() }
    }

    pub(super) fn pool(name: &str, limit: u32) -> Self {
        Self { path: format!("/v1/pools/{name}"), pairs: vec![("limit".to_owned(), limit.to_string())] }
    }

    pub(super) fn runs(query: &RunQuery) -> Self {
        let RunQuery { definition, state, limit, after } = query;
        let pairs = [
            ("definition", definition.clone()),
            ("state", state.map(|state| state.as_str().to_owned())),
            ("limit", limit.map(|limit| limit.to_string())),
            ("after", after.clone()),
        ];
        Self { path: "/v1/runs".to_owned(), pairs: present(pairs) }
    }

    pub(super) fn run_definitions() -> Self {
        Self { path: "/v1/run-definitions".to_owned(), pairs: Vec::new() }
    }

    pub(super) fn start_run() -> Self {
        Self { path: "/v1/runs".to_owned(), pairs: Vec::new() }
    }

    pub(super) fn run(run: &RunId) -> Self {
        Self { path: format!("/v1/runs/{}", run.as_str()), pairs: Vec::new() }
    }

    pub(super) fn run_results(run: &RunId) -> Self {
        Self { path: format!("/v1/runs/{}/results", run.as_str()), pairs: Vec::new() }
    }

    pub(super) fn cancel_run(run: &RunId) -> Self {
        Self { path: format!("/v1/runs/{}/cancel", run.as_str()), pairs: Vec::new() }
    }

    pub(super) fn retry_run(run: &RunId) -> Self {
        Self { path: format!("/v1/runs/{}/retry", run.as_str()), pairs: Vec::new() }
    }

    pub(super) fn logs(query: &LogQuery) -> Self {
        let LogQuery { namespace, job, pod, state, limit, after } = query;
        let pairs = [
            ("namespace", namespace.clone()),
            ("job", job.clone()),
            ("pod", pod.clone()),
            ("state", state.clone()),
            ("limit", limit.map(|limit| limit.to_string())),
            ("after", after.clone()),
        ];
        Self { path: "/v1/logs".to_owned(), pairs: present(pairs) }
    }

    pub(super) fn log(namespace: &str, pod: &str, read: &LogRead) -> Self {
        let LogRead { uid, container, attempt, previous, follow, timestamps, since } = read;
        let flag = |set: bool| set.then(|| "true".to_owned());
        let pairs = [
            ("uid", uid.clone()),
            ("container", container.clone()),
            ("attempt", attempt.map(|attempt| attempt.to_string())),
            ("previous", flag(*previous)),
            ("follow", flag(*follow)),
            ("timestamps", flag(*timestamps)),
            ("since", since.map(|at| at.to_string())),
        ];
        Self { path: format!("/v1/logs/{namespace}/{pod}"), pairs: present(pairs) }
    }

    /// `base` may itself have a path, with or without a slash at its end.
    pub(super) fn under(&self, base: &Url) -> Url {
        let mut url = base.clone();
        url.set_path(&format!("{}{}", base.path().trim_end_matches('/'), self.path));
        url.set_query(None);
        if !self.pairs.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.pairs);
        }
        url
    }
}

/// Every condition of the query is a plain value, so that its JSON form is a flat object.
fn pairs(query: &RecordQuery) -> Vec<(String, String)> {
    let RecordQuery { namespace, job, pod, selector, state, since, until, sort_by, limit, after } = query;
    let word = |value: serde_json::Value| value.as_str().map(str::to_owned);
    present([
        ("namespace", namespace.clone()),
        ("job", job.clone()),
        ("pod", pod.clone()),
        ("selector", selector.clone()),
        ("state", state.clone()),
        ("since", since.map(|at| at.to_string())),
        ("until", until.map(|at| at.to_string())),
        ("sort_by", sort_by.and_then(|by| serde_json::to_value(by).ok()).and_then(word)),
        ("limit", limit.map(|limit| limit.to_string())),
        ("after", after.clone()),
    ])
}

fn present<const N: usize>(pairs: [(&str, Option<String>); N]) -> Vec<(String, String)> {
    pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use jobmeter_protocol::SortBy;

    use super::*;

    #[test]
    fn a_query_survives_the_way_through_an_address() {
        let query = RecordQuery {
            namespace: Some("a&b".into()),
            selector: Some("team in (x,y),!z".into()),
            since: Some("2026-11-20T17:00:00.000000001Z".parse().unwrap()),
            sort_by: Some(SortBy::Memory),
            limit: Some(7),
            ..RecordQuery::default()
        };
        let url = Path::records(&query).under(&"https://host/jobmeter/".parse().unwrap());
        assert_eq!(url.path(), "/jobmeter/v1/records");
        let pairs: serde_json::Map<String, serde_json::Value> = url
            .query_pairs()
            .map(|(key, value)| (key.clone().into_owned(), if key == "limit" { 7.into() } else { value.into_owned().into() }))
            .collect();
        assert_eq!(serde_json::from_value::<RecordQuery>(pairs.into()).unwrap(), query);
    }
}
