//! Semantic Kernel: the OpenTelemetry conventions; scopes are module paths.

use super::prelude::*;

pub(in crate::semconv) const ROWS: &[Row] = &[Row::new(
    Dialect::SemanticKernel,
    "sk.available_functions",
    Take::Mark,
)];
