//! Which address pods of runs post their reports to.
//!
//! In: the configuration, a definition's settings, Services. Out: the first [`Address`] that answers there: the one that is
//! configured, the definition's Service, the coordinator's, the coordinator's own pod. A Service is preferred to the pod, because
//! it stays when the coordinator is started anew. Owner: whoever makes the pods; what was read of a Service is good for a minute.

use std::net::Ipv6Addr;

use jobmeter_protocol::runs::RunSettings;
use reqwest::Url;

use crate::config::runs::CallbacksConfig;

mod services;

use services::{Found, Services};

/// Host and port of the URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name, or an IP without brackets.
    pub host: String,
    pub port: u16,
}

/// Cheap to ask: it reads each Service once a minute.
pub struct Addresses {
    services: Services,
    config: CallbacksConfig,
    pod_ip: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error(
        "no address is known that pods of {definition} could post to: set callbacks.address or callbacks.service of the \
         coordinator, callbackServiceName of the definition, or the coordinator's environment variable POD_IP{tried}"
    )]
    None { definition: String, tried: String },
    #[error("{host:?} is no host that can stand in a URL: correct callbacks.address of the coordinator")]
    NotAHost { host: String },
    #[error(
        "the coordinator may not read the Service {namespace}/{name}: grant it get of services there, or set callbacks.address \
         of the coordinator ({why})"
    )]
    Forbidden { namespace: String, name: String, why: String },
    /// It may be known a moment later.
    #[error("the Service {namespace}/{name} could not be read: {why}")]
    Unknown { namespace: String, name: String, why: String },
}

impl Addresses {
    /// `pod_ip`: of the coordinator's own pod.
    pub fn new(client: kube::Client, config: CallbacksConfig, pod_ip: Option<String>) -> Self {
        let pod_ip = pod_ip.filter(|ip| !ip.is_empty());
        Self { services: Services::new(client), config, pod_ip }
    }

    pub async fn of(&self, settings: &RunSettings) -> Result<Address, AddressError> {
        let port = settings.callback_port.unwrap_or(self.config.port);
        if let Some(host) = &self.config.address {
            return Ok(Address { host: unbracketed(host).to_owned(), port });
        }
        let named = settings.callback_service.as_ref().map(|name| (settings.namespace.as_str(), name.as_str()));
        let own = self.config.service.as_ref().map(|(namespace, name)| (namespace.as_str(), name.as_str()));
        let mut tried = String::new();
        for (namespace, name) in named.into_iter().chain(own.filter(|own| Some(*own) != named)) {
            let why = match self.services.read(namespace, name).await? {
                Found::At { host, ports } if ports.as_ref().is_none_or(|ports| ports.contains(&port)) => {
                    return Ok(Address { host, port });
                }
                Found::At { .. } => format!("has no port {port}"),
                Found::Absent => "is not there".to_owned(),
            };
            tracing::debug!(definition = settings.name, namespace, service = name, why, "reports are not posted to this Service");
            tried += &format!("; the Service {namespace}/{name} {why}");
        }
        match &self.pod_ip {
            Some(ip) => Ok(Address { host: unbracketed(ip).to_owned(), port }),
            None => Err(AddressError::None { definition: settings.name.clone(), tried }),
        }
    }
}

impl Address {
    /// `http://<host>:<port>/report/<node>/<run>/<token>/<what>`. A port 80 is not written: it is what `http` means.
    pub fn report_url(&self, node: &str, run: &str, token: &str, what: &str) -> Result<String, AddressError> {
        let not_a_host = || AddressError::NotAHost { host: self.host.clone() };
        let written = if self.host.parse::<Ipv6Addr>().is_ok() { format!("[{}]", self.host) } else { self.host.clone() };
        let mut url = Url::parse(&format!("http://{written}:{}", self.port)).map_err(|_| not_a_host())?;
        // Else something of the host was taken for a path, a user or another port.
        let whole = url.path() == "/" && url.username().is_empty() && url.port_or_known_default() == Some(self.port);
        if !whole || url.query().is_some() || url.fragment().is_some() {
            return Err(not_a_host());
        }
        url.path_segments_mut().map_err(|()| not_a_host())?.clear().extend(["report", node, run, token, what]);
        Ok(url.into())
    }
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
pub(crate) mod tests;
