//! Who asks, and for which project.
//!
//! The only place in the gateway that names a project. Everybody who reaches the listener reads
//! the default project; when requests carry credentials, they are turned into a project here, and
//! a request without valid ones is refused here.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::model::ProjectId;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caller {
    /// The project all answers are taken from.
    pub(super) project: ProjectId,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(_parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self {
            project: ProjectId::DEFAULT,
        })
    }
}
