//! Who asks, for which project, and what that one may do.

use std::fmt;
use std::sync::Arc;

use crate::model::ProjectId;
use crate::model::access::{Scope, Scopes};

/// What a credential turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Nobody in particular: no credential was given, and none was needed.
    Anonymous,
    /// The holder of an API key, by the key's id.
    Key(Arc<str>),
    /// A person, by the user's id.
    User(Arc<str>),
}

impl fmt::Display for Who {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => formatter.write_str("anonymous"),
            Self::Key(id) => write!(formatter, "key {id}"),
            Self::User(id) => write!(formatter, "user {id}"),
        }
    }
}

/// Who asks. Only this module makes one, from a credential; everything a request reads or writes is
/// of its project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The project that everything is read from and written to.
    pub project: ProjectId,
    /// What is allowed there.
    pub scopes: Scopes,
    /// Who it is.
    pub who: Who,
}

impl Principal {
    /// Whether something is allowed.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.has(scope)
    }

    /// Says who it is in the span of the request, for the log; where that has no such fields, nowhere.
    pub(super) fn note(&self) {
        let span = tracing::Span::current();
        span.record("project", self.project.0);
        span.record("by", tracing::field::display(&self.who));
    }

    /// Whether all projects may be administered: by the admins of the project `default`, which is
    /// the operator's. Admins of other projects administer their own.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.project == ProjectId::DEFAULT && self.may(Scope::Admin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_admins_of_the_first_project_are_operators() {
        let of = |project, scopes| Principal {
            project,
            scopes,
            who: Who::Key("k1".into()),
        };
        assert!(of(ProjectId::DEFAULT, Scopes::ALL).is_operator());
        assert!(!of(ProjectId(2), Scopes::ALL).is_operator());
        let reader = of(ProjectId::DEFAULT, Scopes::NONE.with(Scope::Read));
        assert!(!reader.is_operator() && reader.may(Scope::Read));
        assert_eq!(reader.who.to_string(), "key k1");
        assert_eq!(Who::Anonymous.to_string(), "anonymous");
    }
}
