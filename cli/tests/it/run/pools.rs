//! `jobmeter run -f --pools`: named pools on one machine.

use super::{Place, told};

/// A job of pods that each take a directory which only one can have at a time.
fn exclusive(pool: &str, lock: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: one-by-one}}\nspec:\n  completions: 4\n  parallelism: 4\n  backoffLimit: 0\n  \
         template:\n    metadata: {{labels: {{jobmeter.io/pool: {pool}}}}}\n    spec:\n      restartPolicy: Never\n      containers:\n      \
         - name: main\n        image: debian\n        command: [sh, -c, 'mkdir {lock} && sleep 0.2 && rmdir {lock}']\n"
    )
}

#[test]
fn a_pool_of_one_place_runs_one_pod_at_a_time_though_the_machine_has_room() {
    let place = Place::new();
    let pools = place.file("pools.yaml", "pools:\n  narrow: {size: 1}\n");
    let file = place.file("f.yaml", &exclusive("narrow", &place.path().join("lock").display().to_string()));
    let arguments = ["-f", file.to_str().unwrap(), "--pool", "4", "--pools", pools.to_str().unwrap()];
    let output = place.run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert_eq!(place.records().len(), 4);
}

#[test]
fn a_pool_that_is_not_in_the_file_and_a_file_that_is_wrong_are_mistakes_of_the_user() {
    let place = Place::new();
    let file = place.file("f.yaml", &exclusive("wide", "/nowhere"));
    let file = file.to_str().unwrap();
    let narrow = place.file("pools.yaml", "pools:\n  narrow: {size: 1}\n");
    let output = place.run(&["-f", file, "--pools", narrow.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(64));
    assert!(told(&output).contains("names pool \"wide\", which is not configured: there are narrow"), "{}", told(&output));
    let wrong = place.file("wrong.yaml", "pools:\n  wide:\n    size: many\n");
    let output = place.run(&["-f", file, "--pools", wrong.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(64));
    assert!(told(&output).contains("line 3: pools.wide.size: `many` is no size"), "{}", told(&output));
    assert!(place.records().is_empty());
}
