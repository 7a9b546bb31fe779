//! Which of several coordinators leads: [`LeadershipConfig`], and how people write it.

use std::net::{IpAddr, SocketAddr};

use jobmeter_daemon::config::{HumanDuration, Problems};
use jobmeter_decide::leadership::Timing;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeadershipConfig {
    /// Name of the Lease.
    pub lease: String,
    /// `None`: the namespace that this process runs in.
    pub namespace: Option<String>,
    /// Name of this process's pod. `None`: its host name.
    pub pod: Option<String>,
    /// Of this process's pod.
    pub pod_uid: Option<String>,
    /// Where the other replicas reach this one. `None`: they cannot.
    pub address: Option<String>,
    pub timing: Timing,
}

/// `leadership` in the file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct LeadershipWritten {
    /// Lead only while holding the Lease; `false` is for one coordinator outside of a cluster.
    pub enabled: bool,
    /// Name of the Lease in the coordinator's namespace.
    pub lease: String,
    /// How long a leader that is silent is waited for.
    pub lease_duration: HumanDuration,
    /// A leader that cannot renew the Lease for so long ends.
    pub renew_deadline: HumanDuration,
    /// How often the Lease is renewed, or looked at.
    pub retry_period: HumanDuration,
    /// Where the other replicas reach this one; `null`: its pod's IP and the port of `listen`.
    pub address: Option<String>,
}

/// What the pod's own environment says of it.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    pub pod: Option<String>,
    pub pod_uid: Option<String>,
    pub namespace: Option<String>,
    pub ip: Option<IpAddr>,
}

impl Default for LeadershipWritten {
    fn default() -> Self {
        let timing = Timing::default();
        Self {
            enabled: true,
            lease: "jobmeter-coordinator".to_owned(),
            lease_duration: HumanDuration(timing.lease_duration),
            renew_deadline: HumanDuration(timing.renew_deadline),
            retry_period: HumanDuration(timing.retry_period),
            address: None,
        }
    }
}

impl LeadershipWritten {
    /// `None`: this coordinator leads without asking.
    pub(super) fn resolve(
        self,
        listen: SocketAddr,
        surroundings: Surroundings,
        problems: &mut Problems,
    ) -> Option<LeadershipConfig> {
        let timing = Timing {
            lease_duration: self.lease_duration.0,
            renew_deadline: self.renew_deadline.0,
            retry_period: self.retry_period.0,
        };
        if let Err(wrong) = timing.check() {
            problems.add(&format!("leadership.{}", wrong.key()), wrong);
        }
        problems.check(
            is_name(&self.lease),
            "leadership.lease",
            "is no name of an object: lower case letters, digits, `-` and `.`",
        );
        let address = self.address.or_else(|| surroundings.ip.map(|ip| format!("http://{}", SocketAddr::new(ip, listen.port()))));
        if let Some(address) = &address
            && let Some(url) = problems.take("leadership.address", reqwest::Url::parse(address))
        {
            problems.check(url.scheme() == "http", "leadership.address", "is not http://HOST:PORT");
        }
        let address = address.map(|address| address.trim_end_matches('/').to_owned());
        let Surroundings { pod, pod_uid, namespace, .. } = surroundings;
        let config = LeadershipConfig { lease: self.lease, namespace, pod, pod_uid, address, timing };
        self.enabled.then_some(config)
    }
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=253).contains(&name.len())
        && name.chars().all(|c| plain(c) || "-.".contains(c))
        && name.starts_with(plain)
        && name.ends_with(plain)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn resolved(text: &str, ip: Option<&str>) -> (Option<LeadershipConfig>, String) {
        let written: LeadershipWritten = jobmeter_daemon::config::parse(text, Path::new("coordinator.yaml")).unwrap();
        let surroundings = Surroundings { ip: ip.map(|ip| ip.parse().unwrap()), ..Surroundings::default() };
        let mut problems = Problems::default();
        let config = written.resolve("0.0.0.0:8080".parse().unwrap(), surroundings, &mut problems);
        (config, problems.finish().map_or_else(|invalid| invalid.to_string(), |()| String::new()))
    }

    #[test]
    fn the_others_reach_a_replica_at_its_pods_ip_and_the_port_it_listens_on() {
        let address = |text, ip| resolved(text, ip).0.unwrap().address;
        assert_eq!(address("", Some("10.2.3.4")).as_deref(), Some("http://10.2.3.4:8080"));
        assert_eq!(address("", Some("fd00::7")).as_deref(), Some("http://[fd00::7]:8080"));
        assert_eq!(address("", None), None);
        assert_eq!(address("address: http://c0.jobmeter:81/", Some("10.2.3.4")).as_deref(), Some("http://c0.jobmeter:81"));
    }

    #[test]
    fn a_leader_that_could_outlive_its_lease_is_refused() {
        assert_eq!(resolved("", None).1, "");
        let (_, problems) = resolved("leaseDuration: 10s\nrenewDeadline: 10s\nlease: My Lease\naddress: https://x\n", None);
        for part in ["leadership.renewDeadline", "leadership.lease", "leadership.address"] {
            assert!(problems.contains(part), "{part} in {problems}");
        }
        assert!(resolved("retryPeriod: 9s", None).1.contains("leadership.retryPeriod"));
        assert_eq!(resolved("enabled: false", None).0, None);
    }
}
