//! OpenRouter's broadcast: the OpenTelemetry conventions with cost keys of its own, known by its
//! scope.

use super::prelude::*;

pub(in crate::semconv) fn settle(draft: &mut Draft<'_>) {
    // Where nobody else is named.
    draft.provider("openrouter".into());
}
