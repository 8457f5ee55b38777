//! Whose span it is: sessions and users, by precedence over all dialects. What the application
//! says itself comes first, what a vendor's key says next, then conversations and threads.

use super::prelude::*;

const fn row(dialect: Dialect, key: &'static str, column: Text) -> Row {
    Row::new(dialect, key, Take::Text(column))
}

const fn session(key: &'static str) -> Row {
    row(Dialect::Otel, key, Text::Session).neutral()
}

const fn user(key: &'static str) -> Row {
    row(Dialect::Otel, key, Text::User).neutral()
}

pub(in crate::semconv) const ROWS: &[Row] = &[
    session("session.id"),
    row(Dialect::Langfuse, "langfuse.session.id", Text::Session),
    row(Dialect::Pulse, "pulse.session_id", Text::Session),
    session("gen_ai.conversation.id"),
    session("gen_ai.session.id"),
    session("traceloop.association.properties.session_id"),
    session("traceloop.association.properties.thread_id"),
    session("traceloop.association.properties.conversation_id"),
    row(
        Dialect::AiSdk,
        "ai.telemetry.metadata.sessionId",
        Text::Session,
    ),
    row(
        Dialect::AiSdk,
        "ai.telemetry.metadata.session_id",
        Text::Session,
    ),
    row(
        Dialect::AiSdk,
        "ai.telemetry.metadata.threadId",
        Text::Session,
    ),
    row(
        Dialect::AiSdk,
        "ai.telemetry.metadata.thread_id",
        Text::Session,
    ),
    row(
        Dialect::LangSmith,
        "langsmith.metadata.session_id",
        Text::Session,
    ),
    row(
        Dialect::LangSmith,
        "langsmith.metadata.thread_id",
        Text::Session,
    ),
    row(
        Dialect::LangSmith,
        "langsmith.metadata.conversation_id",
        Text::Session,
    ),
    Row::new(
        Dialect::Mlflow,
        "mlflow.trace.session",
        Take::Quoted(Text::Session),
    ),
    row(
        Dialect::Laminar,
        "lmnr.association.properties.session_id",
        Text::Session,
    ),
    row(
        Dialect::GoogleAdk,
        "gcp.vertex.agent.session_id",
        Text::Session,
    ),
    row(Dialect::Anthropic, "anthropic.session.id", Text::Session),
    row(Dialect::Codex, "conversation.id", Text::Session).bare(),
    row(Dialect::Codex, "thread.id", Text::Session).bare(),
    row(Dialect::Codex, "thread_id", Text::Session).bare(),
    user("user.id"),
    user("enduser.id"),
    row(Dialect::Langfuse, "langfuse.user.id", Text::User),
    user("gen_ai.user"),
    user("gen_ai.request.user"),
    user("llm.user"),
    user("traceloop.association.properties.user_id"),
    row(Dialect::AiSdk, "ai.telemetry.metadata.userId", Text::User),
    row(Dialect::AiSdk, "ai.telemetry.metadata.user_id", Text::User),
    row(Dialect::LangSmith, "langsmith.metadata.user_id", Text::User),
    Row::new(
        Dialect::Mlflow,
        "mlflow.trace.user",
        Take::Quoted(Text::User),
    ),
    row(
        Dialect::Laminar,
        "lmnr.association.properties.user_id",
        Text::User,
    ),
    user("metadata.user_api_key_end_user_id"),
    user("metadata.user_api_key_user_id"),
    user("enduser.pseudo.id"),
    // Words that mean a model in the spans of some dialects only.
    Row::new(Dialect::Otel, "model", Take::With(model)).neutral(),
    Row::new(Dialect::Otel, "server.address", Take::Text(Text::Server)).neutral(),
];

fn model<'a>(draft: &mut Draft<'a>, value: AnyValue<'a>) {
    let names_models = [
        Dialect::Mlflow,
        Dialect::ClaudeCode,
        Dialect::Codex,
        Dialect::GeminiCli,
    ];
    if draft.dialect.is_some_and(|it| names_models.contains(&it))
        && let Some(text) = value.as_str()
    {
        draft.set_cow(Text::RequestModel, crate::semconv::coerce::unquoted(text));
    }
}
