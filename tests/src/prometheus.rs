//! A real Prometheus on this machine, which scrapes through the API server as it would from outside a cluster.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::cluster::run;

/// Where the coordinator's own page is.
pub const COORDINATOR: &str = "/api/v1/namespaces/jobmeter/services/jobmeter-coordinator:http/proxy/metrics";

#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    url: String,
    _dir: tempfile::TempDir,
}

impl Prometheus {
    /// Scrapes these pages of the API server every second; each has a job's name and a path.
    pub fn start(pages: &[(&str, &str)]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let api = std::env::var("JOBMETER_RIG_API")?;
        let target = api.trim_start_matches("https://");
        let (token, ca) = (std::env::var("JOBMETER_RIG_TOKEN")?, std::env::var("JOBMETER_RIG_CA")?);
        let scrape = |(name, path): &(&str, &str)| {
            json!({"job_name": name, "scheme": "https", "metrics_path": path, "static_configs": [{"targets": [target]}],
                   "authorization": {"credentials": token}, "tls_config": {"ca_file": ca}})
        };
        let config = json!({
            "global": {"scrape_interval": "1s"},
            "scrape_configs": pages.iter().map(scrape).collect::<Vec<_>>(),
        });
        // JSON is YAML.
        std::fs::write(dir.path().join("prometheus.yml"), config.to_string())?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", dir.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("log"))?)
            .spawn()
            .context("failed to start prometheus")?;
        Ok(Self { child, url: format!("http://127.0.0.1:{port}"), _dir: dir })
    }

    pub fn query(&self, expression: &str) -> Result<Vec<Value>> {
        let mut promtool = Command::new("promtool");
        promtool.args(["query", "instant", "-o", "json", &self.url, expression]);
        Ok(serde_json::from_str(&run(promtool, "")?)?)
    }

    /// Of the first series.
    pub fn value(&self, expression: &str) -> Result<Option<f64>> {
        Ok(self.query(expression)?.first().and_then(|sample| sample["value"][1].as_str()?.parse().ok()))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
