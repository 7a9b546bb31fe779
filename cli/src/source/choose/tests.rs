use super::*;

fn everything() -> Surroundings {
    Surroundings {
        plugin: true,
        server: Some("http://env:8080".into()),
        data_dir: Some("/env".into()),
        coordinator: None,
        data_dir_here: true,
        cluster: true,
    }
}

#[test]
fn the_rule_of_choice_holds_line_by_line() {
    let mut args = SourceArgs { server: Some("http://flag:1".into()), data_dir: Some("/flag".into()), ..Default::default() };
    let mut around = everything();
    let mut seen = Vec::new();
    let mut step = |args: &SourceArgs, around: &Surroundings| seen.push(choose(args, around).map(|choice| choice.place));
    step(&args, &around);
    args.server = None;
    step(&args, &around);
    args.data_dir = None;
    args.context = Some("prod".into());
    step(&args, &around);
    args.context = None;
    step(&args, &around);
    around.server = None;
    step(&args, &around);
    around.data_dir = None;
    step(&args, &around);
    around.plugin = false;
    step(&args, &around);
    around.data_dir_here = false;
    step(&args, &around);
    around.cluster = false;
    step(&args, &around);

    let url = |text: &str| Ok(Place::Server(text.parse().unwrap()));
    let proxy = || Ok(Place::Proxy(CoordinatorService::default()));
    let local = |text: &str| Ok(Place::Local(text.into()));
    assert_eq!(
        seen,
        [
            url("http://flag:1"),
            local("/flag"),
            proxy(),
            url("http://env:8080"),
            local("/env"),
            proxy(),
            local(LOCAL_DATA_DIR),
            proxy(),
            Err(ChoiceError::Nothing),
        ]
    );
}

#[test]
fn the_last_error_names_the_three_ways() {
    let text = ChoiceError::Nothing.to_string();
    assert!(["--server", "--data-dir", "--kubeconfig"].iter().all(|way| text.contains(way)), "{text}");
}

#[test]
fn an_address_without_a_scheme_is_refused_with_an_example() {
    let args = SourceArgs { server: Some("localhost:8080".into()), ..Default::default() };
    let text = choose(&args, &Surroundings::default()).unwrap_err().to_string();
    assert_eq!(
        text,
        "--server is not the address of a coordinator: \"localhost:8080\" should be like http://host:8080 (its scheme is \"localhost\")"
    );
}

#[test]
fn a_service_is_named_in_part_or_in_full_and_never_escapes_its_path() {
    let full: CoordinatorService = "acct/keeper:8080".parse().unwrap();
    assert_eq!((full.namespace.as_str(), full.name.as_str(), full.port.as_str()), ("acct", "keeper", "8080"));
    let part: CoordinatorService = "keeper".parse().unwrap();
    assert_eq!(part.to_string(), "jobmeter/keeper:http");
    for bad in ["", "a/b/c", "../x", "a/", "/b", "a/b:", "a?x"] {
        assert!(bad.parse::<CoordinatorService>().is_err(), "{bad}");
    }
}
