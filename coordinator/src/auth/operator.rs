//! Who may start, cancel and retry runs: whoever presents the operator's token. Reading may be open; this never is.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use jobmeter_daemon::token::{Secret, TokenFile};

use super::{AuthError, invalid, same};

/// Where the operator's token comes from.
#[derive(Clone, Debug)]
pub enum Operators {
    /// There is none.
    Nobody,
    Token(Arc<TokenFile>),
    /// The Secret `jobmeter-operator` of this namespace, or else of our own.
    Cluster {
        namespace: Option<String>,
    },
}

/// The token of the Secret as it was last read, or why it is not known. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OperatorSecret(Arc<RwLock<Result<Secret, String>>>);

#[derive(Clone)]
pub(super) enum OperatorAuth {
    Nobody,
    Token(Arc<TokenFile>),
    Cluster { namespace: Option<String>, secret: OperatorSecret },
}

impl Operators {
    pub fn token(path: impl Into<PathBuf>) -> Self {
        Self::Token(Arc::new(TokenFile::new(path)))
    }
}

impl OperatorSecret {
    pub fn set(&self, token: Secret) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Ok(token);
    }

    /// One that is known stays good while it cannot be read.
    pub fn missing(&self, why: String) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.is_err() {
            *known = Err(why);
        }
    }

    /// In constant time; nobody before it was read.
    pub fn admits(&self, presented: &str) -> bool {
        self.check(presented).is_ok()
    }

    fn check(&self, presented: &str) -> Result<(), AuthError> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Ok(secret) if secret.matches(presented) => Ok(()),
            Ok(_) => Err(invalid()),
            Err(why) => Err(AuthError::Unavailable { why: why.clone() }),
        }
    }
}

impl Default for OperatorSecret {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(Err("the operator's token was not read yet".to_owned()))))
    }
}

impl OperatorAuth {
    pub(super) fn of(operators: &Operators) -> Self {
        match operators {
            Operators::Nobody => Self::Nobody,
            Operators::Token(file) => Self::Token(file.clone()),
            Operators::Cluster { namespace } => Self::Cluster { namespace: namespace.clone(), secret: OperatorSecret::default() },
        }
    }

    /// `presented` is asked for only where a token would be of use.
    pub(super) fn check<'a>(&self, presented: impl FnOnce() -> Result<&'a str, AuthError>) -> Result<(), AuthError> {
        match self {
            Self::Nobody => Err(AuthError::NoOperators),
            Self::Token(file) => same(file, presented()?),
            Self::Cluster { secret, .. } => secret.check(presented()?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(auth: &OperatorAuth, token: &'static str) -> Result<(), AuthError> {
        auth.check(|| Ok(token))
    }

    #[test]
    fn without_a_token_that_could_be_right_nobody_is_an_operator() {
        assert_eq!(checked(&OperatorAuth::of(&Operators::Nobody), ""), Err(AuthError::NoOperators));
        let auth = OperatorAuth::of(&Operators::Cluster { namespace: None });
        let OperatorAuth::Cluster { secret, .. } = &auth else { panic!() };
        assert!(matches!(checked(&auth, ""), Err(AuthError::Unavailable { .. })));
        secret.missing("may not read it".to_owned());
        assert_eq!(checked(&auth, "x"), Err(AuthError::Unavailable { why: "may not read it".to_owned() }));
        secret.set(Secret::new("right"));
        assert_eq!(checked(&auth, "right"), Ok(()));
        assert_eq!(checked(&auth, "wrong"), Err(invalid()));
        assert_eq!(checked(&auth, ""), Err(invalid()));
        // The API server is away: what was read is still true.
        secret.missing("no answer".to_owned());
        assert_eq!(checked(&auth, "right"), Ok(()));
        assert!(!format!("{secret:?}").contains("right"));
    }
}
