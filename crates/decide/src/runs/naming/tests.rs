use super::*;

const RUN: &str = "202611211930";

fn names(definition: &str, retries: u32, nodes: &[&str]) -> Vec<String> {
    let mut names = PodNames::default();
    names.expect(definition, RUN, retries, nodes.iter().copied());
    nodes.iter().map(|node| names.take(definition, RUN, retries, node)).collect()
}

#[test]
fn a_pod_is_named_as_the_original_names_it() {
    assert_eq!(names("check", 0, &["node-a.example.org"]), ["check-job-node-a-202611211930"]);
    assert_eq!(of_attempt("check-job-node-a-202611211930", 2), "check-job-node-a-202611211930-r2");
    assert_eq!(first_attempt("check-job-node-a-202611211930-r2", 2), "check-job-node-a-202611211930");
}

#[test]
fn nodes_with_the_same_first_dns_label_get_pods_of_different_names() {
    let both = names("check", 0, &["node.a.example.org", "node.b.example.org", "other"]);
    assert!(both[0] != both[1] && both.iter().all(|name| name.len() <= LONGEST), "{both:?}");
    assert!(both[0].starts_with("check-job-node-") && both[0].ends_with(RUN));
    assert_eq!(both[2], "check-job-other-202611211930");
    assert_eq!(both, names("check", 0, &["node.a.example.org", "node.b.example.org", "other"]), "they do not change");
    // One that comes later.
    let mut later = PodNames::default();
    let first = later.take("check", RUN, 0, "node.a");
    assert_eq!(first, "check-job-node-202611211930");
    assert_ne!(later.take("check", RUN, 0, "node.b"), first);
}

#[test]
fn a_name_is_a_dns_label_whatever_it_is_made_of() {
    let long = "x".repeat(63);
    for (definition, node) in
        [("Check_It", "Node--"), (long.as_str(), long.as_str()), ("a", long.as_str()), ("", ""), (long.as_str(), "n")]
    {
        for retries in [0, 3, u32::MAX] {
            let name = of_attempt(&names(definition, retries, &[node])[0], retries);
            assert!(name.len() <= LONGEST, "{name} has {}", name.len());
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'), "{name}");
            assert!(!name.starts_with('-') && !name.ends_with('-'), "{name}");
        }
    }
}

#[test]
fn two_triggers_in_one_minute_get_two_ids() {
    let now = "2026-11-21T19:30:59Z".parse().unwrap();
    let mut taken = BTreeSet::new();
    for id in ["202611211930", "20261121193001", "20261121193002"] {
        assert_eq!(run_id(now, |id| taken.contains(id)), id);
        taken.insert(id.to_owned());
    }
}
