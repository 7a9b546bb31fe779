//! One piece: a target for it, its bytes, its ETag. Here are the quick repetitions; slow ones are of the whole attempt.

use jobmeter_protocol::{
    LogId, VERSION,
    logs::{ObjectKind, Target, TargetsRequest, UploadedPart},
};

use super::{
    encode::Part,
    route::{LogRoute, Way},
    run::Ship,
    trouble::Trouble,
};
use crate::uplink::{PutError, UplinkError};

/// What the pieces of one object have in common.
#[derive(Clone, Copy)]
pub(super) struct Putter<'a> {
    pub(super) ship: &'a Ship,
    pub(super) log: &'a LogId,
    pub(super) kind: ObjectKind,
    pub(super) multipart: Option<&'a str>,
    pub(super) ca_pem: Option<&'a str>,
    pub(super) route: &'a LogRoute,
}

/// Then the rest of the log goes through the coordinator.
const DIRECT_FAILURES: u32 = 2;

impl Putter<'_> {
    pub(super) async fn put(&self, part: &Part) -> Result<UploadedPart, Trouble> {
        let options = &self.ship.options;
        let mut waits = options.piece_backoff();
        let mut direct_failures = 0;
        loop {
            let asked = self.route.way();
            let (way, outcome) = self.once(part, asked).await;
            let trouble = match outcome {
                Ok(etag) => {
                    self.arrived(part, way, asked);
                    return Ok(UploadedPart { number: part.piece.number, bytes: part.piece.bytes, etag });
                }
                Err(trouble) => trouble,
            };
            if way == Way::Direct && may_be_better_through_the_coordinator(&trouble) {
                direct_failures += 1;
                if direct_failures == DIRECT_FAILURES {
                    self.route.give_up_direct();
                }
            }
            let at_least = trouble.at_least().unwrap_or_default();
            let gone = matches!(trouble, Trouble::Put { source: PutError::Gone { .. }, .. });
            match waits.next() {
                Some(wait) if !gone && at_least <= options.piece_patience => {
                    self.ship.metrics.failed(&trouble);
                    tracing::debug!(
                        error = &trouble as &dyn std::error::Error,
                        pod = self.log.pod,
                        "trying a piece of a log again"
                    );
                    tokio::time::sleep(wait.max(at_least)).await;
                }
                _ => return Err(trouble),
            }
        }
    }

    /// Returns the way that it went, too: some stores can only be reached through the coordinator.
    async fn once(&self, part: &Part, asked: Way) -> (Way, Result<String, Trouble>) {
        let number = part.piece.number;
        let target = match self.target(part, asked).await {
            Ok(target) => target,
            Err(source) => return (asked, Err(Trouble::Target { number, source })),
        };
        let way = if target.url.starts_with('/') { Way::Proxied } else { Way::Direct };
        let put = self.ship.uplink.put(&target, self.ca_pem, part.body.clone());
        (way, put.await.map_err(|source| Trouble::Put { number, source }))
    }

    async fn target(&self, part: &Part, way: Way) -> Result<Target, UplinkError> {
        let request = TargetsRequest {
            version: VERSION,
            node: self.ship.node.clone(),
            log: self.log.clone(),
            kind: self.kind,
            multipart: self.multipart.map(str::to_owned),
            pieces: vec![part.piece.clone()],
            proxied: way == Way::Proxied,
        };
        let mut targets = self.ship.uplink.targets(request).await?.targets;
        match (targets.pop(), targets.len()) {
            (Some(target), 0) => Ok(target),
            (_, others) => Err(UplinkError::Answer(format!("not one target for one piece but {others} others").into())),
        }
    }

    fn arrived(&self, part: &Part, way: Way, asked: Way) {
        let ship = self.ship;
        ship.metrics.arrived(part.piece.bytes, way);
        // The coordinator's own choice says nothing of our way to the store.
        if way == asked && ship.route.arrived(self.route, way, ship.options.direct_again) {
            let proxied = ship.route.is_proxied();
            ship.metrics.through_coordinator.set(i64::from(proxied));
            match proxied {
                true => tracing::warn!("the store cannot be reached from this node: logs go through the coordinator"),
                false => tracing::info!("the store can be reached from this node again"),
            }
        }
    }
}

const fn may_be_better_through_the_coordinator(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Put { source: PutError::Unreachable(_) | PutError::Refused { .. }, .. })
}
