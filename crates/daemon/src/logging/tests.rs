use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use anyhow::{Context, anyhow};
use serde_json::Value;
use tracing::{error_span, info};

use super::*;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn written(format: LogFormat, filter: &str) -> String {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = subscriber(format, filter, false, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        let _task = error_span!("task", name = "journal").entered();
        let error = Err::<(), _>(anyhow!("disk full")).context("failed to append").unwrap_err();
        info!("not worth a line");
        error!(error = AsRef::<dyn std::error::Error>::as_ref(&error), attempt = 3, "task failed");
    });
    String::from_utf8(captured.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn a_text_line_has_the_task_and_the_whole_chain_of_causes_and_no_colours() {
    let text = written(LogFormat::Text, "warn");
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in ["ERROR", "task{name=\"journal\"}", "task failed", "failed to append", "disk full", "attempt=3"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn a_json_line_has_the_task_and_the_whole_chain_of_causes() {
    let text = written(LogFormat::Json, "warn");
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["message"], "task failed");
    assert_eq!(line["error"], "failed to append");
    assert_eq!(line["error.sources"], serde_json::json!(["disk full"]));
    assert_eq!(line["attempt"], 3);
    assert_eq!(line["spans"], serde_json::json!([{ "span": "task", "fields": { "name": "journal" } }]));
}

#[test]
fn a_wrong_filter_is_told_with_its_text() {
    let Err(error) = subscriber(LogFormat::Text, "info,agent=loud", false, io::sink) else { panic!("must be refused") };
    assert_eq!(error.to_string(), "`info,agent=loud` is no log filter");
}
