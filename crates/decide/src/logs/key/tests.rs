//! Keys as people configure them, and what must hold of any.

use proptest::prelude::*;

use super::*;
use crate::example::at;

fn facts() -> Facts<'static> {
    Facts {
        namespace: "bench",
        benchmark: None,
        cluster: "",
        job: "sort",
        pod: "sort-7xk2p",
        pod_uid: "0f5c7b46-7a52-4d0e-9a53-3f1f7a0c9d11",
        container: "main",
        kind: ContainerKind::Main,
        main_containers: 1,
        attempt: 0,
        node: Some("node-a"),
        date: at(0.0),
        compression: Compression::None,
    }
}

fn key(template: &str, facts: Facts<'_>) -> String {
    render(&template.parse().unwrap(), &facts, false)
}

fn by_default(facts: Facts<'_>) -> String {
    render(&Template::default(), &facts, false)
}

#[test]
fn the_default_is_what_its_text_says() {
    assert_eq!(Template::default().to_string().parse(), Ok(Template::default()));
}

#[test]
fn a_key_begins_with_the_benchmark_or_else_the_namespace() {
    assert_eq!(by_default(facts()), "bench/sort/sort-7xk2p.log");
    let labelled = Facts { benchmark: Some("linpack"), ..facts() };
    assert_eq!(by_default(labelled), "linpack/sort/sort-7xk2p.log");
    assert_eq!(by_default(Facts { benchmark: Some(""), ..facts() }), "bench/sort/sort-7xk2p.log", "a label without a value");
    assert_eq!(by_default(Facts { cluster: "west", ..labelled }), "linpack/west/sort/sort-7xk2p.log");
    assert_eq!(key("{benchmark}/{job}/{pod}.log", Facts { cluster: "west", ..labelled }), "linpack/sort/sort-7xk2p.log");
}

#[test]
fn what_the_template_lacks_stands_before_the_extension() {
    let second = Facts { container: "setup", kind: ContainerKind::Init, ..facts() };
    let of_two = Facts { main_containers: 2, attempt: 3, compression: Compression::Zstd, ..facts() };
    assert_eq!(by_default(second), "bench/sort/sort-7xk2p-setup.log");
    assert_eq!(by_default(Facts { kind: ContainerKind::Sidecar, ..second }), "bench/sort/sort-7xk2p-setup.log");
    assert_eq!(by_default(Facts { attempt: 2, ..facts() }), "bench/sort/sort-7xk2p.2.log");
    assert_eq!(by_default(of_two), "bench/sort/sort-7xk2p-main.3.log.zst");
    assert_eq!(key("{uid}/{container}/{attempt}.log", of_two), "0f5c7b46-7a52-4d0e-9a53-3f1f7a0c9d11/main/3.log.zst");
    assert_eq!(key("{pod}/{container}", of_two), "sort-7xk2p/main.3.zst", "no extension to stand before");
    assert_eq!(key("logs-{date}/{node}/{pod}", facts()), "logs-2026-09-21/node-a/sort-7xk2p");
    let taken = render(&Template::default(), &Facts { attempt: 1, ..facts() }, true);
    assert_eq!(taken, "bench/sort/sort-7xk2p.1.0f5c7b46.log");
}

#[test]
fn a_pod_name_with_dots_has_no_extension_of_its_own() {
    let dotted = Facts { pod: "sort.v1.2", attempt: 1, ..facts() };
    assert_eq!(key("{pod}", dotted), "sort.v1.2.1");
    assert_eq!(key("{pod}.log", dotted), "sort.v1.2.1.log");
}

#[test]
fn what_is_wrong_with_a_template_is_said() {
    for (template, why) in [
        ("{benchmarkName}/{pod}.log", "{benchmarkName} is not a placeholder; there are {benchmark} {namespace}"),
        ("{job}/{pod", "the brace before 'pod' is never closed"),
        ("{job}/pod}.log", "the closing brace after 'pod' was never opened"),
        ("{job} x/{pod}", "' ' in '{job} x' cannot be part of a key"),
        ("/{job}/{pod}", "segment 1 is empty"),
        ("{job}//{pod}", "segment 2 is empty"),
        ("", "segment 1 is empty"),
        ("../{pod}", "segment '..' means a directory"),
        ("{job}.log", "without {pod} and {uid}"),
    ] {
        let said = template.parse::<Template>().unwrap_err().to_string();
        assert!(said.contains(why), "{template}: {said}");
    }
}

#[test]
fn long_names_are_cut_and_stay_different() {
    let long = "a".repeat(253);
    let keys = ["x", "y"].map(|end| {
        let pod = format!("{}{end}", &long[1..]);
        key("{pod}.log", Facts { pod: &pod, ..facts() })
    });
    assert!(keys[0] != keys[1] && keys.iter().all(|key| key.len() == LONGEST_SEGMENT + ".log".len()), "{keys:?}");
}

proptest! {
    #[test]
    fn a_key_is_a_sound_path_whatever_the_names_are(
        names in proptest::collection::vec("\\PC{0,12}|\\.{0,3}|[a-z0-9./]{0,300}", 6),
        template in prop_oneof![
            Just("{benchmark}/{cluster}/{job}/{pod}.log"),
            Just("{cluster}/{node}.{cluster}/{uid}"),
            Just("{pod}/{container}"),
            Just("{uid}/x{job}y/{cluster}.log"),
            Just("{pod}/{cluster}"),
        ],
        several in 1_usize..3,
        taken: bool,
    ) {
        let facts = Facts {
            benchmark: Some(&names[0]),
            cluster: &names[1],
            job: &names[2],
            pod: &format!("p{}", names[3]),
            container: &names[4],
            node: Some(&names[5]),
            main_containers: several,
            ..facts()
        };
        let key = render(&template.parse().unwrap(), &facts, taken);
        for segment in key.split('/') {
            prop_assert!(!segment.bytes().all(|byte| byte == b'.'), "{}", key);
            prop_assert!(segment.chars().all(is_allowed), "{}", key);
            prop_assert!(segment.len() <= LONGEST_SEGMENT + ".log".len(), "{}", key);
        }
    }
}
