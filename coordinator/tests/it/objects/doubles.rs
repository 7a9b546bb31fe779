//! Servers in this process: an S3 store of another make (`s3s-fs`), a front as IBM's that wants bearer tokens, and the token
//! endpoint. They count what they are asked, and fail when told to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::stores::{ACCESS_KEY, BUCKET, SECRET_KEY};

/// Ends with its owner.
pub(super) struct Server(JoinHandle<()>);

/// What the next requests meet, and what the last ones were.
#[derive(Clone, Default)]
pub(super) struct Fault(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// 0: none.
    status: AtomicUsize,
    code: Mutex<&'static str>,
    requests: AtomicUsize,
    ahead_seconds: AtomicU64,
    answer_lost: AtomicUsize,
}

pub(super) struct S3sFs {
    pub(super) address: SocketAddr,
    root: TempDir,
    _server: Server,
}

pub(super) struct Ibm {
    pub(super) store: SocketAddr,
    pub(super) tokens: SocketAddr,
    pub(super) seen: Arc<Seen>,
    root: TempDir,
    _servers: [Server; 2],
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) granted: AtomicUsize,
    pub(super) refused: AtomicUsize,
    pub(super) forms: Mutex<Vec<String>>,
    /// Tokens of a lower number are revoked.
    pub(super) oldest_good: AtomicUsize,
    /// Of the tokens that are issued.
    pub(super) lifetime: AtomicU64,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Fault {
    /// Every request from now on is answered so.
    pub(super) fn answer(&self, status: u16, code: &'static str) {
        *self.0.code.lock().unwrap() = code;
        self.0.status.store(usize::from(status), Ordering::SeqCst);
    }

    pub(super) fn heal(&self) {
        self.0.status.store(0, Ordering::SeqCst);
    }

    /// The next completion is done, and its answer is lost.
    pub(super) fn lose_the_next_completion(&self) {
        self.0.answer_lost.store(1, Ordering::SeqCst);
    }

    /// The store's clock is so much ahead of ours, and it says so in `Date`.
    pub(super) fn run_ahead(&self, by: Duration) {
        self.0.ahead_seconds.store(by.as_secs(), Ordering::SeqCst);
    }

    pub(super) fn requests(&self) -> usize {
        self.0.requests.load(Ordering::SeqCst)
    }

    fn now(&self) -> Option<String> {
        let ahead = self.0.ahead_seconds.load(Ordering::SeqCst);
        let now = Timestamp::now() + SignedDuration::from_secs(ahead as i64);
        (ahead > 0).then(|| now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
    }
}

fn refusal(status: u16, code: &str) -> Response {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as the test wants</Message></Error>");
    (StatusCode::from_u16(status).unwrap(), [(header::CONTENT_TYPE, "application/xml")], body).into_response()
}

async fn serve(router: Router) -> (SocketAddr, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, Server(tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })))
}

async fn pass(service: &S3Service, request: Request) -> Response {
    let request = request.map(s3s::Body::http_body_unsync);
    service.call(request).await.unwrap().map(Body::new)
}

fn bucket() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join(BUCKET)).unwrap();
    root
}

/// When a request says that it was signed, in seconds since 1970.
fn signed_at(request: &Request) -> Option<i64> {
    let query = request.uri().query().unwrap_or_default();
    let in_query = query.split('&').find_map(|pair| pair.strip_prefix("X-Amz-Date="));
    let text = in_query.or_else(|| request.headers().get("x-amz-date")?.to_str().ok())?;
    let civil = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

impl S3sFs {
    pub(super) async fn start(fault: Fault) -> Self {
        let root = bucket();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let handler = move |request: Request| async move {
            fault.0.requests.fetch_add(1, Ordering::SeqCst);
            let status = fault.0.status.load(Ordering::SeqCst);
            let skew = fault.0.ahead_seconds.load(Ordering::SeqCst) as i64;
            let off = signed_at(&request).map_or(0, |signed| Timestamp::now().as_second() + skew - signed).abs();
            let completes = request.method() == "POST" && request.uri().query().is_some_and(|query| query.contains("uploadId"));
            let mut response = if status > 0 {
                refusal(u16::try_from(status).unwrap(), *fault.0.code.lock().unwrap())
            } else if skew > 0 && off > 900 {
                refusal(403, "RequestTimeTooSkewed")
            } else if skew > 0 {
                // s3s-fs would check it against the right time.
                StatusCode::OK.into_response()
            } else {
                pass(&service, request).await
            };
            if completes && fault.0.answer_lost.swap(0, Ordering::SeqCst) == 1 {
                // The store answers while it works; what it says must be heard out before its work is done.
                axum::body::to_bytes(std::mem::take(response.body_mut()), 1 << 20).await.unwrap();
                response = refusal(503, "SlowDown");
            }
            if let Some(date) = fault.now() {
                response.headers_mut().insert(header::DATE, HeaderValue::from_str(&date).unwrap());
            }
            response
        };
        let (address, server) = serve(Router::new().fallback(handler)).await;
        Self { address, root, _server: server }
    }

    pub(super) fn bucket(&self) -> PathBuf {
        self.root.path().join(BUCKET)
    }
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

pub(super) const API_KEY: &str = "an+api/key=";
pub(super) const INSTANCE: &str = "crn:v1:bluemix:public:cloud-object-storage:global:a/1:2::";

impl Ibm {
    pub(super) async fn start() -> Self {
        let seen = Arc::new(Seen { lifetime: AtomicU64::new(3600), ..Seen::default() });
        let root = bucket();
        // Without keys of its own, as it stands behind the check of the token.
        let service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).unwrap()).build();
        let guard = seen.clone();
        let store = move |mut request: Request| async move {
            let number = header(&request, "authorization").strip_prefix("Bearer token-").and_then(|number| number.parse().ok());
            let good = number.is_some_and(|number: usize| number >= guard.oldest_good.load(Ordering::SeqCst));
            if !good {
                guard.refused.fetch_add(1, Ordering::SeqCst);
                return refusal(401, "Unauthorized");
            }
            if header(&request, "ibm-service-instance-id") != INSTANCE {
                return refusal(403, "AccessDenied");
            }
            request.headers_mut().remove("authorization");
            pass(&service, request).await
        };
        let office = seen.clone();
        let tokens = move |form: String| async move {
            let wanted = "grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&apikey=an%2Bapi%2Fkey%3D";
            office.forms.lock().unwrap().push(form.clone());
            if form != wanted {
                let body = r#"{"errorCode":"BXNIM0415E","errorMessage":"Provided API key could not be found."}"#;
                return (StatusCode::BAD_REQUEST, body.to_owned());
            }
            let number = office.granted.fetch_add(1, Ordering::SeqCst) + 1;
            let lifetime = office.lifetime.load(Ordering::SeqCst);
            let body = format!(
                r#"{{"access_token":"token-{number}","refresh_token":"not_supported","token_type":"Bearer","expires_in":{lifetime}}}"#
            );
            (StatusCode::OK, body)
        };
        let (store, store_server) = serve(Router::new().fallback(store)).await;
        let tokens = Router::new().route("/identity/token", axum::routing::post(tokens));
        let (tokens, token_server) = serve(tokens).await;
        Self { store, tokens, seen, root, _servers: [store_server, token_server] }
    }

    pub(super) fn bucket(&self) -> PathBuf {
        self.root.path().join(BUCKET)
    }
}
