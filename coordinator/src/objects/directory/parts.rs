//! Uploads of parts: a directory for each, a file for each part, named by its MD5. Whoever repeats a step finds it done.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use jobmeter_protocol::logs::UploadedObject;
use uuid::Uuid;

use super::mismatch;
use super::place::{Place, failed, make_directory};
use crate::objects::ObjectError;

/// Holds the key of the object in an upload's directory.
const KEY: &str = "key";

pub(super) fn begin(place: &Place, key: &str) -> Result<String, ObjectError> {
    // A key that cannot be completed is refused before anything was sent.
    place.object(key)?;
    let id = Uuid::new_v4().to_string();
    let directory = place.uploads().join(&id);
    make_directory(&directory).and_then(|()| fs::write(directory.join(KEY), key)).map_err(failed("begin", key))?;
    Ok(id)
}

/// Where a part of that MD5 goes.
pub(super) fn path(place: &Place, key: &str, upload: &str, number: u32, etag: &str) -> Result<PathBuf, ObjectError> {
    Ok(directory(place, key, upload)?.ok_or_else(|| gone(key))?.join(format!("{number:05}.{etag}")))
}

pub(super) fn complete(place: &Place, key: &str, object: &UploadedObject) -> Result<(), ObjectError> {
    let action = "put together";
    let Some(directory) = directory(place, key, object.multipart.as_deref().unwrap_or_default())? else {
        // Completed before, or removed: the caller looks at what is there.
        return Ok(());
    };
    let mut sources = Vec::with_capacity(object.parts.len());
    for part in &object.parts {
        let path = path(place, key, object.multipart.as_deref().unwrap_or_default(), part.number, part.etag.trim_matches('"'))?;
        match File::open(&path).and_then(|file| file.metadata().map(|metadata| (file, metadata.len()))) {
            Ok((file, length)) if length == part.bytes => sources.push(file),
            Ok((_, length)) => {
                let why = format!("part {} has {length} bytes where {} were put", part.number, part.bytes);
                return Err(mismatch(key, why));
            }
            Err(err) if err.kind() == ErrorKind::NotFound => {
                return Err(mismatch(key, format!("part {} is not there", part.number)));
            }
            Err(err) => return Err(failed(action, key)(err)),
        }
    }
    let mut whole = place.fresh(object.bytes).map_err(failed(action, key))?;
    for mut source in sources {
        // Within the kernel where the file system can, sharing blocks where it can do that.
        io::copy(&mut source, whole.file()).map_err(failed(action, key))?;
    }
    place.publish(whole, &place.object(key)?).map_err(failed(action, key))?;
    fs::remove_dir_all(&directory).map_err(failed(action, key))
}

/// How many uploads nobody has touched for so long, and are gone now.
pub(super) fn abort_stale(place: &Place, older_than: Duration) -> Result<u64, ObjectError> {
    let action = "look for old uploads in";
    let uploads = place.uploads();
    let subject = uploads.display().to_string();
    let entries = match fs::read_dir(&uploads) {
        Ok(entries) => entries,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(0),
        Err(err) => return Err(failed(action, &subject)(err)),
    };
    let now = SystemTime::now();
    let mut removed = 0;
    for entry in entries {
        let entry = entry.map_err(failed(action, &subject))?;
        let stale = |metadata: fs::Metadata| {
            // Each part that arrives changes the directory's time.
            let touched = metadata.modified()?;
            let is_stale = now.duration_since(touched).is_ok_and(|age| age > older_than);
            Ok(is_stale.then_some(metadata.is_dir()))
        };
        let done = match entry.metadata().and_then(stale) {
            Ok(Some(true)) => fs::remove_dir_all(entry.path()),
            Ok(Some(false)) => fs::remove_file(entry.path()),
            Ok(None) => continue,
            Err(err) => Err(err),
        };
        match done {
            Ok(()) => removed += 1,
            // Completed meanwhile.
            Err(err) if err.kind() == ErrorKind::NotFound => {}
            Err(err) => return Err(failed(action, &entry.path().display().to_string())(err)),
        }
    }
    Ok(removed)
}

/// `None`: there is no such upload of this key (any more).
fn directory(place: &Place, key: &str, upload: &str) -> Result<Option<PathBuf>, ObjectError> {
    let Ok(id) = upload.parse::<Uuid>() else { return Ok(None) };
    let directory = place.uploads().join(id.to_string());
    match fs::read_to_string(directory.join(KEY)) {
        Ok(found) if found == key => Ok(Some(directory)),
        Ok(_) => Ok(None),
        Err(err) if matches!(err.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(err) => Err(failed("find the upload of", key)(err)),
    }
}

fn gone(key: &str) -> ObjectError {
    mismatch(key, "its upload of parts is not known any more: begin anew".to_owned())
}
