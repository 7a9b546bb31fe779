//! One object: as one piece, or in parts of which some are under way at a time. Parts that were put before are not put again.

use futures::{StreamExt, stream::FuturesUnordered};
use jobmeter_protocol::{
    VERSION,
    logs::{MultipartRequest, ObjectKind, UploadedObject, UploadedPart},
};
use tokio::sync::mpsc;

use super::{encode::Part, progress::Progress, put::Putter, trouble::Trouble};
use crate::uplink::PutError;

pub(super) async fn upload(
    putter: Putter<'_>,
    mut parts: mpsc::Receiver<Part>,
    progress: &mut Progress,
) -> Result<UploadedObject, Trouble> {
    let first = parts.recv().await.ok_or(Trouble::Stopped)?;
    if first.last {
        let put = putter.put(&first).await?;
        return Ok(UploadedObject { bytes: put.bytes, multipart: None, parts: vec![put] });
    }
    let multipart = begin(putter, progress).await?;
    let outcome = put_all(Putter { multipart: Some(&multipart), ..putter }, first, parts, progress).await;
    match &outcome {
        Err(Trouble::Put { source: PutError::Gone { .. }, .. }) => progress.forget(putter.kind).await,
        Ok(_) | Err(_) => progress.save().await,
    }
    let mut parts = outcome?;
    parts.sort_unstable_by_key(|part| part.number);
    Ok(UploadedObject { bytes: parts.iter().map(|part| part.bytes).sum(), multipart: Some(multipart), parts })
}

async fn begin(putter: Putter<'_>, progress: &mut Progress) -> Result<String, Trouble> {
    if let Some(begun) = progress.multipart(putter.kind) {
        return Ok(begun.to_owned());
    }
    let request =
        MultipartRequest { version: VERSION, node: putter.ship.node.clone(), log: putter.log.clone(), kind: putter.kind };
    let multipart = putter.ship.uplink.multipart(request).await.map_err(Trouble::Multipart)?.multipart;
    progress.begin(putter.kind, multipart.clone()).await;
    Ok(multipart)
}

async fn put_all(
    putter: Putter<'_>,
    first: Part,
    mut parts: mpsc::Receiver<Part>,
    progress: &mut Progress,
) -> Result<Vec<UploadedPart>, Trouble> {
    let (kind, options, metrics): (ObjectKind, _, _) = (putter.kind, &putter.ship.options, &putter.ship.metrics);
    let mut done = Vec::new();
    let mut under_way = FuturesUnordered::new();
    let (mut next, mut seen_last) = (Some(first), false);
    loop {
        if let Some(part) = next.take() {
            seen_last = part.last;
            match progress.find(kind, &part.piece) {
                Some(before) => {
                    metrics.parts_resumed.inc();
                    done.push(before);
                }
                None => under_way.push(async move {
                    let outcome = putter.put(&part).await;
                    (part.piece, outcome)
                }),
            }
        }
        if seen_last && under_way.is_empty() {
            return Ok(done);
        }
        let room = !seen_last && under_way.len() < options.parts_in_flight;
        tokio::select! {
            part = parts.recv(), if room => next = Some(part.ok_or(Trouble::Stopped)?),
            Some((piece, outcome)) = under_way.next(), if !under_way.is_empty() => {
                let put = outcome?;
                progress.put(kind, &piece, &put.etag, options.progress_every).await;
                done.push(put);
            }
        }
    }
}
