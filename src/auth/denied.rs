//! Why a request is not let in, as its sender may know it.

use std::time::Duration;

use super::quota::Exceeded;
use crate::model::access::Scope;

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No credential, where one is needed.
    #[error("no API key: send one as \"authorization: Bearer pulse_sk_…\" or \"x-api-key\"")]
    Missing,
    /// Not a key of ours.
    #[error("the API key is not known")]
    Unknown,
    /// A key that was revoked, or whose project was deleted.
    #[error("the API key was revoked")]
    Revoked,
    /// A key whose time is over.
    #[error("the API key has expired")]
    Expired,
    /// A credential that does not allow this.
    #[error("this needs the scope \"{0}\", which the credential does not have")]
    NotAllowed(Scope),
    /// A name of this machine that only a web page of another site would use.
    #[error("without an API key, this is answered under the names of this machine only")]
    ForeignHost,
    /// A page of another site asks in the name of whoever is signed in here.
    #[error("this is not done for pages of other sites")]
    ForeignPage,
    /// Somebody signed in who did not say which of their projects is meant.
    #[error("name one of your projects as \"x-project-id\"")]
    NoProject,
    /// Somebody signed in who is not a member of the project.
    #[error("you are not a member of this project")]
    NotAMember,
    /// Whether the credential is good can't be told now.
    #[error("the API key can't be checked now")]
    Unavailable,
    /// The project may not send more now.
    #[error(transparent)]
    OverQuota(#[from] Exceeded),
}

impl Denied {
    /// When to come back, where that may help.
    #[must_use]
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Unavailable => Some(Duration::from_secs(2)),
            Self::OverQuota(exceeded) => exceeded.retry_after(),
            _ => None,
        }
    }
}
