//! A definition as users of batch-job-controller have it.

/// `config.yaml`, with the spellings that it documents and those that its code reads.
pub const OLD_CONFIG: &str = "
name: old-job
jobServiceAccount: default
jobImagePullSecrets:
  - name: documented
imagePullSecrets:
  - name: read
jobNodeSelector:
  jobmeter-tests/runs: \"yes\"
runOnUnscheduledNodes: false
cronExpression: \"0 0 1 1 *\"
reportDirectory: /var/www
reportHistory: 2
podPoolSize: 1
runOnStartup: true
startupDelay: 1s
callbackServiceName: batch-job-controller
callbackServicePort: 8090
custom:
  anything: goes
latestMetricsLabel: true
savePodLog: true
metrics:
  prefix: old
  gauges:
    test_a:
      help: A value of the test.
      labels: [label_a, label_b]
";
/// `pod-template.yaml`, whose script knows nothing of Jobmeter.
pub const OLD_TEMPLATE: &str = r#"
kind: Pod
apiVersion: v1
metadata:
  labels: {for: "{{ .NodeName }}"}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: job
      image: localhost/curlbox:test
      imagePullPolicy: Never
      env: [{name: NODE_NAME, value: is replaced}]
      command:
        - /bin/sh
        - -euc
        - |
          echo "run {{ .ExecutionID }} in {{ .Namespace }}"
          test "$NODE_NAME" = "{{ .NodeName }}" && test "$EXECUTION_ID" = "{{ .ExecutionID }}"
          echo content > /tmp/report.txt
          curl -sS --fail -X POST "${CALLBACK_SERVICE_FILE_URL}?name=report.txt" -H 'Content-Type: text/plain' -d @/tmp/report.txt
          curl -sS --fail -X POST "$CALLBACK_SERVICE_EVENT_URL" -d '{"reason":"Tested","message":"on %s","args":["{{ .NodeName }}"]}'
          curl -sS --fail -X POST "$CALLBACK_SERVICE_RESULT_URL" -d '{"test_a":[{"value":1.5,"labels":{"label_a":"AAA","other":"x"}}]}'
"#;
