//! README and code say the same.
//!
//! The tables between `<!-- name -->` and `<!-- /name -->` are made from the code: after a change run
//! `UPDATE_README=1 cargo test -p jobmeter-tests --test words` and read what it wrote. What a key of the configuration means is
//! written by people; that each key is there, with its default, is checked.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::fs;
use std::ops::Range;

use jobmeter_agent::metrics::{METRICS as AGENT, Metric};
use jobmeter_coordinator::metrics::table::METRICS as COORDINATOR;
use serde_json::Value;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");

fn readme() -> String {
    fs::read_to_string(README).unwrap()
}

fn metrics(table: &[Metric]) -> String {
    let mut text = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for metric in table {
        let labels = metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        text += &format!("| `{}` | {} | {labels} | {} |\n", metric.name, metric.kind.as_str(), metric.help);
    }
    text
}

/// Where the text between the two comments is.
fn section(text: &str, name: &str) -> Range<usize> {
    let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let from = text.find(&open).unwrap_or_else(|| panic!("README has no {open}")) + open.len();
    let to = text[from..].find(&close).unwrap_or_else(|| panic!("README has no {close}")) + from;
    from..to
}

fn holds(name: &str, expected: &str) {
    let mut text = readme();
    let place = section(&text, name);
    if std::env::var_os("UPDATE_README").is_some() {
        text.replace_range(place, expected);
        fs::write(README, text).unwrap();
        return;
    }
    assert_eq!(&text[place], expected, "README's table {name} is not what the code says: see the head of tests/tests/words.rs");
}

#[test]
fn the_tables_of_metrics_are_those_of_the_code() {
    holds("metrics of the agent", &metrics(AGENT));
    holds("metrics of the coordinator", &metrics(COORDINATOR));
}

/// `a.b.c` with the default behind it, as the table shows it.
fn flatten(prefix: &str, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Object(keys) => {
            for (key, value) in keys {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&path, value, into);
            }
        }
        Value::String(text) if text.is_empty() => into.push((prefix.to_owned(), "–".to_owned())),
        Value::Null => into.push((prefix.to_owned(), "–".to_owned())),
        Value::String(text) => into.push((prefix.to_owned(), format!("`{text}`"))),
        other => into.push((prefix.to_owned(), format!("`{other}`"))),
    }
}

fn keys_are_documented(name: &str, defaults: &Value) {
    let mut expected = Vec::new();
    flatten("", defaults, &mut expected);
    let text = readme();
    let rows: Vec<(String, String)> = text[section(&text, name)]
        .lines()
        .skip(2)
        .map(|row| {
            let mut cells = row.trim_matches('|').split('|').map(str::trim);
            let (key, default, meaning) = (cells.next().unwrap(), cells.next().unwrap(), cells.next().unwrap_or(""));
            assert!(!meaning.is_empty(), "README does not say what {key} means");
            (key.trim_matches('`').to_owned(), default.to_owned())
        })
        .collect();
    let mut sorted = rows.clone();
    sorted.sort();
    expected.sort();
    assert_eq!(sorted, expected, "README's table {name} and the code differ");
}

#[test]
fn every_key_of_the_configuration_is_documented_with_its_default() {
    let agent = serde_json::to_value(jobmeter_agent::config::ConfigFile::default()).unwrap();
    keys_are_documented("configuration of the agent", &agent);
    let coordinator = serde_json::to_value(jobmeter_coordinator::config::written::Written::default()).unwrap();
    keys_are_documented("configuration of the coordinator", &coordinator);
}

#[test]
fn decisions_depend_on_nothing_that_does_input_or_output() {
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/decide/Cargo.toml")).unwrap();
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let names: Vec<_> =
        dependencies.lines().filter_map(|line| line.split(['.', ' ']).next()).filter(|name| !name.is_empty()).collect();
    assert_eq!(names, ["jobmeter-protocol", "croner", "jiff", "serde", "thiserror"], "invariant 1 of ARCHITECTURE.md");
    let lints = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/decide/clippy.toml")).unwrap();
    for banned in
        ["std::time::SystemTime::now", "std::time::Instant::now", "jiff::Timestamp::now", "std::fs::read", "std::env::var"]
    {
        assert!(lints.contains(&format!("\"{banned}\"")), "{banned} must be a disallowed method of decide");
    }
}

#[test]
fn only_hostfs_names_the_kernels_files() {
    let mut offenders = Vec::new();
    for room in ["agent/src", "coordinator/src", "cli/src", "crates/decide/src", "crates/daemon/src", "crates/protocol/src"] {
        look_through(&std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(room), &mut offenders);
    }
    assert!(offenders.is_empty(), "invariant 2 of ARCHITECTURE.md: {offenders:#?}");
}

#[test]
fn only_execute_writes_to_kubernetes() {
    let mut offenders = Vec::new();
    let source = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../coordinator/src"));
    // What kube's writes cannot be called without; a TokenReview is created and changes nothing.
    let writes = ["PatchParams", "PostParams", "DeleteParams", "Command::new"];
    look_for(source, &writes, &mut |path, line| {
        let allowed = path.starts_with(source.join("execute")) || path.ends_with("auth/token_review.rs");
        offenders.extend((!allowed).then(|| format!("{}: {line}", path.display())));
    });
    assert!(offenders.is_empty(), "invariant 3 of ARCHITECTURE.md: {offenders:#?}");
}

/// Lines of code, tests left out, that hold one of the words.
fn look_for(directory: &std::path::Path, words: &[&str], found: &mut dyn FnMut(&std::path::Path, &str)) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("tests") {
                look_for(&path, words, found);
            }
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let tests = path.file_name().is_some_and(|name| name == "tests.rs");
        for line in code.lines().filter(|_| !tests) {
            let code = line.split("//").next().unwrap();
            if words.iter().any(|word| code.contains(word)) {
                found(&path, line.trim());
            }
        }
    }
}

fn look_through(directory: &std::path::Path, offenders: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            look_through(&path, offenders);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        // Tests may read the kernel as an independent witness.
        let code = text.split("#[cfg(test)]").next().unwrap();
        let tests =
            path.file_name().is_some_and(|name| name == "tests.rs") || path.components().any(|part| part.as_os_str() == "tests");
        for (number, line) in code.lines().enumerate().filter(|_| !tests) {
            let code = line.split("//").next().unwrap();
            if ["\"/proc", "\"/sys/", "\"/var/log"].iter().any(|path| code.contains(path)) {
                offenders.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
}

#[test]
fn every_test_that_architecture_names_exists() {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let architecture = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let mut code = String::new();
    for room in ["agent", "coordinator", "cli", "crates", "tests"] {
        read_all(&root.join(room), &mut code);
    }
    let named = architecture
        .split('`')
        .filter(|word| word.matches('_').count() >= 3 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    let mut found = 0;
    for name in named {
        assert!(code.contains(&format!("fn {name}(")), "ARCHITECTURE.md names the test {name}, which is not there");
        found += 1;
    }
    assert!(found >= 12, "only {found} tests are named: did the page change its form?");
}

fn read_all(directory: &std::path::Path, into: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}
