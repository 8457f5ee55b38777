use std::sync::Arc;

use super::*;
use crate::model::event::{EventFacts, EventId, EventSource};
use crate::receivers::family::identity::Identities;
use crate::receivers::family::pulseboard::Told as Sort;
use crate::receivers::family::schema::check;
use crate::storage::events::EventColumns;
use crate::storage::query::{StoredResource, StoredScope};

const SINCE: u64 = 1_000_000_000_000;

/// What comes of a body that the mobile SDK sends, that happened and arrived at these times.
fn told(sort: Sort, body: &str, at: u64, arrived: u64) -> StoredEvent {
    let fields = match sort {
        Sort::Crash => pulseboard::CRASH,
        Sort::Session => pulseboard::SESSION,
        Sort::ScreenView => pulseboard::SCREEN_VIEW,
        Sort::ApiCall => pulseboard::API_CALL,
    };
    let body = format!(r#"{{"apiKey":"k",{body}}}"#);
    let item = check("body", fields, Json::parse(body.as_bytes()).unwrap()).unwrap();
    let mut identities = Identities::new(ProjectId(1), [0; 16]);
    let draft = pulseboard::told(sort, &item, Some(i128::from(at)), at, &mut identities);
    StoredEvent {
        columns: EventColumns {
            id: EventId {
                unix_nano: at,
                digest: [0; 16],
            },
            observed_unix_nano: 0,
            received_unix_nano: arrived,
            severity: 9,
            severity_text: None,
            trace_id: None,
            span_id: None,
            source: EventSource::PulseBoardAnalytics,
            service_name: String::new(),
            environment: None,
            release: draft.origin.release,
            facts: EventFacts::default(),
        },
        resource: Arc::new(StoredResource {
            message: Vec::new(),
            schema_url: String::new(),
            service_name: String::new(),
        }),
        scope: Arc::new(StoredScope {
            message: Vec::new(),
            schema_url: String::new(),
        }),
        message: draft.record.encode_to_vec(),
    }
}

fn session(name: &str, more: &str, at: u64, arrived: u64) -> StoredEvent {
    let body = format!(r#""sessionId":"{name}","startedAt":"x"{more}"#);
    told(Sort::Session, &body, at, arrived)
}

fn crash(name: &str, more: &str, at: u64) -> StoredEvent {
    let body = format!(
        r#""errorName":"{name}","errorMessage":"at {at}","stackTrace":"a","isFatal":true{more}"#
    );
    told(Sort::Crash, &body, at, at)
}

fn added(events: &[StoredEvent]) -> Report {
    let mut report = Report::since(SINCE);
    for event in events {
        report.add(event);
    }
    report
}

// Scenario: sessions of which several records tell, of people and of nobody, some of before, in
// both orders.
// Guarantees: each counts once, as the record that arrived last says; a crash that names one marks
// it; people with several sessions count once.
#[test]
fn sessions_are_merged() {
    let of = |user: &str| format!(r#","context":{{"user":{{"userId":"{user}"}}}}"#);
    let events = [
        session("a", &format!(r#","crashed":true{}"#, of("u")), SINCE, 1),
        session("a", r#","crashed":false,"duration":5"#, SINCE, 2),
        session("b", &of("u"), SINCE + 1, 1),
        session("c", &format!(r#","crashed":true{}"#, of("v")), SINCE, 2),
        session("c", "", SINCE, 3),
        session("d", r#","crashed":false"#, SINCE, 9),
        crash("E", r#","sessionId":"d""#, SINCE + 5),
        session("before", r#","crashed":true"#, SINCE - 1, 9),
        crash("E", r#","sessionId":"never began""#, SINCE + 5),
    ];
    let mut reversed = events.to_vec();
    reversed.reverse();
    for events in [events.to_vec(), reversed] {
        assert_eq!(
            added(&events).crash_rate().to_string(),
            r#"{"totalSessions":4,"crashedSessions":2,"crashRate":50,"crashFreeUsers":33.33}"#
        );
    }
    assert_eq!(
        added(&[]).crash_rate().to_string(),
        r#"{"totalSessions":0,"crashedSessions":0,"crashRate":0,"crashFreeUsers":100}"#
    );
}

// Scenario: crashes of three groups, versions and devices, in both orders.
// Guarantees: they are counted, with whom they struck, when first and last, and what the last said.
#[test]
fn crashes_are_grouped() {
    let on = |user: &str, version: &str, model: &str| {
        format!(
            r#","context":{{"user":{{"userId":"{user}"}},"device":{{"appVersion":"{version}","model":"{model}"}}}}"#
        )
    };
    let events = [
        crash("A", &on("u", "1", "Pixel"), 5),
        crash("B", "", 6),
        crash("B", &on("u", "2", "Pixel"), SINCE),
        crash("B", &on("v", "2", "iPhone"), 7),
        crash("B", &on("v", "2", "Pixel"), 8),
    ];
    let mut reversed = events.to_vec();
    reversed.reverse();
    for events in [events.to_vec(), reversed] {
        let report = added(&events);
        let top = report.top_crashes();
        let shown: Vec<_> = top
            .iter()
            .map(|(_, it)| {
                (
                    it.name.as_str(),
                    it.times,
                    it.users.len(),
                    it.first,
                    it.last,
                )
            })
            .collect();
        assert_eq!(shown, [("B", 4, 2, 6, SINCE), ("A", 1, 1, 5, 5)]);
        assert_eq!(top[0].1.message, format!("at {SINCE}"));
        assert_eq!(top[0].0, pulseboard::fingerprint("B", "a"));
        assert_eq!(
            report.by_version().to_string(),
            r#"[{"appVersion":"2","crashes":3},{"appVersion":"1","crashes":1},{"appVersion":"Unknown","crashes":1}]"#
        );
        assert_eq!(
            report.by_device().to_string(),
            r#"[{"deviceModel":"Pixel","crashes":3},{"deviceModel":"Unknown","crashes":1},{"deviceModel":"iPhone","crashes":1}]"#
        );
    }
}

// Scenario: screens and calls, some of before, some without a time; more names than are kept.
// Guarantees: means are of what was told, the slowest and the most frequent come first; what does
// not fit is said.
#[test]
fn screens_and_calls_are_added_up() {
    let screen = |name: &str, more: &str, at| {
        let body = format!(r#""screenName":"{name}"{more}"#);
        told(Sort::ScreenView, &body, at, at)
    };
    let call = |name: &str, ms: &str, at| {
        let body =
            format!(r#""endpoint":"{name}","httpMethod":"GET","statusCode":200,"duration":{ms}"#);
        told(Sort::ApiCall, &body, at, at)
    };
    let mut events = vec![
        screen("Home", r#","loadTime":100"#, SINCE),
        screen("Home", r#","loadTime":151"#, SINCE),
        screen("Home", "", SINCE),
        screen("Home", r#","loadTime":1"#, SINCE - 1),
        screen("Cart", "", SINCE),
        call("/a", "10", SINCE),
        call("/b", "1", SINCE),
        call("/b", "99", SINCE),
        call("/b", "99", SINCE - 1),
        call("/c", "1.006", SINCE),
    ];
    let report = added(&events);
    assert_eq!(
        report.screens().to_string(),
        r#"[{"screenName":"Home","views":3,"avgLoadTime":125.5},{"screenName":"Cart","views":1,"avgLoadTime":0}]"#
    );
    assert_eq!(
        report.calls().to_string(),
        r#"[{"endpoint":"/b","calls":2,"avgDuration":50},{"endpoint":"/a","calls":1,"avgDuration":10},{"endpoint":"/c","calls":1,"avgDuration":1.01}]"#
    );
    assert!(!report.is_cut());
    events.extend((0..ROWS_MAX).map(|number| call(&format!("/{number}"), "1", SINCE)));
    let long = "x".repeat(100_000);
    events.push(screen(&long, "", SINCE));
    let report = added(&events);
    assert!(report.is_cut());
    assert_eq!(report.calls.len(), ROWS_MAX);
    assert_eq!(report.calls().to_string().matches("endpoint").count(), 10);
    assert!(report.screens.keys().all(|name| name.len() <= 200));
}

#[test]
fn a_group_of_crashes_is_as_old_as_its_issue() {
    let crash = Crashes {
        times: 2,
        first: 5_000_000_000,
        last: 6_000_000_000,
        ..Crashes::default()
    };
    let told = |known: Known| {
        let told = Crashes::json(ProjectId(1), "p", &crash, known);
        let text = |key: &str| told.get(key).unwrap().to_string();
        [text("occurrences"), text("firstSeenAt"), text("resolved")]
    };
    let known = Known {
        is_resolved: true,
        times: 7,
        first: Some(1_000_000_000),
    };
    let first = r#""1970-01-01T00:00:01.000Z""#;
    assert_eq!(told(known), ["7", first, "true"]);
    // What no issue has yet counts as the report does.
    let first = r#""1970-01-01T00:00:05.000Z""#;
    assert_eq!(told(Known::default()), ["2", first, "false"]);
}
