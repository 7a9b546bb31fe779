//! What a failed call of the API server proves. In: kube's error. Out: whether the object is gone, was surely not written, or
//! whether nobody knows.

use jobmeter_daemon::error::chain;
use kube::core::Status;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::execute) enum Failure {
    Gone,
    /// A test of the patch did not hold, or somebody else wrote in between: nothing was written, and reading again helps.
    Overtaken(String),
    /// Surely nothing was written.
    Refused(String),
    Unknown(String),
}

impl Failure {
    pub(in crate::execute) fn of(err: &kube::Error) -> Self {
        match err {
            kube::Error::Api(status) => Self::of_status(status),
            // It never left this process.
            kube::Error::BuildRequest(_) => Self::Refused(chain(err)),
            _ => Self::Unknown(chain(err)),
        }
    }

    fn of_status(status: &Status) -> Self {
        let why = why(status);
        match status.code {
            // Not of whatever else answers on the way to the API server.
            404 if status.reason == "NotFound" => Self::Gone,
            404 => Self::Unknown(why),
            409 => Self::Overtaken(why),
            // A patch that cannot be applied names no field; an object that would be invalid does.
            422 if status.details.as_ref().is_none_or(|details| details.causes.is_empty()) => Self::Overtaken(why),
            400..=499 => Self::Refused(why),
            _ => Self::Unknown(why),
        }
    }
}

/// The API server's sentence.
pub(in crate::execute) fn why(status: &Status) -> String {
    let text = if status.message.is_empty() { &status.reason } else { &status.message };
    format!("the API server says {}: {text}", status.code)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failure(code: u16, details: serde_json::Value) -> Failure {
        let status = json!({"status": "Failure", "message": "no", "reason": "x", "code": code, "details": details});
        Failure::of(&kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())))
    }

    #[test]
    fn only_what_is_proven_is_claimed() {
        let none = json!({});
        let gone = json!({"status": "Failure", "message": "pods \"a\" not found", "reason": "NotFound", "code": 404});
        assert_eq!(Failure::of(&kube::Error::Api(Box::new(serde_json::from_value(gone).unwrap()))), Failure::Gone);
        assert!(matches!(failure(404, none.clone()), Failure::Unknown(_)));
        assert!(matches!(failure(409, none.clone()), Failure::Overtaken(_)));
        assert!(matches!(failure(422, none.clone()), Failure::Overtaken(_)));
        for code in [400, 401, 403, 413, 429] {
            assert!(matches!(failure(code, none.clone()), Failure::Refused(_)), "{code}");
        }
        for code in [500, 502, 503, 504] {
            assert!(matches!(failure(code, none.clone()), Failure::Unknown(_)), "{code}");
        }
        let invalid = json!({"causes": [{"reason": "FieldValueForbidden", "message": "only additions", "field": "spec"}]});
        assert_eq!(failure(422, invalid), Failure::Refused("the API server says 422: no".to_owned()));
    }
}
