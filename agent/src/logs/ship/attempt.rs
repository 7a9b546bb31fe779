//! One attempt at one log, from ticket to acknowledgement. It may be dropped at any point: what it leaves behind is on the
//! disk, in the store and in the coordinator's books, and the next attempt goes on from there.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use jobmeter_decide::shipping::Lane;
use jobmeter_protocol::{
    LogContent, VERSION,
    logs::{CompleteReply, CompleteRequest, ObjectKind, TicketReply, TicketRequest, UploadPolicy, UploadedObject},
};

use super::{
    buffers::Buffers,
    encode::{Cutter, Form, Part, Source, encode, send_file},
    progress::{Plan, Progress},
    put::Putter,
    run::Ship,
    times::Times,
    trouble::Trouble,
    upload::upload,
};
use crate::logs::{Outcome, SealedLog};

/// What the encoder may append to a full part before it is cut.
const SLACK: usize = 256 * 1024;

pub(super) struct Attempt<'a> {
    pub(super) ship: &'a Ship,
    pub(super) sealed: &'a Arc<SealedLog>,
    pub(super) lane: Lane,
    pub(super) skip_bad_disk: bool,
}

impl Attempt<'_> {
    pub(super) async fn run(self) -> Result<Outcome, Trouble> {
        let sealed = self.sealed;
        let log = sealed.log.clone();
        let (plan, ca_pem) = match self.ticket().await? {
            TicketReply::Ticket { key, policy, ca_pem } => (Plan { key, policy }, ca_pem),
            TicketReply::Stored { key } => return Ok(Outcome::Stored { log, key, raw_bytes: sealed.raw_bytes }),
            TicketReply::NotAJob { why } => return Ok(Outcome::NotAJob { log, why }),
            TicketReply::Rejected { why } => return Ok(Outcome::Rejected { log, why }),
            TicketReply::Later { why, seconds } => return Err(later("ticket", why, seconds)),
        };
        let mut progress = Progress::load(sealed, plan.clone()).await;
        let request = match progress.complete() {
            Some(request) => request.clone(),
            None => self.upload(plan.policy, ca_pem.as_deref(), &mut progress).await?,
        };
        self.complete(request, &mut progress).await?;
        Ok(Outcome::Stored { log, key: plan.key, raw_bytes: sealed.raw_bytes })
    }

    async fn ticket(&self) -> Result<TicketReply, Trouble> {
        let request = TicketRequest {
            version: VERSION,
            node: self.ship.node.clone(),
            log: self.sealed.log.clone(),
            raw_bytes: self.sealed.raw_bytes,
            job: self.sealed.job,
        };
        self.ship.uplink.ticket(request).await.map_err(Trouble::Ticket)
    }

    /// Both objects, and what the coordinator is to be told of them.
    async fn upload(
        &self,
        policy: UploadPolicy,
        ca_pem: Option<&str>,
        progress: &mut Progress,
    ) -> Result<CompleteRequest, Trouble> {
        let route = self.ship.route.begin(self.ship.options.direct_again);
        let (ship, log) = (self.ship, &self.sealed.log);
        let putter = Putter { ship, log, kind: ObjectKind::Log, multipart: None, ca_pem, route: &route };
        let source = Source { sealed: Arc::clone(self.sealed), policy, skip_bad_disk: self.skip_bad_disk };
        let (cutter, parts) = self.cutter(&policy);
        let (object, (mut content, times)) = side_by_side(putter, parts, progress, move || encode(&source, cutter)).await?;
        let times_object = match times {
            Times::None => None,
            Times::Inline(times) => {
                content.times = Some(STANDARD.encode(times));
                None
            }
            Times::File(path) => {
                let (cutter, parts) = self.cutter(&UploadPolicy { whole_bytes: u64::MAX, ..policy });
                let putter = Putter { kind: ObjectKind::Times, ..putter };
                let (object, ()) = side_by_side(putter, parts, progress, move || send_file(&path, cutter)).await?;
                Some(object)
            }
        };
        Ok(self.request(object, times_object, content))
    }

    fn cutter(&self, policy: &UploadPolicy) -> (Cutter, tokio::sync::mpsc::Receiver<Part>) {
        let options = &self.ship.options;
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        match self.lane {
            Lane::Small => {
                let capacity = size(self.sealed.raw_bytes.min(options.limits.small_bytes)) + SLACK / 4;
                let most = size(policy.whole_bytes.min(options.limits.small_bytes));
                Cutter::new(Buffers::new(1, capacity), Form::Whole { most })
            }
            Lane::Large => {
                let bytes = size(policy.part_bytes.max(1));
                Cutter::new(Buffers::new(options.parts_in_flight + 1, bytes.saturating_add(SLACK)), Form::Parts { bytes })
            }
        }
    }

    fn request(&self, object: UploadedObject, times_object: Option<UploadedObject>, content: LogContent) -> CompleteRequest {
        CompleteRequest {
            version: VERSION,
            node: self.ship.node.clone(),
            log: self.sealed.log.clone(),
            raw_bytes: self.sealed.raw_bytes,
            object,
            times_object,
            content,
        }
    }

    async fn complete(&self, request: CompleteRequest, progress: &mut Progress) -> Result<(), Trouble> {
        let trouble = match self.ship.uplink.complete(request.clone()).await {
            Ok(CompleteReply::Done) => return Ok(()),
            Ok(CompleteReply::Again { why }) => {
                progress.begin_anew().await;
                return Err(Trouble::Again { why });
            }
            Ok(CompleteReply::Later { why, seconds }) => later("complete", why, seconds),
            Err(err) => Trouble::Complete(err),
        };
        if progress.complete().is_none() {
            progress.save_complete(self.sealed, request).await;
        }
        Err(trouble)
    }
}

fn later(step: &'static str, why: String, seconds: u32) -> Trouble {
    Trouble::Later { step, why, after: Duration::from_secs(seconds.into()) }
}

/// Makes the parts on a thread that may block while they are uploaded here.
async fn side_by_side<T: Send + 'static>(
    putter: Putter<'_>,
    parts: tokio::sync::mpsc::Receiver<Part>,
    progress: &mut Progress,
    make: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<(UploadedObject, T), Trouble> {
    let making = tokio::task::spawn_blocking(make);
    let uploaded = upload(putter, parts, progress).await;
    let made = making.await.unwrap_or_else(|_panicked| Err(Trouble::Stopped));
    match (uploaded, made) {
        (Ok(object), Ok(made)) => Ok((object, made)),
        // Whoever failed first has the reason; the other only stopped for want of a partner.
        (Err(Trouble::Stopped) | Ok(_), Err(trouble)) => Err(trouble),
        (Err(trouble), _) => Err(trouble),
    }
}
