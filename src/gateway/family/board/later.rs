//! What PulseBoard did with models of language, which nothing stands behind here: its routes say so, to
//! those who may ask.

use http::StatusCode;

use super::super::answer::Answer;
use super::{Owner, SERVER};

/// `/projects/{id}/ai-config`.
pub(in crate::gateway::family) async fn config(_owner: Owner) -> Answer {
    let message = "AI configuration is not available on this server";
    SERVER.unsuccessful(StatusCode::NOT_IMPLEMENTED, message)
}

/// `/projects/{id}/insights` and what is below.
pub(in crate::gateway::family) async fn insights(_owner: Owner) -> Answer {
    let message = "AI insights are not available on this server";
    SERVER.unsuccessful(StatusCode::NOT_IMPLEMENTED, message)
}
