//! Definitions that people copy are read by the coordinator as it reads theirs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use jobmeter_coordinator::runs::definition::{Defaults, read_file, read_pair};
use serde_json::{Value, json};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn defaults() -> Defaults {
    Defaults { namespace: super::NAMESPACE.to_owned(), report_directory: "/reports".into(), ..Defaults::default() }
}

/// What `kubectl` would make of it, document by document.
fn documents(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap()
}

/// Texts of definitions: the files of a ConfigMap, or a definition itself.
fn definitions(yaml: &str) -> Vec<String> {
    let texts = documents(yaml).into_iter().flat_map(|document| match &document["data"] {
        Value::Object(files) => files.values().map(|text| text.as_str().unwrap().to_owned()).collect(),
        _ if document["podTemplate"].is_object() => vec![document.to_string()],
        _ => Vec::new(),
    });
    texts.collect()
}

#[test]
fn every_definition_that_people_may_copy_is_one() {
    let read = |path: &str| fs::read_to_string(format!("{ROOT}/{path}")).unwrap();
    let mut found = 0;
    for path in ["README.md", "docs/runs.md", "manifests/examples/run.yaml"] {
        let text = read(path);
        let blocks: Vec<&str> = match path.ends_with(".md") {
            true => text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect(),
            false => vec![&text],
        };
        let of_runs = blocks.into_iter().filter(|block| block.contains("podTemplate:"));
        for definition in of_runs.flat_map(definitions) {
            let read = read_file(path, &definition, &defaults());
            assert!(read.problems.is_empty() && read.warnings.is_empty(), "{:#?} {:#?}", read.problems, read.warnings);
            found += read.definitions.len();
        }
    }
    assert_eq!(found, 3, "README, docs/runs.md and manifests/examples/run.yaml have one each");
}

#[test]
fn the_tables_of_keys_and_the_reader_agree() {
    let docs = fs::read_to_string(format!("{ROOT}/docs/runs.md")).unwrap();
    // A key that nobody knows is answered with all there are.
    let read = read_file("x", r#"{"unknown": 1}"#, &defaults());
    let all = read
        .problems
        .iter()
        .find_map(|problem| problem.split("there are ").nth(1))
        .unwrap_or_else(|| panic!("{:?}", read.problems));
    for key in all.split(", ").map(str::trim) {
        assert!(docs.contains(&format!("`{key}`")) || docs.contains(&format!("`{key}.")), "docs/runs.md does not name {key}");
    }
}

#[test]
fn every_test_that_the_faults_table_names_exists() {
    let docs = fs::read_to_string(format!("{ROOT}/docs/runs.md")).unwrap();
    let mut code = String::new();
    for room in ["cli", "coordinator", "crates", "sidecar", "tests"] {
        read_all(&PathBuf::from(format!("{ROOT}/{room}")), &mut code);
    }
    let is_test =
        |word: &&str| word.matches('_').count() >= 3 && word.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    let is_metric = |word: &&str| word.starts_with("jobmeter_");
    let named: Vec<&str> =
        docs.split('`').filter(is_test).filter(|word| !is_metric(word)).filter(|word| *word != word.to_uppercase()).collect();
    let missing: Vec<&&str> = named.iter().filter(|name| !code.contains(&format!("fn {name}("))).collect();
    assert!(
        missing.is_empty() && named.len() >= 25,
        "of {} tests that docs/runs.md names these are not there: {missing:#?}",
        named.len()
    );
}

fn read_all(directory: &Path, into: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn a_configmap_of_batch_job_controller_is_read_with_both_spellings() {
    let definition = super::definition("nightly", 2, "true", &json!({"retries": 1}));
    let read = read_file("nightly.yaml", &definition.to_string(), &defaults());
    assert!(read.problems.is_empty(), "{:#?}", read.problems);
    let pair = read_pair("ConfigMap a/b", super::OLD_CONFIG, super::OLD_TEMPLATE, &defaults());
    assert!(pair.problems.is_empty(), "{:#?}", pair.problems);
    let settings = &pair.definitions[0].settings;
    assert!(settings.compatible && settings.result_required && settings.own_pool_size == Some(1), "{settings:#?}");
    assert_eq!(pair.definitions[0].run_on_start, Some(jiff::SignedDuration::from_secs(1)));
    assert_eq!(settings.image_pull_secrets, ["documented", "read"].map(String::from).into_iter().rev().collect::<Vec<_>>());
}
