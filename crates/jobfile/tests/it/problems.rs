use jobmeter_jobfile::read;

/// A valid manifest with one line replaced.
fn with(line: &str, replacement: &str) -> String {
    let text = "apiVersion: batch/v1
kind: Job
metadata:
  name: job
spec:
  backoffLimit: 1
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: main
          command: [echo]
          env:
            - name: A
              value: b
";
    assert!(text.contains(line), "{line}");
    text.replace(line, replacement)
}

fn told(text: &str) -> String {
    read("job.yaml", text).unwrap_err().to_string()
}

#[test]
fn each_mistake_is_told_with_its_place_and_path() {
    let main = "spec.template.spec.containers[0]";
    for (line, replacement, expected) in [
        ("backoffLimit: 1", "backofflimit: 1", "job.yaml:6:3: spec.backofflimit: unknown field; did you mean `backoffLimit`?".into()),
        ("backoffLimit: 1", "backoffLimit: many", "job.yaml:6:17: spec.backoffLimit: must be a whole number, is a string (\"many\")".into()),
        ("backoffLimit: 1", "backoffLimit: -1", "job.yaml:6:17: spec.backoffLimit: must be 0 or more, is -1".into()),
        ("backoffLimit: 1", "backoffLimit: 010", "job.yaml:6:17: spec.backoffLimit: write 010 without a leading 0: some readers take it as octal".into()),
        ("backoffLimit: 1", "backoffLimit: 3000000000", "job.yaml:6:17: spec.backoffLimit: 3000000000 is too large".into()),
        ("backoffLimit: 1", "completionMode: Indexed", "job.yaml:6:19: spec.completionMode: Indexed needs `completions`".into()),
        ("value: b", "value: 1", format!("job.yaml:15:22: {main}.env[0].value: must be a string, is a number (1); put it in quotes")),
        ("value: b", "value: yes", format!("job.yaml:15:22: {main}.env[0].value: must be a string, is a boolean (true); put it in quotes")),
        ("value: b", "valueFrom: {configMapKeyRef: {name: c, key: k}}", format!("job.yaml:15:44: {main}.env[0].valueFrom.configMapKeyRef: one machine has neither ConfigMaps nor Secrets; give a `value`, or say `optional: true`")),
        ("value: b", "valueFrom: {fieldRef: {fieldPath: status.phase}}", format!("job.yaml:15:49: {main}.env[0].valueFrom.fieldRef.fieldPath: \"status.phase\" cannot be had by fieldRef")),
        ("command: [echo]", "args: [echo]", format!("job.yaml:11:11: {main}: needs `command`: one machine has no image whose entrypoint could be run")),
        ("command: [echo]", "command: echo", format!("job.yaml:12:20: {main}.command: must be a list, is a string (\"echo\")")),
        ("command: [echo]", "command: [a]\n          resources: {limits: {memory: 1Mib}}", format!("job.yaml:13:40: {main}.resources.limits.memory: quantity \"1Mib\" has an unknown suffix \"Mib\"")),
        ("restartPolicy: Never", "restartPolicy: Always", "job.yaml:9:22: spec.template.spec.restartPolicy: must be Never or OnFailure for a Job, is Always".into()),
        ("      restartPolicy: Never\n", "", "job.yaml:9:7: spec.template.spec.restartPolicy: is required".into()),
        ("kind: Job", "kind: CronJob", "job.yaml:2:7: kind: is CronJob: one machine runs Job documents only".into()),
        ("name: job", "name: Job_1", "job.yaml:4:9: metadata.name: \"Job_1\" must be lower case letters, digits, `-` and `.`, and begin and end with one of the first two".into()),
        ("name: job", "name: job\n  name: job2", "job.yaml:5:3: key `name` is given twice (first on line 4)".into()),
        ("name: job", "name: [job", "job.yaml:5:5: ".into()),
    ] {
        let told = told(&with(line, replacement));
        if expected.ends_with(": ") {
            assert!(told.starts_with(&expected), "{told}");
        } else {
            assert_eq!(told, expected);
        }
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_text() {
    let text = with("backoffLimit: 1", "backoff: 1").replace("value: b", "value: 1").replace("kind: Job", "kind: Job\nkinds: x");
    let lines: Vec<_> = told(&text).lines().map(|line| line.split(':').nth(1).unwrap().to_owned()).collect();
    assert_eq!(lines, ["3", "7", "16"]);
}

#[test]
fn an_empty_file_and_a_flood_of_aliases_are_refused() {
    assert_eq!(told("# nothing\n---\n"), "job.yaml:1:1: holds no document");
    let mut flood = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        flood += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", "));
    }
    assert!(told(&flood).contains("more than 200000 values"), "{}", told(&flood));
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    assert!(told(&deep).contains("nested deeper"));
}
