//! Through the API server's service proxy, as `kubectl jobmeter` asks.

use std::process::Output;

use crate::ask::jobmeter;
use crate::example;
use crate::fake::{Books, Fake, Text};

pub(crate) fn ask(fake: &Fake, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    let context = |name: &str, namespace: &str| serde_json::json!({ "name": name, "context": { "cluster": "c", "user": "u", "namespace": namespace } });
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "bench",
        "clusters": [{ "name": "c", "cluster": { "server": fake.url() } }],
        "users": [{ "name": "u", "user": {} }],
        "contexts": [context("bench", "bench"), context("empty", "nothing-here")],
    });
    std::fs::write(&path, config.to_string()).unwrap();
    jobmeter(arguments).env("KUBECONFIG", &path).current_dir(directory.path()).output().unwrap()
}

fn fake() -> Fake {
    Fake::start(Books { records: example::records(), ..Books::default() })
}

#[test]
fn the_kubeconfigs_context_chooses_the_namespace_unless_a_flag_does() {
    let fake = fake();
    for (arguments, names) in [
        (vec!["acct", "--pods", "-o", "name"], vec!["pod/sort-7xk2p", "pod/train-0", "pod/sort-9qqqq", "pod/stuck-1"]),
        (vec!["acct", "--pods", "-o", "name", "-n", "default"], vec!["pod/hello-1"]),
        (vec!["acct", "--pods", "-o", "name", "-A", "--limit", "1"], vec!["pod/sort-7xk2p"]),
        (vec!["acct", "--pods", "-o", "name", "--context", "empty"], vec![]),
    ] {
        let output = ask(&fake, &arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8(output.stdout).unwrap().lines().collect::<Vec<_>>(), names, "{arguments:?}");
    }
    let namespaces: Vec<Option<String>> = fake.asked().iter().map(|asked| asked.get("namespace").cloned()).collect();
    assert_eq!(namespaces, [Some("bench".into()), Some("default".into()), None, Some("nothing-here".into())]);
}

#[test]
fn each_refusal_of_the_api_server_says_what_to_do() {
    let fake = fake();
    for (service, says) in [
        ("nosuch", "the cluster has no service jobmeter/nosuch:http: is Jobmeter installed there?"),
        ("forbidden", "ask for `get` on `services/proxy`"),
        ("asleep", "has no coordinator behind it that is ready (the API server says ServiceUnavailable)"),
    ] {
        let output = ask(&fake, &["acct", "--coordinator", &format!("jobmeter/{service}")]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(says), "{stderr}");
    }
}

/// Its JSON once read as a Status without a code: "it answered 0".
#[test]
fn what_the_coordinator_refuses_behind_the_proxy_is_told_in_its_words() {
    let output = ask(&fake(), &["pool", "nosuch"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("it answered 404: nosuch: there is no such pool"), "{stderr}");
}

#[test]
fn a_context_that_is_not_there_is_named() {
    let output = ask(&fake(), &["acct", "--context", "nosuch"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && stderr.contains("nosuch"), "{stderr}");
}

#[test]
fn a_log_streams_through_the_service_proxy_and_its_refusals_are_told_apart() {
    let mut books = Books { records: example::records(), ..Books::default() };
    let key = |pod: &str| format!("{pod}/main/0");
    books.texts.insert(key("sort-7xk2p"), vec![Text::Refused(409, "on its way"), Text::Here(&["one\n", "two"], None)]);
    books.texts.insert(key("train-0"), vec![Text::Refused(410, "it has expired")]);
    let fake = Fake::start(books);
    let told = |arguments: &[&str]| {
        let output = ask(&fake, arguments);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, stdout, stderr) = told(&["logs", "sort-7xk2p"]);
    assert_eq!((code, stdout.as_str()), (Some(0), "one\ntwo"), "{stderr}");
    assert!(stderr.contains("on its way: on its way; waiting"), "{stderr}");
    let (code, stdout, stderr) = told(&["logs", "train-0"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("train-0/main: there is no log: it has expired"), "{stderr}");
    let (code, _, stderr) = told(&["logs", "x", "--coordinator", "jobmeter/forbidden"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("ask for `get` on `services/proxy`"), "{stderr}");
}
