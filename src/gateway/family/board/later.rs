//! What PulseBoard did that nothing stands behind here, with models of language and live: its routes
//! say so, to those who may ask.

use http::StatusCode;

use super::super::answer::Answer;
use super::{Holder, Owner, SERVER, no_project, unauthorized};

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

/// `GET /realtime/{id}/sse`. Who does not own the project is refused in another way here.
pub(in crate::gateway::family) async fn live(owner: Result<Owner, Answer>) -> Answer {
    match owner {
        Err(refused) if refused == no_project() => unauthorized(),
        Err(refused) => refused,
        Ok(_) => {
            let message = "Live events are not available on this server";
            SERVER.unsuccessful(StatusCode::NOT_IMPLEMENTED, message)
        }
    }
}

/// `/socket.io/`.
pub(in crate::gateway::family) async fn socket(_holder: Holder) -> Answer {
    let message = "Live events are not available on this server";
    SERVER.unsuccessful(StatusCode::NOT_IMPLEMENTED, message)
}
