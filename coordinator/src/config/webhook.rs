//! The admission webhook: [`WebhookConfig`], and how people write it.

use std::net::SocketAddr;

use jobmeter_daemon::config::Problems;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    pub listen: SocketAddr,
    /// The coordinator's own; `None`: that of its ServiceAccount.
    pub namespace: Option<String>,
    pub service: String,
    pub secret: String,
    /// Name of the `MutatingWebhookConfiguration`.
    pub configuration: String,
}

/// `webhook` in the file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct WebhookWritten {
    /// Answer the API server's admission reviews of pods that name a pool.
    pub enabled: bool,
    /// Address of the webhook, always with TLS.
    pub listen: SocketAddr,
    /// Name of the Service, in this namespace, by which the API server reaches the webhook.
    pub service: String,
    /// Name of the Secret, in this namespace, that the certificate is kept in. It is made and renewed.
    pub secret: String,
    /// Name of the MutatingWebhookConfiguration whose `caBundle` is kept.
    pub configuration: String,
}

impl Default for WebhookWritten {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from(([0, 0, 0, 0], 8443)),
            service: "jobmeter-webhook".to_owned(),
            secret: "jobmeter-webhook-tls".to_owned(),
            configuration: "jobmeter-pool".to_owned(),
        }
    }
}

impl WebhookWritten {
    /// `None` where it is not wanted.
    pub(super) fn resolve(self, listen: SocketAddr, namespace: Option<String>, problems: &mut Problems) -> Option<WebhookConfig> {
        if !self.enabled {
            return None;
        }
        let same = self.listen.port() == listen.port() && listen.port() != 0;
        problems.check(!same, "webhook.listen", format_args!("has the port of `listen`, {}", listen.port()));
        for (key, name) in
            [("webhook.service", &self.service), ("webhook.secret", &self.secret), ("webhook.configuration", &self.configuration)]
        {
            problems.check(!name.is_empty(), key, "is empty");
        }
        Some(WebhookConfig {
            listen: self.listen,
            namespace,
            service: self.service,
            secret: self.secret,
            configuration: self.configuration,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(webhook: WebhookWritten, listen: &str) -> Result<Option<WebhookConfig>, String> {
        let mut problems = Problems::default();
        let resolved = webhook.resolve(listen.parse().unwrap(), None, &mut problems);
        problems.finish().map(|()| resolved).map_err(|err| err.to_string())
    }

    #[test]
    fn two_servers_on_one_port_and_names_that_are_empty_are_problems_only_where_there_is_a_webhook() {
        let broken = WebhookWritten { secret: String::new(), ..WebhookWritten::default() };
        let problems = resolve(broken.clone(), "0.0.0.0:8443").unwrap_err();
        assert!(problems.contains("webhook.listen") && problems.contains("webhook.secret"), "{problems}");
        assert_eq!(resolve(WebhookWritten { enabled: false, ..broken }, "0.0.0.0:8443"), Ok(None));
        assert!(resolve(WebhookWritten::default(), "0.0.0.0:8080").unwrap().is_some());
    }
}
