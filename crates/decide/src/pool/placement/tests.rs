use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn node(labels: &[(&str, &str)]) -> NodeFacts {
    NodeFacts { name: "n1".into(), labels: map(labels), taints: Vec::new(), ready: true, unschedulable: false }
}

fn wants(key: &str, operator: Operator, values: &[&str]) -> Expression {
    Expression { key: key.to_owned(), operator, values: values.iter().map(|value| (*value).to_owned()).collect() }
}

fn labels(expressions: &[Expression]) -> Term {
    Term { labels: expressions.to_vec(), fields: Vec::new() }
}

fn fields(expressions: &[Expression]) -> Term {
    Term { labels: Vec::new(), fields: expressions.to_vec() }
}

fn affinity(terms: &[Term]) -> Requirements {
    Requirements { affinity: Some(terms.to_vec()), ..Requirements::default() }
}

fn fits(requirements: &Requirements, node: &NodeFacts) -> bool {
    requirements.fits(node).is_ok()
}

#[test]
fn a_node_selector_wants_every_label() {
    let both = Requirements { node_selector: map(&[("gpu", "a100"), ("zone", "a")]), ..Requirements::default() };
    assert!(fits(&both, &node(&[("gpu", "a100"), ("zone", "a"), ("more", "")])));
    assert_eq!(both.fits(&node(&[("gpu", "a100"), ("zone", "b")])), Err(Unfit::NotSelected));
    assert_eq!(both.fits(&node(&[("gpu", "a100")])), Err(Unfit::NotSelected));
}

#[test]
fn one_term_is_enough_and_it_wants_all_its_expressions() {
    let in_a = wants("zone", Operator::In, &["a", "b"]);
    let fast = wants("disk", Operator::Exists, &[]);
    let either = affinity(&[labels(&[in_a.clone(), fast]), labels(&[wants("old", Operator::Exists, &[])])]);
    assert!(!fits(&either, &node(&[("zone", "a")])));
    assert!(fits(&either, &node(&[("zone", "b"), ("disk", "")])));
    assert!(fits(&either, &node(&[("old", "yes")])));
    assert!(!fits(&affinity(&[]), &node(&[])) && !fits(&affinity(&[Term::default()]), &node(&[])));
    assert!(fits(&affinity(&[Term::default(), labels(&[in_a])]), &node(&[("zone", "a")])));
}

#[test]
fn operators_mean_what_they_mean_to_the_scheduler() {
    let holds = |operator, values: &[&str], label: Option<&str>| {
        let node = node(&label.map(|label| ("n", label)).into_iter().collect::<Vec<_>>());
        fits(&affinity(&[labels(&[wants("n", operator, values)])]), &node)
    };
    // Absent: only the two negatives.
    let absent = |operator| holds(operator, &["1"], None);
    assert!(absent(Operator::NotIn) && absent(Operator::DoesNotExist));
    assert!(!absent(Operator::In) && !absent(Operator::Exists) && !absent(Operator::Gt) && !absent(Operator::Lt));
    assert!(!holds(Operator::NotIn, &["x", "y"], Some("y")) && holds(Operator::NotIn, &["x"], Some("y")));
    assert!(!holds(Operator::DoesNotExist, &[], Some("")));
    assert!(holds(Operator::Gt, &["9"], Some("10")) && !holds(Operator::Gt, &["10"], Some("10")));
    assert!(holds(Operator::Lt, &["10"], Some("-9")) && !holds(Operator::Lt, &["10"], Some("10")));
    assert!(!holds(Operator::Gt, &["9"], Some("ten")) && !holds(Operator::Gt, &["nine"], Some("10")));
    assert!(!holds(Operator::Gt, &["1", "2"], Some("10")));
}

#[test]
fn a_field_is_the_name_of_the_node_and_nothing_else() {
    let field = |key, operator, values: &[&str]| fits(&affinity(&[fields(&[wants(key, operator, values)])]), &node(&[]));
    assert!(field("metadata.name", Operator::In, &["n1"]) && !field("metadata.name", Operator::In, &["n2"]));
    assert!(!field("metadata.name", Operator::NotIn, &["n1"]) && field("metadata.name", Operator::NotIn, &["n2"]));
    assert!(!field("metadata.name", Operator::In, &["n1", "n2"]));
    assert!(!field("metadata.uid", Operator::In, &["n1"]) && !field("metadata.name", Operator::Exists, &[]));
}

#[test]
fn taints_are_tolerated_by_key_value_and_effect() {
    let taint = |effect| Taint { key: "gpu".to_owned(), value: "a100".to_owned(), effect };
    let tainted = |effect| NodeFacts { taints: vec![taint(effect)], ..node(&[]) };
    let toleration = |key: &str, exists, value: &str, effect| Requirements {
        tolerations: vec![Toleration { key: key.to_owned(), exists, value: value.to_owned(), effect }],
        ..Requirements::default()
    };
    let repelled = Err(Unfit::Taint { key: "gpu".to_owned() });
    for effect in [Effect::NoSchedule, Effect::NoExecute] {
        assert_eq!(Requirements::default().fits(&tainted(effect)), repelled);
        assert!(fits(&toleration("", true, "", None), &tainted(effect)));
        assert!(fits(&toleration("gpu", true, "", Some(effect)), &tainted(effect)));
        assert!(fits(&toleration("gpu", false, "a100", None), &tainted(effect)));
        assert_eq!(toleration("gpu", false, "h100", None).fits(&tainted(effect)), repelled);
        assert_eq!(toleration("cpu", true, "", None).fits(&tainted(effect)), repelled);
    }
    assert_eq!(toleration("gpu", true, "", Some(Effect::NoSchedule)).fits(&tainted(Effect::NoExecute)), repelled);
    assert!(fits(&Requirements::default(), &tainted(Effect::PreferNoSchedule)));
}

#[test]
fn a_cordoned_node_takes_only_those_who_tolerate_it() {
    let cordoned = NodeFacts { unschedulable: true, ..node(&[]) };
    assert_eq!(Requirements::default().fits(&cordoned), Err(Unfit::Cordoned));
    let key = "node.kubernetes.io/unschedulable".to_owned();
    let daemon = Toleration { key, exists: true, value: String::new(), effect: Some(Effect::NoSchedule) };
    assert!(fits(&Requirements { tolerations: vec![daemon], ..Requirements::default() }, &cordoned));
    assert_eq!(Requirements::default().fits(&NodeFacts { ready: false, ..node(&[]) }), Err(Unfit::NotReady));
}

#[test]
fn a_survey_counts_the_reasons() {
    let selector = Requirements { node_selector: map(&[("gpu", "a100")]), ..Requirements::default() };
    let nodes = [node(&[("gpu", "a100")]), node(&[]), NodeFacts { ready: false, ..node(&[("gpu", "a100")]) }];
    let survey = Survey::of(&nodes, &[&selector, &Requirements::default()]);
    assert_eq!(survey.fits, ["n1".into()]);
    assert_eq!(
        super::super::words::summary(&survey.unfit),
        "1 not ready, 1 not selected by its node selector, its affinity or the pool"
    );
}
