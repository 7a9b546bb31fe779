use std::collections::BTreeMap;
use std::time::Duration;

use jobmeter_decide::local::Restart;
use jobmeter_jobfile::{EnvSource, JobName, PodFacts, read};
use jobmeter_protocol::ContainerKind;

const FULL: &str = r#"
apiVersion: batch/v1
kind: Job
metadata:
  name: full
  namespace: team-a
  labels: {app: full}
spec:
  completions: 6
  parallelism: 3
  completionMode: Indexed
  backoffLimit: 2
  activeDeadlineSeconds: 600
  ttlSecondsAfterFinished: 100
  template:
    metadata:
      labels: {team: a}
    spec:
      restartPolicy: OnFailure
      terminationGracePeriodSeconds: 5
      activeDeadlineSeconds: 60
      initContainers:
        - {name: fetch, image: busybox, command: [sh, -c], args: ["true"]}
        - {name: proxy, image: busybox, command: [sleep, "9"], restartPolicy: Always}
      containers:
        - name: main
          image: busybox
          command: [echo, "$(WHO) $(MISSING) $$(WHO) $(JOB_COMPLETION_INDEX)"]
          workingDir: /tmp
          env:
            - {name: WHO, value: me}
            - {name: TWICE, value: $(WHO)$(WHO)}
            - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
            - {name: TEAM, valueFrom: {fieldRef: {fieldPath: "metadata.labels['team']"}}}
            - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
            - {name: MEM, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
            - {name: CPU, valueFrom: {resourceFieldRef: {resource: requests.cpu}}}
            - {name: CPU_LIMIT, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
            - {name: GONE, valueFrom: {secretKeyRef: {name: s, key: k, optional: true}}}
          resources:
            requests: {cpu: 1500m}
            limits: {memory: 64Mi}
"#;

#[test]
fn a_full_manifest_is_honoured_field_by_field() {
    let file = read("full.yaml", FULL).unwrap();
    let [job] = &file.jobs[..] else { panic!("{:?}", file.jobs) };
    assert_eq!(job.name, JobName::Fixed("full".into()));
    assert_eq!(job.namespace, "team-a");
    let plan = &job.plan;
    assert_eq!((plan.completions, plan.parallelism, plan.indexed, plan.backoff_limit), (Some(6), 3, true, 2));
    assert_eq!(plan.active_deadline, Some(Duration::from_secs(600)));
    assert_eq!(plan.pod_active_deadline, Some(Duration::from_secs(60)));
    assert_eq!((plan.restart, plan.grace), (Restart::OnFailure, Duration::from_secs(5)));
    assert_eq!(plan.containers, [ContainerKind::Init, ContainerKind::Sidecar, ContainerKind::Main]);
    assert_eq!(job.pod.containers[0].argv, ["sh", "-c", "true"]);

    let main = &job.pod.containers[2];
    assert_eq!(main.resources.memory_request_bytes, Some(64 << 20), "a limit alone is also the request");
    assert!(!main.env.iter().any(|var| var.name == "GONE"));
    assert_eq!(main.env[0].source, EnvSource::Value("me".into()));

    let pod = PodFacts {
        name: "full-4-abcde".into(),
        labels: BTreeMap::from([("team".into(), "a".into())]),
        node: "host".into(),
        completion_index: Some(4),
        node_millicores: 2000,
        ..PodFacts::default()
    };
    let run = main.resolve(&pod);
    assert_eq!(run.argv, ["echo", "me $(MISSING) $(WHO) 4"]);
    assert_eq!(run.working_dir.as_deref(), Some("/tmp"));
    let env: BTreeMap<_, _> = run.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("CPU", "2"),
        ("CPU_LIMIT", "2000"),
        ("JOB_COMPLETION_INDEX", "4"),
        ("MEM", "64"),
        ("NODE", "host"),
        ("POD", "full-4-abcde"),
        ("TEAM", "a"),
        ("TWICE", "meme"),
        ("WHO", "me"),
    ];
    assert_eq!(env, BTreeMap::from(expected));
}

#[test]
fn what_is_not_honoured_is_told_once_each_and_image_once_in_all() {
    let twice = format!("{FULL}---{}", FULL.replace("name: full", "name: again"));
    let file = read("twice.yaml", &twice).unwrap();
    assert_eq!(file.jobs.len(), 2);
    let paths: Vec<_> = file.notices.iter().map(|notice| notice.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "spec.ttlSecondsAfterFinished",
            "spec.template.spec.initContainers[0].image",
            "spec.template.spec.containers[0].env[8].valueFrom.secretKeyRef"
        ]
    );
}

#[test]
fn defaults_are_those_of_the_api_server() {
    let text = "
apiVersion: batch/v1
kind: Job
metadata: {generateName: nightly-}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: a, command: ['true']}]
";
    let job = read("f", text).unwrap().jobs.remove(0);
    assert_eq!(job.name, JobName::Generated { prefix: "nightly-".into() });
    assert_eq!(job.namespace, "default");
    assert_eq!((job.plan.completions, job.plan.parallelism, job.plan.backoff_limit), (Some(1), 1, 6));
    assert_eq!(job.plan.grace, Duration::from_secs(30));
    let queue = text.replace("spec:\n  template", "spec:\n  parallelism: 4\n  template");
    let job = read("f", &queue).unwrap().jobs.remove(0);
    assert_eq!((job.plan.completions, job.plan.parallelism), (None, 4), "a work queue");
}

#[test]
fn anchors_and_merges_work_as_with_kubectl() {
    let text = "
apiVersion: batch/v1
kind: Job
metadata: {name: anchored}
spec:
  template:
    spec:
      restartPolicy: Never
      initContainers:
        - &base {name: a, command: [echo, a], env: [{name: X, value: '1'}]}
      containers:
        - <<: *base
          name: b
";
    let job = read("f", text).unwrap().jobs.remove(0);
    assert_eq!(job.pod.containers[1].name, "b");
    assert_eq!(job.pod.containers[1].argv, ["echo", "a"]);
}
