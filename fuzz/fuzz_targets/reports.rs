//! Report batches: read, joined with themselves, and made into records.

#![no_main]

use jobmeter_decide::join::join;
use jobmeter_decide::record::{Closing, KeptMetadata, RecordInput, assemble};
use jobmeter_protocol::ReportBatch;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(batch) = serde_json::from_slice::<ReportBatch>(bytes) else { return };
    for report in &batch.reports {
        let mut known = report.clone();
        join(&mut known, report);
        assert!(!join(&mut known.clone(), report), "a repeated report teaches nothing");
        assemble(&RecordInput {
            cluster: "",
            api: None,
            api_gone: false,
            owners: &[],
            evidence: Some(&known),
            recorded: jiff::Timestamp::UNIX_EPOCH,
            closing: &Closing::Closed,
            kept: &KeptMetadata::default(),
        });
    }
});
