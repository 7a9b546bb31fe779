//! The API server without kubectl: many requests at once, without a client's own limits, and its watches.

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use http::{Method, Request, header};
use kube::{Client, Config};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

/// So many requests are under way at once.
const AT_ONCE: usize = 32;

#[derive(Debug)]
pub struct Call {
    pub method: Method,
    pub path: String,
    pub body: Option<Value>,
}

/// A connection of its own, and what drives it.
pub struct Api {
    runtime: Runtime,
    client: Client,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Api")
    }
}

impl Api {
    /// To the cluster of `KUBECONFIG`.
    pub fn connect() -> Result<Self> {
        let runtime = runtime()?;
        let client = runtime.block_on(client())?;
        Ok(Self { runtime, client })
    }

    pub fn call(&self, call: Call) -> Result<Value> {
        self.runtime.block_on(ask(&self.client, call))
    }

    /// All of them, in any order; the first that fails ends it.
    pub fn many(&self, calls: impl IntoIterator<Item = Call>) -> Result<()> {
        let asked = stream::iter(calls).map(|call| ask(&self.client, call)).buffer_unordered(AT_ONCE);
        self.runtime.block_on(asked.try_for_each(|_| async { Ok(()) }))
    }
}

pub(crate) fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("failed to start a runtime")
}

pub(crate) async fn client() -> Result<Client> {
    let config = Config::infer().await.context("no KUBECONFIG: tests/rig env")?;
    Client::try_from(config).context("failed to make a client of KUBECONFIG")
}

async fn ask(client: &Client, call: Call) -> Result<Value> {
    let shown = format!("{} {}", call.method, call.path);
    let body = call.body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let mut request = Request::builder().method(call.method).uri(call.path);
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    client.request(request.body(body)?).await.with_context(|| shown)
}
