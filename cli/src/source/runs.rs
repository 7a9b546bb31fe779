//! Node runs from wherever the answers come, and what can be asked for. A directory of this machine has none.

use jobmeter_protocol::Page;
use jobmeter_protocol::runs::{DefinitionStatus, NodeResult, Run, RunDetail, RunQuery, StartRun};
use serde::de::DeserializeOwned;

use super::paths::Path;
use super::proxy::ProxyError;
use super::server::ServerError;
use super::{Kind, Local, Remote, Source, SourceError};

/// Digits, so that nothing else becomes part of an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId(String);

impl RunId {
    /// `None`: it is something else, such as the name of a definition.
    pub fn parse(text: &str) -> Option<Self> {
        /// A minute, and two more where that was taken.
        const LENGTHS: [usize; 2] = [12, 14];
        (LENGTHS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Source {
    pub async fn runs(&self, query: &RunQuery) -> Result<Page<Run>, SourceError> {
        match &self.kind {
            Kind::Remote(remote) => self.get(remote, &Path::runs(query)).await,
            Kind::Local(_) => Ok(Page { items: Vec::new(), next: None }),
        }
    }

    pub async fn run_definitions(&self) -> Result<Vec<DefinitionStatus>, SourceError> {
        match &self.kind {
            Kind::Remote(remote) => self.get(remote, &Path::run_definitions()).await,
            Kind::Local(_) => Ok(Vec::new()),
        }
    }

    pub async fn run(&self, run: &RunId) -> Result<RunDetail, SourceError> {
        self.get(self.keeper()?, &Path::run(run)).await
    }

    pub async fn run_results(&self, run: &RunId) -> Result<Vec<NodeResult>, SourceError> {
        self.get(self.keeper()?, &Path::run_results(run)).await
    }

    pub async fn start_run(&self, start: &StartRun) -> Result<Run, SourceError> {
        self.post(&Path::start_run(), serde_json::to_vec(start).map_err(SourceError::Request)?).await
    }

    pub async fn cancel_run(&self, run: &RunId) -> Result<Run, SourceError> {
        self.post(&Path::cancel_run(run), Vec::new()).await
    }

    pub async fn retry_run(&self, run: &RunId) -> Result<Run, SourceError> {
        self.post(&Path::retry_run(run), Vec::new()).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &Path, body: Vec<u8>) -> Result<T, SourceError> {
        let name = || self.name.clone();
        match self.keeper()? {
            Remote::Server(server) => {
                server.post(path, body).await.map_err(|source| SourceError::Server { name: name(), source })
            }
            Remote::Proxy(proxy) => {
                proxy.post(path, body).await.map_err(|source| SourceError::Proxy { name: name(), source: Box::new(source) })
            }
        }
    }

    fn keeper(&self) -> Result<&Remote, SourceError> {
        match &self.kind {
            Kind::Remote(remote) => Ok(remote),
            Kind::Local(local) => Err(no_runs(local)),
        }
    }
}

fn no_runs(local: &Local) -> SourceError {
    SourceError::NoRuns { directory: local.directory().to_owned() }
}

impl SourceError {
    /// Whether the same question may be answered a moment later: a coordinator that restarts is worth waiting for.
    pub(crate) fn may_pass(&self) -> bool {
        let is_passing = |code: u16| code == 429 || code >= 500;
        match self {
            Self::Server { source, .. } | Self::LocalServer { source, .. } => match source {
                ServerError::Unreachable(_) => true,
                ServerError::Status { status, .. } => is_passing(status.as_u16()),
                _ => false,
            },
            Self::Proxy { source, .. } => match &**source {
                ProxyError::Unreachable(_) | ProxyError::NotReady { .. } => true,
                ProxyError::Status { code, .. } => is_passing(*code),
                _ => false,
            },
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_minute_is_a_run() {
        assert!(["202611211930", "20261121193001"].into_iter().all(|text| RunId::parse(text).is_some()));
        assert!(
            ["", "disk-check", "2026112119300", "../202611211", "２０２６１１２１１９３０"]
                .into_iter()
                .all(|text| RunId::parse(text).is_none())
        );
    }
}
