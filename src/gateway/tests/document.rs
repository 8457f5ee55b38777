//! The document and what is served fit each other.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::Value;

use super::stub::{Mood, Stub};
use super::{document, get, schema, send, uri_of};
use crate::gateway::problem::Code;
use crate::gateway::routes::ROUTES;

#[test]
fn the_document_lists_exactly_the_routes_and_their_parameters() {
    let document = document();
    let documented: BTreeSet<_> = document["paths"].as_object().unwrap().keys().collect();
    let served: BTreeSet<_> = ROUTES.iter().map(|route| route.path.to_owned()).collect();
    assert_eq!(documented, served.iter().collect());
    for route in &ROUTES {
        let operation = &document["paths"][route.path]["get"];
        let (mut in_query, mut in_path) = (BTreeSet::new(), BTreeSet::new());
        for parameter in operation["parameters"].as_array().unwrap() {
            let parameter = schema::resolve(&document, parameter);
            let name = parameter["name"].as_str().unwrap();
            match parameter["in"].as_str().unwrap() {
                "query" => in_query.insert(name),
                _ => in_path.insert(name),
            };
        }
        assert_eq!(in_query, route.parameters.iter().copied().collect());
        let variables = route.path.split('/').filter_map(|segment| {
            let name = segment.strip_prefix('{')?;
            name.strip_suffix('}')
        });
        assert_eq!(in_path, variables.collect());
    }
    let codes = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    let codes: Vec<_> = codes.as_array().unwrap().iter().collect();
    assert_eq!(codes, Code::ALL.map(Code::as_str));
}

// Scenario: the examples of the document's schemas.
// Guarantees: each fits the schema that it is an example of.
#[test]
fn examples_fit_their_schemas() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut checked = 0;
    for (name, described) in schemas {
        if let Some(example) = described.get("example") {
            schema::check(&document, described, example, name);
            checked += 1;
        }
    }
    assert!(checked >= 6, "{checked} examples");
}

// Scenario: every route is asked for, with GET and HEAD.
// Guarantees: each answers what the document says, nothing more and nothing less; HEAD the same
// without a body.
#[tokio::test]
async fn every_answer_fits_its_documented_schema() {
    let document = document();
    for route in &ROUTES {
        let uri = uri_of(route.path);
        let answer = get(&Stub::new(Mood::Well), &uri).await;
        assert_eq!(answer.status, StatusCode::OK, "{uri}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(!answer.header("x-request-id").is_empty());
        let responses = &document["paths"][route.path]["get"]["responses"];
        let contents = responses["200"]["content"].as_object().unwrap();
        let (content_type, content) = contents.iter().next().unwrap();
        assert_eq!(answer.header("content-type"), content_type);
        let schema = &content["schema"];
        schema::check(&document, schema, &answer.json, &uri);

        let head = Request::head(&uri).body(Body::empty()).unwrap();
        let head = send(Stub::new(Mood::Well), head).await;
        assert_eq!((head.status, head.json), (StatusCode::OK, Value::Null));
    }
}
