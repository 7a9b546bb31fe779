//! Addresses of Services, each read at most once a minute. In: namespace and name. Out: where it is, or that it is not there.

use std::collections::HashMap;
use std::time::Duration;

use jobmeter_daemon::error::chain;
use k8s_openapi::api::core::v1::Service;
use kube::Client;
use kube::api::Api;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::AddressError;

const GOOD_FOR: Duration = Duration::from_secs(60);
/// What went wrong is not asked for again by each pod of a run.
const BAD_FOR: Duration = Duration::from_secs(2);
const CALL: Duration = Duration::from_secs(5);
/// Of as many definitions; beyond it all are read again.
const MOST: usize = 1_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    At {
        host: String,
        /// `None`: a name that leads to the pods themselves, with all their ports.
        ports: Option<Vec<u16>>,
    },
    Absent,
}

type Answer = Result<Found, AddressError>;

pub(super) struct Services {
    client: Client,
    /// Held while one is read: whoever asks meanwhile wants the same.
    known: Mutex<HashMap<(String, String), (Instant, Answer)>>,
}

impl Services {
    pub(super) fn new(client: Client) -> Self {
        Self { client, known: Mutex::default() }
    }

    pub(super) async fn read(&self, namespace: &str, name: &str) -> Answer {
        let mut known = self.known.lock().await;
        let key = (namespace.to_owned(), name.to_owned());
        if let Some((until, answer)) = known.get(&key)
            && *until > Instant::now()
        {
            return answer.clone();
        }
        let answer = self.ask(namespace, name).await;
        let lasts = if answer.is_ok() { GOOD_FOR } else { BAD_FOR };
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key, (Instant::now() + lasts, answer.clone()));
        answer
    }

    async fn ask(&self, namespace: &str, name: &str) -> Answer {
        let services: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        let unknown = |why| AddressError::Unknown { namespace: namespace.to_owned(), name: name.to_owned(), why };
        match timeout(CALL, services.get_opt(name)).await {
            Err(_) => Err(unknown(format!("no answer within {} seconds", CALL.as_secs()))),
            Ok(Ok(None)) => Ok(Found::Absent),
            Ok(Ok(Some(service))) => Ok(at(&service, namespace, name)),
            Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => {
                let why = status.message.clone();
                Err(AddressError::Forbidden { namespace: namespace.to_owned(), name: name.to_owned(), why })
            }
            Ok(Err(err)) => Err(unknown(chain(&err))),
        }
    }
}

fn at(service: &Service, namespace: &str, name: &str) -> Found {
    let spec = service.spec.as_ref();
    let ip = spec.and_then(|spec| spec.cluster_ip.as_deref()).filter(|ip| !ip.is_empty() && *ip != "None");
    match ip {
        Some(ip) => {
            let ports = spec.iter().flat_map(|spec| spec.ports.iter().flatten());
            let ports = ports.filter_map(|port| u16::try_from(port.port).ok()).collect();
            Found::At { host: ip.to_owned(), ports: Some(ports) }
        }
        None => Found::At { host: format!("{name}.{namespace}.svc"), ports: None },
    }
}
