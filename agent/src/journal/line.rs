//! One line of the journal: eight hex digits of CRC-32, a space, one JSON object, a newline.

use jobmeter_protocol::PodEvidence;
use serde::{Deserialize, Serialize};

use super::WriteError;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// The first line.
    Begin { version: u32 },
    /// All that is known of a pod; joins with what the journal held of it.
    Evidence { evidence: Box<PodEvidence> },
    /// Nothing before this line about the pod counts any more.
    Forgot { pod_uid: String },
}

#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error("no checksum")]
    NoChecksum,
    #[error("checksum is {found:08x}, the line says {expected:08x}")]
    Checksum { expected: u32, found: u32 },
    #[error("not an entry of this version")]
    Json(#[source] serde_json::Error),
}

impl Entry {
    pub(super) fn pod_uid(&self) -> &str {
        match self {
            Self::Begin { .. } => "",
            Self::Evidence { evidence } => &evidence.pod_uid,
            Self::Forgot { pod_uid } => pod_uid,
        }
    }

    pub(super) fn encode(&self, into: &mut Vec<u8>) -> Result<(), WriteError> {
        let json =
            serde_json::to_vec(self).map_err(|source| WriteError::Encode { pod_uid: self.pod_uid().to_owned(), source })?;
        into.extend_from_slice(format!("{:08x} ", crc32fast::hash(&json)).as_bytes());
        into.extend_from_slice(&json);
        into.push(b'\n');
        Ok(())
    }

    /// Without the newline.
    pub(super) fn decode(line: &[u8]) -> Result<Self, LineError> {
        let (checksum, json) = line.split_at_checked(8).ok_or(LineError::NoChecksum)?;
        let json = json.strip_prefix(b" ").ok_or(LineError::NoChecksum)?;
        let checksum = std::str::from_utf8(checksum).ok().and_then(|text| u32::from_str_radix(text, 16).ok());
        let expected = checksum.ok_or(LineError::NoChecksum)?;
        let found = crc32fast::hash(json);
        if found != expected {
            return Err(LineError::Checksum { expected, found });
        }
        serde_json::from_slice(json).map_err(LineError::Json)
    }
}
