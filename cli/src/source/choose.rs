//! Which of the three sources is asked: a pure function of the flags and the surroundings. The rule is `args::CHOICE_HELP`.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use reqwest::Url;

use super::SourceArgs;

/// Where local runs keep their records unless told otherwise.
pub const LOCAL_DATA_DIR: &str = "jobmeter-data";

/// What of the process and its directory counts for the choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Started as `kubectl-jobmeter`.
    pub plugin: bool,
    pub server: Option<String>,
    pub data_dir: Option<PathBuf>,
    pub coordinator: Option<String>,
    /// `./jobmeter-data` is a directory.
    pub data_dir_here: bool,
    /// A kubeconfig exists, or this is a pod with a ServiceAccount.
    pub cluster: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub place: Place,
    pub why: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Server(Url),
    Proxy(CoordinatorService),
    Local(PathBuf),
}

/// `namespace/name:port`, each part optional from the right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorService {
    pub namespace: String,
    pub name: String,
    /// Name or number.
    pub port: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    #[error(
        "nothing to ask: name a coordinator with --server URL, or a directory of records with --data-dir DIR, or a cluster with \
         --kubeconfig FILE (there is neither a ./{LOCAL_DATA_DIR} nor a kubeconfig here)"
    )]
    Nothing,
    #[error("{origin} is not the address of a coordinator: \"{text}\" should be like http://host:8080 ({why})")]
    Address { origin: &'static str, text: String, why: String },
    #[error("JOBMETER_COORDINATOR: {0}")]
    Coordinator(ServiceError),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not NAMESPACE/SERVICE:PORT, for example jobmeter/jobmeter-coordinator:http")]
pub struct ServiceError(String);

pub fn choose(args: &SourceArgs, around: &Surroundings) -> Result<Choice, ChoiceError> {
    let proxy = |why| {
        let named = args.coordinator.clone().map(Ok);
        let from_environment = || around.coordinator.as_deref().map(|text| text.parse().map_err(ChoiceError::Coordinator));
        let service = named.or_else(from_environment).transpose()?.unwrap_or_default();
        Ok(Choice { place: Place::Proxy(service), why })
    };
    let server = |origin, text: &str, why| Ok(Choice { place: Place::Server(address(origin, text)?), why });
    let local = |directory: &Path, why| Ok(Choice { place: Place::Local(directory.to_owned()), why });

    if let Some(text) = &args.server {
        server("--server", text, "--server")
    } else if let Some(directory) = &args.data_dir {
        local(directory, "--data-dir")
    } else if args.coordinator.is_some() || args.context.is_some() || args.kubeconfig.is_some() {
        proxy("as the flags say")
    } else if let Some(text) = &around.server {
        server("JOBMETER_SERVER", text, "JOBMETER_SERVER")
    } else if let Some(directory) = &around.data_dir {
        local(directory, "JOBMETER_DATA_DIR")
    } else if around.plugin {
        proxy("as a kubectl plugin")
    } else if around.data_dir_here {
        local(Path::new(LOCAL_DATA_DIR), "found in this directory; another source: --server, --context")
    } else if around.cluster {
        proxy("of your kubeconfig; another source: --server, --data-dir")
    } else {
        Err(ChoiceError::Nothing)
    }
}

fn address(origin: &'static str, text: &str) -> Result<Url, ChoiceError> {
    let bad = |why: String| ChoiceError::Address { origin, text: text.to_owned(), why };
    let url: Url = text.parse().map_err(|error| bad(format!("{error}")))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        scheme => Err(bad(format!("its scheme is \"{scheme}\""))),
    }
}

impl Surroundings {
    /// Reads the environment and the working directory, once.
    pub fn of_process() -> Self {
        let text = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let home_config = || env::home_dir().is_some_and(|home| home.join(".kube/config").is_file());
        Self {
            plugin: crate::is_kubectl_plugin(),
            server: text("JOBMETER_SERVER"),
            data_dir: text("JOBMETER_DATA_DIR").map(PathBuf::from),
            coordinator: text("JOBMETER_COORDINATOR"),
            data_dir_here: Path::new(LOCAL_DATA_DIR).is_dir(),
            cluster: text("KUBECONFIG").is_some() || text("KUBERNETES_SERVICE_HOST").is_some() || home_config(),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Server(url) => write!(formatter, "the coordinator at {url} ({})", self.why),
            Place::Proxy(service) => write!(formatter, "the coordinator {service} of the cluster ({})", self.why),
            Place::Local(directory) => write!(formatter, "the records in {} ({})", directory.display(), self.why),
        }
    }
}

impl Default for CoordinatorService {
    fn default() -> Self {
        Self { namespace: "jobmeter".into(), name: "jobmeter-coordinator".into(), port: "http".into() }
    }
}

impl fmt::Display for CoordinatorService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}:{}", self.namespace, self.name, self.port)
    }
}

impl FromStr for CoordinatorService {
    type Err = ServiceError;

    fn from_str(text: &str) -> Result<Self, ServiceError> {
        let default = Self::default();
        let (namespace, rest) = text.split_once('/').unwrap_or((&default.namespace, text));
        let (name, port) = rest.split_once(':').unwrap_or((rest, &default.port));
        // What Kubernetes allows in such names; anything else would change the path of the request.
        let is_name = |part: &str| {
            !part.is_empty() && part.len() <= 63 && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        if [namespace, name, port].into_iter().all(is_name) {
            Ok(Self { namespace: namespace.into(), name: name.into(), port: port.into() })
        } else {
            Err(ServiceError(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests;
