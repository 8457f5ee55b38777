//! Searching through the router.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;

use super::stub::{Asked, EVENT, Mood, Stub, TRACE};
use super::{document, get, schema};
use crate::storage::query::{AttributeEquals, Fact};
use crate::storage::{EventFilter, PageRequest, SpanFilter, StatusFilter, TimeRange};

fn uri(query: &str) -> String {
    format!("/api/v1/search?{query}")
}

// Scenario: a search with every kind of term, a scope given in two ways and filters.
// Guarantees: the question reaches the store as it was meant, and what it answers is shown.
#[tokio::test]
async fn a_search_is_asked_for_and_rendered_as_wanted() {
    let stub = Stub::new(Mood::Well);
    let query = "q=one%20%22two%20three%22%20-four&in=name,messages&in=name&service=api\
         &status=error&session_id=s-1&user_id=ada&min_tokens=5&operation=chat&model=m-1\
         &attr.tier=gold&timeout=500ms&limit=7";
    let answer = get(&stub, &uri(query)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    let filter = SpanFilter {
        service: Some("api".to_owned()),
        status: Some(StatusFilter::Error),
        session_id: Some("s-1".to_owned()),
        user_id: Some("ada".to_owned()),
        tokens_min: Some(5),
        facts: vec![
            Fact::Operation("chat".to_owned()),
            Fact::Model("m-1".to_owned()),
        ],
        attributes: vec![AttributeEquals {
            key: "tier".to_owned(),
            value: "gold".to_owned(),
            or_absent: false,
        }],
        ..SpanFilter::default()
    };
    let matcher = "Matcher { terms: Terms { wanted: [\"one\", \"two three\"], unwanted: [\"four\"] \
         }, scope: Scope { name: true, messages: true, attributes: false, .. }, .. }";
    let page = PageRequest {
        limit: 7,
        after: None,
    };
    let asked = Asked::Search(filter, matcher.to_owned(), Duration::from_millis(500), page);
    assert_eq!(stub.last_asked(), asked);

    let found = &answer.json["items"][0];
    assert_eq!(found["model"], json!(null));
    assert_eq!(found["status"], "error");
    assert_eq!(found["start_time"], "2023-11-14T22:13:20.000000001Z");
    let matches = json!([{
        "event": "exception", "field": "exception.message", "snippet": "a word", "offset": 2,
        "length": 4,
    }]);
    assert_eq!(found["matches"], matches);
    assert_eq!(answer.json["complete"], false);
    assert_eq!(answer.json["searched_to"], "2023-11-14T22:13:20.000000000Z");
    assert_eq!(answer.json["searched_spans"], 7);

    get(&stub, &uri("q=word&kind=span")).await;
    let Asked::Search(filter, matcher, time_limit, page) = stub.last_asked() else {
        panic!("asked for something else");
    };
    assert_eq!((filter, page.limit), (SpanFilter::default(), 20));
    assert_eq!(time_limit, Duration::from_secs(2));
    assert!(matcher.contains("name: true, messages: true, attributes: true"));
}

// Scenario: searches with filters that events know and with such that they do not, of both kinds and
// of one.
// Guarantees: events are looked at with the same words and filters, after or before spans as they
// happened; they are left out where a filter is of spans, and asking for them then is an error.
#[tokio::test]
async fn events_are_searched_with_what_they_know() {
    let stub = Stub::new(Mood::Well);
    let known = format!(
        "q=word&service=api&name=said&session_id=s-1&trace_id={TRACE}&attr.tier=gold&start=5&limit=3"
    );
    let answer = get(&stub, &uri(&format!("{known}&kind=event"))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    let filter = EventFilter {
        range: TimeRange {
            start_unix_nano: Some(5),
            end_unix_nano: None,
        },
        service: Some("api".to_owned()),
        name: Some("said".to_owned()),
        trace_id: Some(TRACE),
        session_id: Some("s-1".to_owned()),
        attributes: vec![AttributeEquals {
            key: "tier".to_owned(),
            value: "gold".to_owned(),
            or_absent: false,
        }],
        ..EventFilter::default()
    };
    let Asked::SearchEvents(asked, matcher, _, page) = stub.last_asked() else {
        panic!("asked for something else");
    };
    assert_eq!((asked, page.limit), (filter, 3));
    assert!(matcher.contains("word"));
    let found = &answer.json["items"][0];
    assert_eq!(found["kind"], "event");
    assert_eq!(found["event_id"], EVENT.to_string());
    assert_eq!(found["severity_number"], 17);
    assert_eq!(answer.json["next_cursor"], json!(null));
    assert_eq!(answer.json["searched_events"], 3);

    let answer = get(&stub, &uri(&known)).await;
    // The event is later; the time of spans was up, and their one result is not older than that.
    let kinds: Vec<_> = answer.json["items"].as_array().unwrap().iter().collect();
    let kinds: Vec<_> = kinds.iter().map(|item| &item["kind"]).collect();
    assert_eq!(kinds, ["event", "span"]);
    assert_eq!(answer.json["complete"], false);
    for of_spans in [
        "status=error",
        "model=m",
        "min_cost=1",
        "tag=t",
        "user_id=ada",
    ] {
        get(&stub, &uri(&format!("q=word&{of_spans}"))).await;
        assert!(matches!(stub.last_asked(), Asked::Search(..)), "{of_spans}");
        let answer = get(&stub, &uri(&format!("q=word&{of_spans}&kind=span,event"))).await;
        assert_eq!(answer.fields(), ["kind"], "{of_spans}");
    }
    let answer = get(&stub, &uri("q=word&kind=trace")).await;
    assert_eq!(answer.fields(), ["kind"]);
}

// Scenario: the cursor of a search is used with another time and page size, then for other words,
// another scope and another list.
// Guarantees: it goes on with the search it came from, and with no other.
#[tokio::test]
async fn a_cursor_goes_on_with_its_own_search_only() {
    let stub = Stub::new(Mood::Well);
    let first = get(&stub, &uri("q=word&in=name&kind=span")).await;
    let cursor = first.json["next_cursor"].as_str().unwrap();
    let next = uri(&format!(
        "q=word&in=name&kind=span&timeout=9s&limit=3&cursor={cursor}"
    ));
    assert_eq!(get(&stub, &next).await.status, StatusCode::OK);
    let Asked::Search(.., page) = stub.last_asked() else {
        panic!("asked for something else");
    };
    assert_eq!(page.after.unwrap().unix_nano, 5);
    // Not one of two searches.
    assert_eq!(
        get(&stub, &uri(&format!("q=word&in=name&cursor={cursor}")))
            .await
            .json["code"],
        "invalid_cursor"
    );
    for elsewhere in ["q=words&in=name", "q=word", "q=word&in=name&service=a"] {
        let answer = get(&stub, &uri(&format!("{elsewhere}&cursor={cursor}"))).await;
        assert_eq!(answer.json["code"], "invalid_cursor", "{elsewhere}");
    }
    let spans = format!("/api/v1/spans?cursor={cursor}");
    assert_eq!(get(&stub, &spans).await.json["code"], "invalid_cursor");
}

#[tokio::test]
async fn wrong_searches_name_all_that_is_wrong() {
    let stub = Stub::new(Mood::Well);
    let long = format!("q={}", "a".repeat(201));
    let many = format!("q={}", "ab%20".repeat(17));
    let cases: [(&str, &[&str], &str); 14] = [
        ("", &["q"], "is missing"),
        ("q=", &["q"], "is empty"),
        ("q=%20", &["q"], "has no word"),
        ("q=a", &["q"], "\"a\" has less than 2 bytes"),
        (&long, &["q"], "more than 200 bytes"),
        (&many, &["q"], "more than 16 words"),
        ("q=%22open", &["q"], "a quote is not closed"),
        ("q=-word", &["q"], "at least one word must"),
        ("q=word&q=word", &["q"], "given more than once"),
        (
            "q=word&in=name,nam",
            &["in"],
            "expected messages or name or attributes",
        ),
        ("q=word&in=", &["in"], "expected messages"),
        ("q=word&timeout=11s", &["timeout"], "up to 10s"),
        (
            "q=word&timeout=0s&limit=101",
            &["timeout", "limit"],
            "above zero",
        ),
        (
            "q=a&status=x&session=1",
            &["session", "q", "status"],
            "unknown parameter",
        ),
    ];
    let document = document();
    let problem = &document["components"]["schemas"]["Problem"];
    for (query, fields, message) in cases {
        let answer = get(&stub, &uri(query)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(answer.fields(), fields, "{query}");
        let first = answer.json["fields"][0]["message"].as_str().unwrap();
        assert!(first.contains(message), "{query}: {first}");
        schema::check(&document, problem, &answer.json, query);
    }
    assert!(!stub.was_asked());
}

#[test]
fn the_documented_example_fits_its_schema() {
    let document = document();
    let media = &document["paths"]["/api/v1/search"]["get"]["responses"]["200"]["content"];
    let media = &media["application/json"];
    schema::check(&document, &media["schema"], &media["example"], "example");
    let found = &media["example"]["items"][0]["matches"][0];
    let snippet: Vec<char> = found["snippet"].as_str().unwrap().chars().collect();
    let offset = usize::try_from(found["offset"].as_u64().unwrap()).unwrap();
    let length = usize::try_from(found["length"].as_u64().unwrap()).unwrap();
    let hit: String = snippet[offset..offset + length].iter().collect();
    assert_eq!(hit, "refund");
}
