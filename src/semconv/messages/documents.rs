//! Documents that were found or put in order, and texts that were embedded.

use serde::Serialize;

use super::Message;
use super::indexed;
use super::part;
use super::places::{self, What};
use super::source::Source;
use crate::semconv::json::Json;

/// A document that was found.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Document {
    /// Its id.
    pub id: Option<String>,
    /// Its text.
    pub content: Option<String>,
    /// How well it fits.
    pub score: Option<f64>,
    /// What else is known of it.
    pub metadata: Option<Json>,
}

/// Documents that were put in order.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Rerank {
    /// The question.
    pub query: Option<String>,
    /// How many were asked for.
    pub top_k: Option<i64>,
    /// The documents before.
    pub input_documents: Vec<Document>,
    /// The documents after, best first.
    pub output_documents: Vec<Document>,
}

/// The keys of what is read here alone; one that ends in a dot stands for all below it.
pub(super) const KEYS: [&str; 8] = [
    "retrieval.documents.",
    "gen_ai.retrieval.documents",
    "reranker.query",
    "reranker.input_documents.",
    "reranker.output_documents.",
    "embedding.embeddings.",
    "ai.values",
    "ai.value",
];

/// Documents found.
pub(super) fn retrieved(source: &mut Source<'_>) -> Vec<Document> {
    let flat = of_openinference(source, "retrieval.documents.");
    if !flat.is_empty() {
        return flat;
    }
    let named = source.json("gen_ai.retrieval.documents");
    let value = named.or_else(|| {
        if source.attribute("reranker.query").is_some() {
            return None;
        }
        let keys = ["langfuse.observation.output", "lmnr.span.output"];
        let own = keys.iter().find_map(|key| source.json(key));
        own.or_else(|| places::value(source, What::Output))
    });
    value.map(of_value).unwrap_or_default()
}

/// What was put in order, if the span says so.
pub(super) fn rerank(source: &mut Source<'_>) -> Option<Rerank> {
    let rerank = Rerank {
        query: source.text("reranker.query").map(str::to_owned),
        top_k: source.json("reranker.top_k").and_then(|it| it.as_count()),
        input_documents: of_openinference(source, "reranker.input_documents."),
        output_documents: of_openinference(source, "reranker.output_documents."),
    };
    (rerank != Rerank::default()).then_some(rerank)
}

fn of_openinference(source: &Source<'_>, prefix: &str) -> Vec<Document> {
    let items = indexed::list(source, prefix);
    let unwrapped = items
        .into_iter()
        .map(|mut item| item.take("document").unwrap_or(item));
    unwrapped.filter_map(document).collect()
}

fn of_value(value: Json) -> Vec<Document> {
    match value {
        Json::List(items) => items.into_iter().filter_map(document).collect(),
        mut map @ Json::Map(_) => map.take("documents").map(of_value).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// A document by the keys that libraries have for it; `None` when it has none of them.
fn document(item: Json) -> Option<Document> {
    if let Json::Text(content) = item {
        return Some(Document {
            content: Some(content),
            ..Document::default()
        });
    }
    let content = item.first(&["content", "page_content", "text", "document", "pageContent"]);
    let id = item.first(&["id", "document_id", "doc_id"]);
    let found = Document {
        id: id.map(|id| id.as_text().map_or_else(|| id.to_text(), str::to_owned)),
        content: content.and_then(|it| {
            let text = it.as_text().map(str::to_owned);
            text.or_else(|| part::text_of(it))
        }),
        score: item
            .first(&["score", "relevance_score", "similarity"])
            .and_then(Json::as_number),
        metadata: item.first(&["metadata", "meta"]).map(|it| match it {
            Json::Text(text) => super::source::decoded(text),
            other => other.clone(),
        }),
    };
    (found != Document::default()).then_some(found)
}

/// Texts that were embedded.
pub(super) fn embedding_inputs(source: &mut Source<'_>) -> Vec<String> {
    let flat = indexed::list(source, "embedding.embeddings.");
    let texts: Vec<_> = flat
        .iter()
        .filter_map(|item| item.at(&["embedding", "text"])?.as_text())
        .map(str::to_owned)
        .collect();
    if !texts.is_empty() {
        return texts;
    }
    let keys = [
        ("ai.values", None),
        ("ai.value", None),
        ("langfuse.observation.input", None),
        ("mlflow.spanInputs", Some("input")),
        ("request_data", Some("input")),
        ("genkit:input", Some("input")),
        ("haystack.component.input", Some("text")),
        ("lmnr.span.input", None),
        ("input.value", None),
        ("traceloop.entity.input", None),
    ];
    for (key, inner) in keys {
        let json = source.json(key);
        let json = match (json, inner) {
            (Some(mut map), Some(inner)) => map.take(inner),
            (json, _) => json,
        };
        let texts = json.map(texts_of).unwrap_or_default();
        if !texts.is_empty() {
            return texts;
        }
    }
    let flat = indexed::list(source, "gen_ai.prompt.");
    let of_prompt = flat.iter().filter_map(|it| it.get("content")?.as_text());
    of_prompt.map(str::to_owned).collect()
}

/// The texts of messages, which newer packages have for what is embedded.
pub(super) fn texts(messages: Vec<Message>) -> Vec<String> {
    let parts = messages.into_iter().flat_map(|message| message.parts);
    parts.filter_map(|part| part::text_of(&part.0)).collect()
}

fn texts_of(json: Json) -> Vec<String> {
    match json {
        // Each value of a list may be JSON once more.
        Json::Text(text) => match Json::parse(&text) {
            Some(Json::Text(inner)) => vec![inner],
            _ => vec![text],
        },
        Json::List(items) => items.into_iter().flat_map(texts_of).collect(),
        mut map @ Json::Map(_) => {
            let inner = ["input", "texts", "text"].into_iter();
            let found = inner.filter_map(|key| map.take(key)).next();
            found.map(texts_of).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}
