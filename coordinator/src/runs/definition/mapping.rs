//! A pod template that was written as a mapping → the text of a template. Pure.
//!
//! Texts that hold actions become block scalars, in which nothing is escaped: quotes inside of an action stay as they are.

use serde_json::Value as Json;

use super::yaml::{Node, Value};

pub(super) fn text(node: &Node) -> String {
    let mut text = String::new();
    write(node, 0, &mut text);
    text
}

/// What follows a key or a dash; `depth` is the indentation of what lies inside of it.
fn write(node: &Node, depth: usize, into: &mut String) {
    let indent = " ".repeat(depth);
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => {
            into.push('\n');
            for (key, _, value) in entries {
                *into += &format!("{indent}{}:", json(Json::from(key.as_str())));
                write(value, depth + 2, into);
            }
        }
        Value::List(items) if !items.is_empty() => {
            into.push('\n');
            for item in items {
                *into += &format!("{indent}-");
                write(item, depth + 2, into);
            }
        }
        Value::Text(text) if text.contains("{{") && fits_block(text) => block(text, &indent, into),
        Value::Map(_) => *into += " {}\n",
        Value::List(_) => *into += " []\n",
        Value::Null => *into += " null\n",
        Value::Bool(value) => *into += &format!(" {value}\n"),
        Value::Number(number) => *into += &format!(" {number}\n"),
        Value::Text(text) => *into += &format!(" {}\n", json(Json::from(text.as_str()))),
    }
}

fn json(value: Json) -> String {
    value.to_string()
}

/// Other characters need escapes, or would end a line.
fn fits_block(text: &str) -> bool {
    text.chars().all(|c| matches!(c, '\n' | '\t') || (!c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')))
        && !text.starts_with('\n')
}

/// Its indentation is 2 more than that of the key or dash before it.
fn block(text: &str, indent: &str, into: &mut String) {
    let body = text.trim_end_matches('\n');
    let chomping = match text.len() - body.len() {
        0 => "-",
        1 => "",
        _ => "+",
    };
    *into += &format!(" |2{chomping}\n");
    for line in body.split('\n') {
        *into += &format!("{indent}{line}\n");
    }
    for _ in 1..text.len() - body.len() {
        into.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::definition::template::{self, Fields};
    use crate::runs::definition::yaml;

    const MAPPING: &str = r#"
kind: Pod
metadata: {labels: {"for": '{{ .NodeName }}', other: "it's \"quoted\"\t"}, annotations: {}}
spec:
  tolerations: [{operator: Exists}]
  activeDeadlineSeconds: 600
  containers:
    - name: check
      image: '{{ printf "%s/check:%d" .Namespace 7 }}'
      args:
        - |2
            echo "{{ .NodeName }}"
          if true; then
            echo 'a: "b"'
          fi
        - "{{ .ExecutionID }}\n\n"
        - "ends without {{ print \"a line\" }}"
        - "\x07{{ .NodeName }}"
"#;

    #[test]
    fn a_template_written_as_a_mapping_says_the_same_as_the_text() {
        let node = yaml::documents(MAPPING)[0].parse().unwrap();
        let fields = Fields { namespace: "checks", execution_id: "202611211930", node_name: "node-1" };
        let pod = template::render(&text(&node), fields).unwrap();
        assert_eq!(pod["metadata"]["labels"]["for"], "node-1");
        assert_eq!(pod["metadata"]["labels"]["other"], "it's \"quoted\"\t");
        assert_eq!(pod["spec"]["activeDeadlineSeconds"], 600);
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["image"], "checks/check:7");
        assert_eq!(container["args"][0], "  echo \"node-1\"\nif true; then\n  echo 'a: \"b\"'\nfi\n");
        assert_eq!(container["args"][1], "202611211930\n\n");
        assert_eq!(container["args"][2], "ends without a line");
        assert_eq!(container["args"][3], "\u{7}node-1");
    }
}
