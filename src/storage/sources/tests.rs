use super::*;
use crate::model::genai::Usage;
use crate::model::span::{Basics, Kind, Status, TimeMarks};
use crate::model::{SpanId, TraceId};

/// The end of the step in which rows arrive.
const ARRIVAL: i64 = 3600 * 1_000_000_000;

fn row(dialect: &'static str, session: &'static str, is_recorded: bool) -> SpanRow<'static> {
    SpanRow {
        project: ProjectId(1),
        trace_id: TraceId([1; 16]),
        span_id: SpanId([1; 8]),
        parent_span_id: None,
        name: "call".into(),
        kind: Kind::Client,
        status: Status::Unset,
        status_message: "".into(),
        start_unix_nano: 1,
        end_unix_nano: 2,
        time_marks: TimeMarks::default(),
        resource: 0,
        scope: 0,
        received_unix_nano: 9,
        basics: Basics {
            session_id: (!session.is_empty()).then(|| session.into()),
            genai: Some(Box::new(GenAi {
                dialect: Some(dialect.into()),
                usage: Usage {
                    input: Some(5),
                    ..Usage::default()
                },
                is_model_call: true,
                ..GenAi::default()
            })),
            ..Basics::default()
        },
        message: Cow::Borrowed(&[]),
        scope_digest: 0,
        is_derived: is_recorded,
        is_recorded,
        sampled_out: None,
    }
}

fn change() -> Change<'static> {
    Change {
        start: 7,
        crowded_at: Some(8),
        service: "a\"\0".into(),
        operation: "chat".into(),
        provider: "".into(),
        model: "m".into(),
        session: Some("s".into()),
        added: totals([1, 2, 3, 4, i64::MAX]),
        removed: totals([0, 6, 0, 0, 0]),
    }
}

/// Whether changes are to be made at once, and what sessions are told.
fn take(spans: &[SpanRow<'_>]) -> (bool, Vec<(bool, usize, i64)>) {
    let mut sources = Sources::default();
    let spans: Vec<_> = spans.iter().collect();
    let at_once = sources.take(&spans, &[change()]);
    let told = sources.sessions.into_values();
    let told = told.map(|told| (told.by_span, told.by_records.len(), told.received));
    (at_once, told.collect())
}

#[test]
fn what_records_tell_waits_for_what_else_there_is() {
    assert_eq!(
        take(&[row("codex", "s", true)]),
        (false, vec![(false, 1, ARRIVAL)])
    );
    assert_eq!(
        take(&[row("codex", "s", false)]),
        (true, vec![(true, 0, ARRIVAL)])
    );
    // Nothing else is known of these.
    assert_eq!(take(&[row("codex", "", true)]), (true, vec![]));
    assert_eq!(take(&[row("otel", "s", true)]), (true, vec![]));
    assert_eq!(take(&[row("otel", "s", false)]), (true, vec![]));
    // In a trace that its client named: no span of the agent's own, and nothing to wait for.
    let placed = SpanRow {
        is_recorded: false,
        ..row("codex", "s", true)
    };
    assert_eq!(take(&[placed]), (true, vec![]));
    // A trace that a client put spans of its own into.
    let mixed = [row("codex", "s", true), row("codex", "t", false)];
    assert_eq!(take(&mixed), (true, vec![(true, 0, ARRIVAL)]));
}

#[test]
fn spans_without_tokens_tell_nothing() {
    let mut span = row("codex", "s", false);
    if let Some(genai) = &mut span.basics.genai {
        genai.usage = Usage::default();
    }
    assert_eq!(take(&[span]), (true, vec![]));
}

#[test]
fn sessions_are_of_an_agent_and_a_project() {
    let key = |row: &SpanRow<'_>| Key::of(row).unwrap();
    let first = row("codex", "s", true);
    let other_project = SpanRow {
        project: ProjectId(2),
        ..first.clone()
    };
    assert_eq!(key(&first), key(&row("codex", "s", false)));
    assert_ne!(key(&first), key(&other_project));
    assert_ne!(key(&first), key(&row("claude_code", "s", true)));
    assert_ne!(key(&first), key(&row("codex", "t", true)));
}

#[test]
fn what_is_kept_is_undone() {
    let kept = keep(&[change(), change()]).unwrap();
    let expected = Change {
        added: change().removed,
        removed: change().added,
        ..change()
    };
    assert_eq!(undo(&kept).unwrap(), [expected.clone(), expected]);
    assert!(undo("[1]").is_err());
}
