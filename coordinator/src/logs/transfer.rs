//! The bytes on their way: uploads of parts, targets for pieces, and pieces that pass through the coordinator.

use jiff::{SignedDuration, Timestamp};
use jobmeter_protocol::LogId;
use jobmeter_protocol::logs::{
    MAX_TARGETS, MultipartReply, MultipartRequest, ObjectKind, Piece, Target, TargetsReply, TargetsRequest,
};

use super::ticket::{check, fits};
use super::{LogError, Logs, TIMES_ATTRIBUTES, text_attributes, times_key};
use crate::objects::{Attributes, ByteStream};
use crate::store::logs::LogRow;

/// What one call may bring.
pub const MAX_PIECE: u64 = 64 * 1024 * 1024;
/// As a presigned URL; the path itself does not expire.
const TARGET_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// Which piece of which object a `PUT` brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceTarget {
    pub pod_uid: String,
    pub container: String,
    pub attempt: u32,
    pub kind: ObjectKind,
    pub multipart: Option<String>,
    pub piece: Piece,
}

impl Logs {
    pub(crate) async fn multipart(&self, request: &MultipartRequest) -> Result<MultipartReply, LogError> {
        let row = self.row(request.version, &request.node, &request.log).await?;
        let (key, attributes) = object(&row, request.kind);
        let begun = self.noted("begin", self.0.objects.begin(&key, &attributes).await)?;
        Ok(MultipartReply { multipart: begun })
    }

    pub(crate) async fn targets(&self, request: &TargetsRequest, now: Timestamp) -> Result<TargetsReply, LogError> {
        let row = self.row(request.version, &request.node, &request.log).await?;
        if !(1..=MAX_TARGETS).contains(&request.pieces.len()) {
            let why = format!("{} pieces; 1 to {MAX_TARGETS} may be asked for at once", request.pieces.len());
            return Err(LogError::Invalid { subject: "pieces", why });
        }
        request.pieces.iter().try_for_each(check_piece)?;
        let (key, attributes) = object(&row, request.kind);
        let multipart = request.multipart.as_deref();
        if !request.proxied {
            let direct = self.0.objects.targets(&key, &attributes, multipart, &request.pieces).await;
            if let Some(targets) = self.noted("presign", direct)? {
                return Ok(TargetsReply { targets });
            }
        }
        let own = |piece: &Piece| own_target(&request.log, request.kind, multipart, piece, now);
        Ok(TargetsReply { targets: request.pieces.iter().map(own).collect() })
    }

    /// `sender`: the node that the token is bound to, where it is bound to one. Returns the ETag.
    pub(crate) async fn put(&self, target: &PieceTarget, sender: Option<&str>, body: ByteStream) -> Result<String, LogError> {
        if !self.0.config.enabled {
            return Err(LogError::Disabled);
        }
        check_piece(&target.piece)?;
        let log = LogId {
            namespace: String::new(),
            pod: String::new(),
            pod_uid: target.pod_uid.clone(),
            container: target.container.clone(),
            attempt: target.attempt,
        };
        let row = self.0.store.log(&log).await?.ok_or_else(|| no_ticket(&log))?;
        if let Some(sender) = sender {
            fits(&row, &row.log, sender).map_err(|why| LogError::OtherNode { why })?;
        }
        let (key, attributes) = object(&row, target.kind);
        let multipart = target.multipart.as_deref();
        let put = self.0.objects.put_piece(&key, &attributes, multipart, &target.piece, body).await;
        let etag = self.noted("put", put)?;
        self.0.metrics.log_proxied(target.piece.bytes);
        Ok(etag)
    }

    /// Of a log that has its ticket.
    pub(super) async fn row(&self, version: u32, node: &str, log: &LogId) -> Result<LogRow, LogError> {
        check(version, node, log)?;
        if !self.0.config.enabled {
            return Err(LogError::Disabled);
        }
        let row = self.0.store.log(log).await?.ok_or_else(|| no_ticket(log))?;
        fits(&row, log, node).map_err(|why| LogError::OtherNode { why })?;
        Ok(row)
    }
}

fn no_ticket(log: &LogId) -> LogError {
    LogError::NoTicket { pod: log.pod_uid.clone(), container: log.container.clone() }
}

fn check_piece(piece: &Piece) -> Result<(), LogError> {
    if piece.bytes > MAX_PIECE {
        let why = format!("piece {} has {} bytes; {MAX_PIECE} are the most", piece.number, piece.bytes);
        return Err(LogError::Invalid { subject: "pieces", why });
    }
    if !(1..=10_000).contains(&piece.number) {
        return Err(LogError::Invalid { subject: "pieces", why: format!("{} is not between 1 and 10000", piece.number) });
    }
    Ok(())
}

fn object(row: &LogRow, kind: ObjectKind) -> (String, Attributes) {
    match kind {
        ObjectKind::Log => (row.key.clone(), text_attributes(&row.key)),
        ObjectKind::Times => (times_key(&row.key), TIMES_ATTRIBUTES),
    }
}

fn own_target(log: &LogId, kind: ObjectKind, multipart: Option<&str>, piece: &Piece, now: Timestamp) -> Target {
    let kind = match kind {
        ObjectKind::Log => "log",
        ObjectKind::Times => "times",
    };
    let mut url = format!("/v1/logs/data/{}/{}/{}?kind={kind}&part={}", log.pod_uid, log.container, log.attempt, piece.number);
    if let Some(multipart) = multipart {
        url.push_str("&multipart=");
        url.extend(multipart.bytes().map(escaped));
    }
    Target {
        url,
        headers: vec![("Content-MD5".to_owned(), piece.md5.clone())],
        expires: now.checked_add(TARGET_LIFE).unwrap_or(Timestamp::MAX),
    }
}

/// For a query string: a store's name for an upload may hold anything.
fn escaped(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}
