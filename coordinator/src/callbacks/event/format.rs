//! Go's `Printf`, as far as messages of events use it. Pure.

use serde_json::Value;

/// Without arguments a message is no pattern: `100% full` stays what it is. A verb that has no argument, or that is none of the
/// few, stays as well.
pub(super) fn note(message: String, args: &[Value]) -> String {
    if args.is_empty() {
        return message;
    }
    let mut args = args.iter();
    let mut note = String::with_capacity(message.len());
    let mut rest = message.as_str();
    while let Some((before, after)) = rest.split_once('%') {
        note.push_str(before);
        let mut chars = after.chars();
        let filled = match chars.next() {
            Some('%') => Some("%".to_owned()),
            Some('s' | 'v' | 'd') => args.next().map(text),
            Some('q') => args.next().map(|arg| format!("{:?}", text(arg))),
            _ => None,
        };
        match filled {
            Some(filled) => {
                note.push_str(&filled);
                rest = chars.as_str();
            }
            None => {
                note.push('%');
                rest = after;
            }
        }
    }
    note + rest
}

fn text(arg: &Value) -> String {
    match arg {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn formatted(message: &str, args: &Value) -> String {
        note(message.to_owned(), args.as_array().unwrap())
    }

    #[test]
    fn a_message_without_arguments_arrives_as_it_is() {
        for message in ["disk 100% full", "50%", "%s", "%%", "%d%q%"] {
            assert_eq!(formatted(message, &json!([])), message);
        }
    }

    #[test]
    fn verbs_take_their_arguments_in_turn_and_what_has_none_stays() {
        assert_eq!(formatted("%s on %v: %q, %d %% used", &json!(["a", "b", "c \"d\"", 7])), "a on b: \"c \\\"d\\\"\", 7 % used");
        assert_eq!(formatted("%s and %s", &json!(["one"])), "one and %s");
        assert_eq!(formatted("100% full: %s", &json!(["/"])), "100% full: /");
        assert_eq!(formatted("%5s %x %", &json!(["a"])), "%5s %x %");
        assert_eq!(formatted("%ß%s", &json!(["ü", "extra"])), "%ßü");
        assert_eq!(formatted("%s", &json!(["%s"])), "%s", "an argument is no pattern");
    }
}
