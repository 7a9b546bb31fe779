//! Kubernetes label selectors (`a=b,c!=d,e in (f,g),h,!i`), parsed in full and matched.
//!
//! Grammar and meaning follow `kubectl -l`: `!=` and `notin` also match where the label is absent.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// All requirements must hold; an empty selector matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    In { key: String, values: Vec<String> },
    NotIn { key: String, values: Vec<String> },
    Exists { key: String },
    Absent { key: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("label selector {selector:?}, at character {position}: expected {expected}")]
pub struct SelectorError {
    pub selector: String,
    /// Counted from 1.
    pub position: usize,
    pub expected: &'static str,
}

impl Selector {
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In { key, values } => labels.get(key).is_some_and(|value| values.contains(value)),
            Requirement::NotIn { key, values } => labels.get(key).is_none_or(|value| !values.contains(value)),
            Requirement::Exists { key } => labels.contains_key(key),
            Requirement::Absent { key } => !labels.contains_key(key),
        })
    }

    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { text, rest: text };
        let mut requirements = Vec::new();
        parser.skip_blanks();
        while !parser.rest.is_empty() {
            requirements.push(parser.requirement()?);
            parser.skip_blanks();
            if parser.rest.is_empty() {
                break;
            }
            parser.take(",", "\",\" between requirements")?;
            parser.skip_blanks();
            if parser.rest.is_empty() {
                return Err(parser.expected("another requirement after \",\""));
            }
        }
        Ok(Self(requirements))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match requirement {
                Requirement::In { key, values } if values.len() == 1 => write!(f, "{key}={}", values[0])?,
                Requirement::NotIn { key, values } if values.len() == 1 => write!(f, "{key}!={}", values[0])?,
                Requirement::In { key, values } => write!(f, "{key} in ({})", values.join(","))?,
                Requirement::NotIn { key, values } => write!(f, "{key} notin ({})", values.join(","))?,
                Requirement::Exists { key } => f.write_str(key)?,
                Requirement::Absent { key } => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        if self.rest.starts_with('!') && !self.rest.starts_with("!=") {
            self.rest = &self.rest[1..];
            self.skip_blanks();
            return Ok(Requirement::Absent { key: self.key()? });
        }
        let key = self.key()?;
        self.skip_blanks();
        if let Some(rest) = self.rest.strip_prefix("!=") {
            self.rest = rest;
            Ok(Requirement::NotIn { key, values: vec![self.value()?] })
        } else if let Some(rest) = self.rest.strip_prefix("==").or_else(|| self.rest.strip_prefix('=')) {
            self.rest = rest;
            Ok(Requirement::In { key, values: vec![self.value()?] })
        } else if self.word("notin") {
            Ok(Requirement::NotIn { key, values: self.values()? })
        } else if self.word("in") {
            Ok(Requirement::In { key, values: self.values()? })
        } else if self.rest.is_empty() || self.rest.starts_with(',') {
            Ok(Requirement::Exists { key })
        } else {
            Err(self.expected("one of \"=\", \"!=\", \"in (\", \"notin (\" or \",\""))
        }
    }

    fn word(&mut self, word: &str) -> bool {
        match self.rest.strip_prefix(word) {
            Some(rest) if rest.starts_with([' ', '(', '\t']) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        self.skip_blanks();
        self.take("(", "\"(\" before the values")?;
        let mut values = Vec::new();
        loop {
            values.push(self.value()?);
            self.skip_blanks();
            if let Some(rest) = self.rest.strip_prefix(')') {
                self.rest = rest;
                return Ok(values);
            }
            self.take(",", "\",\" or \")\" after a value")?;
        }
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        let key = self.run(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'));
        if key.is_empty() { Err(self.expected("a label key")) } else { Ok(key.to_owned()) }
    }

    /// May be empty: `a=` asks for the empty value.
    fn value(&mut self) -> Result<String, SelectorError> {
        self.skip_blanks();
        let value = self.run(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).to_owned();
        if value.len() > 63 { Err(self.expected("a value of at most 63 characters")) } else { Ok(value) }
    }

    fn run(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn take(&mut self, token: &str, expected: &'static str) -> Result<(), SelectorError> {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(self.expected(expected)),
        }
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn expected(&self, expected: &'static str) -> SelectorError {
        let position = self.text.len() - self.rest.len();
        SelectorError { selector: self.text.to_owned(), position: self.text[..position].chars().count() + 1, expected }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn every_form_of_kubectl_is_understood() {
        let selector: Selector = "app=web, tier!=db,env in (prod, test),zone notin (a,b),gpu,!spot".parse().unwrap();
        assert!(selector.matches(&labels(&[("app", "web"), ("env", "test"), ("gpu", "")])));
        for broken in [
            &[("app", "web"), ("env", "test")][..],
            &[("app", "web"), ("env", "dev"), ("gpu", "")],
            &[("app", "web"), ("env", "test"), ("gpu", ""), ("zone", "a")],
            &[("app", "web"), ("env", "test"), ("gpu", ""), ("spot", "1")],
            &[("app", "web"), ("env", "test"), ("gpu", ""), ("tier", "db")],
        ] {
            assert!(!selector.matches(&labels(broken)), "{broken:?}");
        }
        assert_eq!(selector.to_string(), "app=web,tier!=db,env in (prod,test),zone notin (a,b),gpu,!spot");
    }

    #[test]
    fn an_error_names_the_place() {
        let error = "app=web,,x".parse::<Selector>().unwrap_err();
        assert_eq!(error.to_string(), "label selector \"app=web,,x\", at character 9: expected a label key");
        assert!("a in b".parse::<Selector>().is_err());
        assert!("a=b c".parse::<Selector>().is_err());
        assert!("a=b,".parse::<Selector>().is_err());
    }

    #[test]
    fn the_empty_selector_matches_everything() {
        assert!(" ".parse::<Selector>().unwrap().matches(&labels(&[])));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_parses_prints_back(text in "[a-z=!,() notin/éß\\.]{0,40}") {
            if let Ok(selector) = text.parse::<Selector>() {
                prop_assert_eq!(selector.to_string().parse::<Selector>().unwrap(), selector);
            }
        }
    }
}
