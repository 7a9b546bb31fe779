//! Coordinator and object store in one, with faults on request. What it holds in the end is what the tests compare.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use jobmeter_protocol::{
    Compression, LogContent, LogFormat, LogId,
    logs::{
        CompleteReply, CompleteRequest, MultipartReply, MultipartRequest, ObjectKind, Piece, Target, TargetsReply,
        TargetsRequest, TicketReply, TicketRequest, UploadPolicy, UploadedObject,
    },
};
use md5::{Digest, Md5};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Ticket,
    Multipart,
    Targets,
    PutDirect,
    PutProxied,
    Complete,
}

#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The connection ends before there is an answer, and nothing is done.
    Cut,
    /// The connection ends after it was done.
    CutAfter,
    Status(u16),
    Busy(Duration),
    Slow(Duration),
    /// Done, but without an ETag.
    NoEtag,
    /// Of a multipart upload: it is gone.
    Forgotten,
    /// Of a put: it arrived damaged, and nobody noticed.
    Damaged,
    Later(u32),
}

#[derive(Default)]
pub(crate) struct Double(Mutex<State>);

pub(crate) struct State {
    pub(crate) policy: UploadPolicy,
    pub(crate) faults: HashMap<Step, VecDeque<Fault>>,
    /// Answers of its own for pods of this name.
    pub(crate) tickets: HashMap<String, TicketReply>,
    /// Every put fails, whatever the script says.
    pub(crate) down: bool,
    pub(crate) no_direct: bool,
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    uploads: BTreeMap<String, Upload>,
    pub(crate) completed: BTreeMap<String, CompleteRequest>,
    /// Of pieces, by step, done or not.
    pub(crate) puts: HashMap<Step, usize>,
    pub(crate) steps: HashMap<Step, usize>,
    pub(crate) under_way: usize,
    pub(crate) most_under_way: usize,
    targets: u32,
}

struct Upload {
    key: String,
    parts: BTreeMap<u32, (Vec<u8>, String)>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            policy: UploadPolicy {
                format: LogFormat::Text,
                compression: Compression::None,
                whole_bytes: 64 * 1024,
                part_bytes: 32 * 1024,
            },
            faults: HashMap::new(),
            tickets: HashMap::new(),
            down: false,
            no_direct: false,
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
            completed: BTreeMap::new(),
            puts: HashMap::new(),
            steps: HashMap::new(),
            under_way: 0,
            most_under_way: 0,
            targets: 0,
        }
    }
}

/// Where a piece goes: all of it is in its target's URL.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Place {
    pub(crate) key: String,
    pub(crate) upload: Option<String>,
    pub(crate) number: u32,
    pub(crate) md5: String,
    /// Each target is another.
    pub(crate) signature: String,
}

pub(crate) fn key(log: &LogId, kind: ObjectKind) -> String {
    let extension = if kind == ObjectKind::Log { "" } else { ".times" };
    format!("{}/{}.log{extension}", log.namespace, log.pod)
}

impl Double {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn fail(&self, step: Step, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.entry(step).or_default().extend(faults);
    }

    pub(crate) fn fault(&self, step: Step) -> Option<Fault> {
        let mut state = self.state();
        *state.steps.entry(step).or_default() += 1;
        if matches!(step, Step::PutDirect | Step::PutProxied) && state.down || step == Step::PutDirect && state.no_direct {
            return Some(Fault::Cut);
        }
        state.faults.get_mut(&step)?.pop_front()
    }

    pub(crate) fn steps(&self, step: Step) -> usize {
        self.state().steps.get(&step).copied().unwrap_or_default()
    }

    pub(crate) fn puts(&self) -> usize {
        self.state().puts.values().sum()
    }

    pub(crate) fn ticket(&self, request: &TicketRequest) -> TicketReply {
        let state = self.state();
        let key = key(&request.log, ObjectKind::Log);
        if let Some(reply) = state.tickets.get(&request.log.pod) {
            return reply.clone();
        }
        match state.completed.contains_key(&key) {
            true => TicketReply::Stored { key },
            false => TicketReply::Ticket { key, policy: state.policy, ca_pem: None },
        }
    }

    pub(crate) fn multipart(&self, request: &MultipartRequest) -> MultipartReply {
        let mut state = self.state();
        let multipart = format!("upload-{}", state.uploads.len());
        let upload = Upload { key: key(&request.log, request.kind), parts: BTreeMap::new() };
        state.uploads.insert(multipart.clone(), upload);
        MultipartReply { multipart }
    }

    pub(crate) fn targets(&self, request: &TargetsRequest, store: &str) -> TargetsReply {
        let mut state = self.state();
        let mut target = |piece: &Piece| {
            state.targets += 1;
            let place = Place {
                key: key(&request.log, request.kind),
                upload: request.multipart.clone(),
                number: piece.number,
                md5: piece.md5.clone(),
                signature: format!("secret-{}", state.targets),
            };
            let base = if request.proxied { "/v1/logs/data" } else { store };
            let url = reqwest::Url::parse_with_params("http://x/", query(&place)).unwrap();
            Target {
                url: format!("{base}/{}?{}", place.key, url.query().unwrap()),
                headers: vec![("content-md5".to_owned(), piece.md5.clone())],
                expires: Timestamp::MAX,
            }
        };
        TargetsReply { targets: request.pieces.iter().map(&mut target).collect() }
    }

    /// Returns the ETag, or `None` where the upload is not there.
    pub(crate) fn put(&self, step: Step, place: &Place, body: &[u8], damaged: bool) -> Option<String> {
        assert_eq!(STANDARD.encode(Md5::digest(body)), place.md5, "the digest is of what was sent");
        let mut state = self.state();
        *state.puts.entry(step).or_default() += 1;
        let mut body = body.to_vec();
        if damaged && let Some(byte) = body.last_mut() {
            *byte ^= 1;
        }
        let etag = format!("\"{:x?}\"", Md5::digest(&body));
        match &place.upload {
            None => drop(state.objects.insert(place.key.clone(), body)),
            Some(upload) => {
                let upload = state.uploads.get_mut(upload)?;
                assert_eq!(upload.key, place.key);
                upload.parts.insert(place.number, (body, etag.clone()));
            }
        }
        Some(if damaged { format!("\"{:x?}\"", Md5::digest(b"what was sent")) } else { etag })
    }

    pub(crate) fn forget_uploads(&self) {
        self.state().uploads.clear();
    }

    pub(crate) fn complete(&self, request: &CompleteRequest) -> CompleteReply {
        let mut state = self.state();
        for (kind, object) in [(ObjectKind::Log, Some(&request.object)), (ObjectKind::Times, request.times_object.as_ref())] {
            if let Some(object) = object
                && let Err(why) = state.assemble(&key(&request.log, kind), object)
            {
                return CompleteReply::Again { why };
            }
        }
        state.completed.insert(key(&request.log, ObjectKind::Log), request.clone());
        CompleteReply::Done
    }

    pub(crate) fn content(&self, key: &str) -> LogContent {
        self.state().completed[key].content.clone()
    }
}

impl State {
    fn assemble(&mut self, key: &str, object: &UploadedObject) -> Result<(), String> {
        if let Some(name) = &object.multipart {
            if !self.uploads.contains_key(name) && self.objects.contains_key(key) {
                return self.check(key, object);
            }
            let upload = self.uploads.get(name).ok_or("no such upload")?;
            let mut whole = Vec::new();
            for part in &object.parts {
                let (body, etag) = upload.parts.get(&part.number).ok_or("no such part")?;
                if *etag != part.etag || body.len() as u64 != part.bytes {
                    return Err(format!("part {} is another", part.number));
                }
                whole.extend_from_slice(body);
            }
            self.objects.insert(key.to_owned(), whole);
            self.uploads.remove(name);
        }
        self.check(key, object)
    }

    fn check(&self, key: &str, object: &UploadedObject) -> Result<(), String> {
        let stored = self.objects.get(key).ok_or("no such object")?;
        if object.multipart.is_none() && object.parts[0].etag != format!("\"{:x?}\"", Md5::digest(stored)) {
            return Err("another ETag".to_owned());
        }
        if stored.len() as u64 == object.bytes { Ok(()) } else { Err("another length".to_owned()) }
    }
}

fn query(place: &Place) -> Vec<(&'static str, String)> {
    let mut query = vec![
        ("key", place.key.clone()),
        ("number", place.number.to_string()),
        ("md5", place.md5.clone()),
        ("signature", place.signature.clone()),
    ];
    query.extend(place.upload.clone().map(|upload| ("upload", upload)));
    query
}
