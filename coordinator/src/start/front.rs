//! One router for the listener, and another behind it: what a process answers grows while it starts, and its port is open all along.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::sync::watch;
use tower::ServiceExt;

pub(super) struct Front(watch::Sender<Router>);

impl Front {
    pub(super) fn new(first: Router) -> Self {
        Self(watch::Sender::new(first))
    }

    /// What is answered from now on; requests under way stay with what they were given to.
    pub(super) fn show(&self, router: Router) {
        drop(self.0.send_replace(router));
    }

    pub(super) fn router(&self) -> Router {
        Router::new().fallback(answer).with_state(self.0.subscribe())
    }
}

async fn answer(State(behind): State<watch::Receiver<Router>>, request: Request) -> Response {
    let router = behind.borrow().clone();
    let answered: Result<Response, std::convert::Infallible> = router.oneshot(request).await;
    match answered {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
