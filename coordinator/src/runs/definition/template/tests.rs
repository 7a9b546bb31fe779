use super::*;

/// As batch-job-controller's users write it.
const TEMPLATE: &str = "\
apiVersion: v1
kind: Pod
metadata:
  labels:
    app: node-check
    node: {{ .NodeName | printf \"%.63s\" }}
spec:
  {{- /* what every check gets */}}
  hostNetwork: yes
  {{- if eq .NodeName \"worker-1.example.com\" }}
  priorityClassName: first
  {{- else }}
  priorityClassName: rest
  {{- end }}
  containers:
    - name: check
      image: registry.example.com/check:1
      command: [/bin/sh, -c, \"curl $CALLBACK_SERVICE_RESULT_URL\"]
      env:
        - {name: RUN, value: {{ .ExecutionID }}}
        - {name: DEBUG, value: true}
        - {name: NAMESPACE_OF, value: '{{ .Namespace }}'}
      resources: &small
        limits: {cpu: 1, memory: 64Mi}
    - name: second
      image: busybox
      resources: *small
  volumes:
    - {name: scripts, configMap: {name: scripts, defaultMode: 0755}}
";

fn fields(node: &str) -> Fields<'_> {
    Fields { namespace: "checks", execution_id: "202611211930", node_name: node }
}

fn refused(template: &str) -> String {
    render(template, fields("worker-1")).unwrap_err().to_string()
}

/// A pod whose container's image is that.
fn image(action: &str) -> String {
    format!("spec: {{containers: [{{name: a, image: '{action}'}}]}}\n")
}

fn rendered(action: &str) -> String {
    let pod = render(&image(action), fields("worker-1")).unwrap();
    pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
}

#[test]
fn a_template_is_rendered_as_go_renders_it() {
    let pod = render(TEMPLATE, fields("worker-1.example.com")).unwrap();
    assert_eq!(pod["metadata"]["labels"]["node"], "worker-1.example.com");
    assert_eq!(pod["spec"]["priorityClassName"], "first");
    assert_eq!(render(TEMPLATE, fields("worker-2")).unwrap()["spec"]["priorityClassName"], "rest");
    assert_eq!(pod["spec"]["containers"][1]["resources"]["limits"]["memory"], "64Mi");
    assert_eq!(rendered("{{ printf \"%s-%s:%03d\" .Namespace (slice .NodeName 0 3) 7 }}"), "checks-wor:007");
    assert_eq!(rendered("a {{- /* nothing */ -}} b"), "ab");
    assert_eq!(rendered("{{ define \"x\" }}<{{ . }}>{{ end }}{{ template \"x\" .NodeName }}"), "<worker-1>");
    assert_eq!(rendered("{{ range 3 }}x{{ end }}{{ len .NodeName }}"), "xxx8");
}

#[test]
fn comments_trim_on_the_sides_that_say_so_and_no_other() {
    let text = |template: &str| text(template, fields("n")).unwrap();
    assert_eq!(text("a:\n  {{- /* b\n c */}}\n  d: {{ .NodeName }}"), "a:\n  d: n");
    assert_eq!(text("a {{- /* b */ -}} c"), "ac");
    assert_eq!(text("a {{/* b */ -}} c"), "a c");
    assert_eq!(text("a {{/* b */}} c {{- /* d */}} {{- /* e */}} f"), "a  c f");
    let error = refused("{{- /* a\n b */}}\n{{ .NodeName | }}\n");
    assert!(error.contains("pod-template:3"), "{error}");
}

#[test]
fn scalars_have_the_type_that_a_pod_wants() {
    let pod = render(TEMPLATE, fields("worker-1")).unwrap();
    let env = &pod["spec"]["containers"][0]["env"];
    assert_eq!((env[0]["value"].as_str(), env[1]["value"].as_str()), (Some("202611211930"), Some("true")));
    assert_eq!(pod["spec"]["hostNetwork"], true);
    assert_eq!(pod["spec"]["volumes"][0]["configMap"]["defaultMode"], 0o755);
    assert_eq!(pod["spec"]["containers"][0]["resources"]["limits"]["cpu"], "1");
}

#[test]
fn a_field_that_a_newer_kubernetes_has_is_kept() {
    let pod = render("spec: {containers: [{name: a, image: b}], notKnownYet: {x: 1}}", fields("n")).unwrap();
    assert_eq!(pod["spec"]["notKnownYet"]["x"], 1);
}

#[test]
fn an_unknown_field_is_an_error_and_not_a_text() {
    assert!(refused(&image("{{ .Nodename }}")).contains("there is no field .Nodename: there are .Namespace"));
    assert!(refused(&image("{{ index . \"Node\" }}")).contains("a value that is not there"));
    assert!(refused(&image("{{ .NodeName.Short }}")).contains("can't evaluate field Short"));
    assert!(refused(&image("{{ upper .NodeName }}")).contains("upper"));
}

#[test]
fn what_is_no_template_is_told_with_its_place() {
    let error = refused("kind: Pod\nspec: {{ .NodeName\n");
    assert!(error.contains("pod-template:") && error.contains("unclosed action"), "{error}");
}

#[test]
fn a_block_that_is_not_closed_and_an_end_of_nothing_are_refused() {
    let pod = image("b");
    for (template, why) in [
        (format!("{{{{ if .NodeName }}}}\n{pod}"), "line 1: this {{if}} has no {{end}}"),
        (format!("{pod}\n{{{{- with .NodeName }}}}{{{{ if . }}}}{{{{ end }}}}"), "line 3: this {{with}} has no {{end}}"),
        (format!("{pod}{{{{ end }}}}\nmore: of it\n"), "line 2: there is nothing that this {{end}} could close"),
        (format!("{pod}{{{{- else -}}}}\nmore: of it\n"), "line 2: there is nothing that this {{else}} could be of"),
    ] {
        let error = refused(&template);
        assert!(error.contains(why), "{why}: {error}");
    }
    assert_eq!(
        rendered("{{/* {{ end }} */}}{{ \"}}{{ end\" }}{{ if true }}{{ `}}` }}{{ else if false }}{{ end }}"),
        "}}{{ end}}"
    );
}

#[test]
fn what_is_no_pod_is_refused() {
    let pod = "spec: {containers: [{name: a, image: b}]}";
    for (template, why) in [
        (String::new(), "no keys"),
        ("- a\n".to_owned(), "no keys"),
        (format!("{pod}\n---\n{pod}\n"), "more than one YAML document"),
        (format!("kind: Job\n{pod}\n"), "its kind is \"Job\""),
        (format!("apiVersion: batch/v1\n{pod}\n"), "its apiVersion is \"batch/v1\""),
        ("kind: Pod\nspec: {containers: []}\n".to_owned(), "no spec.containers"),
        ("kind: Pod\n".to_owned(), "no spec.containers"),
        ("spec:\n  containers:\n    - name: a\n      image: [b]\n".to_owned(), "line 4 of what it makes"),
        ("spec:\n  containers: [a\n".to_owned(), "of what it makes"),
    ] {
        let error = refused(&template);
        assert!(error.contains(why), "{template}: {error}");
    }
    render(&format!("# one\n---\n{pod}\n---\n"), fields("n")).unwrap();
    let error = refused("---\n---\nspec:\n  containers: [{name: [b]}]\n");
    assert!(error.contains("line 4 of what it makes"), "{error}");
}

#[test]
fn a_template_that_has_no_end_or_grows_without_limit_is_refused_at_once() {
    let twice = |levels: usize| {
        let mut text = "{{ define \"t0\" }}{{ end }}".to_owned();
        for level in 1..=levels {
            let before = level - 1;
            text += &format!(
                "{{{{ define \"t{level}\" }}}}{{{{ template \"t{before}\" }}}}{{{{ template \"t{before}\" }}}}{{{{ end }}}}"
            );
        }
        format!("{text}{{{{ template \"t{levels}\" }}}}")
    };
    let mut doubling = "{{ $a := .NodeName }}".to_owned();
    let mut escaping = "{{ \"\\\\\" ".to_owned();
    for _ in 0..60 {
        doubling += "{{ $a = print $a $a }}";
        escaping += "| js ";
    }
    let chain: String =
        (0..100).map(|at| format!("{{{{ define \"c{at}\" }}}}{{{{ template \"c{}\" }}}}{{{{ end }}}}", at + 1)).collect();
    for (template, why) in [
        ("{{ define \"x\" }}{{ template \"x\" }}{{ end }}{{ template \"x\" }}".to_owned(), "calls itself"),
        (twice(40), "more than 10000 pieces"),
        (format!("{chain}{{{{ template \"c0\" }}}}"), "call one another"),
        ("{{ range 10000000000 }}{{ end }}".to_owned(), "range"),
        ("{{ range 900 }}{{ printf \"%8000s\" \"x\" }}{{ end }}".to_owned(), "grows beyond 1048576 bytes"),
        (doubling, "print is given more than"),
        (format!("{escaping}}}}}"), "js is given more than"),
        (format!("{}{}", "{{ if true }}".repeat(5_000), "{{ end }}".repeat(5_000)), "depth"),
    ] {
        let error = refused(&template);
        assert!(error.contains(why), "{why}: {error}");
    }
}
