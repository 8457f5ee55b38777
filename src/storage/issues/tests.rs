use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::model::event::{EventFacts, Outline};
use crate::storage::write::{EventRow, ResourceRow};

fn resource(service: &'static str) -> ResourceRow<'static> {
    ResourceRow {
        project: ProjectId(1),
        message: Cow::Borrowed(b""),
        schema_url: "",
        service_name: Cow::Borrowed(service),
        service_version: Some(Cow::Borrowed("1")),
        service_instance: None,
        environment: None,
    }
}

fn event(time: u64, received: u64, fingerprint: i64) -> EventRow<'static> {
    EventRow {
        project: ProjectId(1),
        id: EventId {
            unix_nano: time,
            digest: [3; 16],
        },
        observed_unix_nano: 0,
        received_unix_nano: received,
        severity: 17,
        severity_text: Cow::Borrowed(""),
        trace_id: None,
        span_id: None,
        source: EventSource::Otlp,
        facts: EventFacts {
            fingerprint: Some(fingerprint),
            ..EventFacts::default()
        },
        outline: Some(Outline {
            kind: Cow::Borrowed("E"),
            message: Cow::Owned(format!("at {time}")),
        }),
        resource: 0,
        scope: 0,
        message: Cow::Borrowed(b""),
    }
}

fn gathered(events: &[(EventRow<'static>, ResourceRow<'static>)]) -> Gathered {
    Gathered::of(events.iter().map(|(event, resource)| (event, resource)))
}

proptest! {
    // Scenario: events in any order, gathered at once or in parts.
    // Guarantees: the same issues and counts.
    #[test]
    fn order_and_split_do_not_matter(
        drawn in prop::collection::vec((0_u64..2_000_000_000_000, 0_u64..2_000_000_000_000, 0_i64..2, 0_usize..40), 1..40),
        at in 0_usize..40,
    ) {
        let services: Vec<&'static str> = (0..40).map(|it| &*format!("s{it:02}").leak()).collect();
        let mut events: Vec<_> = drawn
            .iter()
            .enumerate()
            .map(|(number, (time, received, print, service))| {
                let mut event = event(*time, *received, *print);
                event.id.digest[0] = u8::try_from(number).unwrap();
                (event, resource(services[*service]))
            })
            .collect();
        let whole = gathered(&events);
        events.reverse();
        let (one, other) = events.split_at(at.min(events.len()));
        let (one, mut both) = (gathered(one), gathered(other));
        for (key, tally) in one.issues {
            match both.issues.get_mut(&key) {
                Some(known) => known.add(tally),
                None => drop(both.issues.insert(key, tally)),
            }
        }
        for (key, (count, received)) in one.buckets {
            let known = both.buckets.entry(key).or_default();
            *known = (known.0 + count, known.1.max(received));
        }
        prop_assert_eq!(both, whole);
    }
}

#[test]
fn an_event_is_seen_when_it_happened_but_not_after_it_arrived() {
    let seen = |time: u64, received: u64| {
        let events = [(event(time, received, 1), resource("a"))];
        let tally = gathered(&events).issues.into_values().next().unwrap();
        assert_eq!(tally.first, tally.last);
        tally.last
    };
    assert_eq!(seen(5, 9), 5);
    assert_eq!(seen(99, 9), 9);
    assert_eq!(seen(0, 9), 9);
}

#[test]
fn what_was_resolved_comes_back_when_it_is_seen_again() {
    let mut issue = Issue::stored((1, 4, "E".to_owned()), [1, 5, 10], "", None).unwrap();
    assert_eq!(issue.status(), IssueStatus::Unresolved);
    for (status, at, now, is_regressed) in [
        (IssueStatus::Resolved, 10, IssueStatus::Resolved, false),
        (IssueStatus::Resolved, 9, IssueStatus::Unresolved, true),
        (IssueStatus::Ignored, 9, IssueStatus::Ignored, false),
        (IssueStatus::Unresolved, 9, IssueStatus::Unresolved, false),
    ] {
        issue.said = Some((status, at));
        assert_eq!((issue.status(), issue.is_regressed()), (now, is_regressed));
    }
}
