//! Measures the query API as a person's dashboard uses it: one trace by its id, and the newest 50
//! traces without and with filters; where asked for, a search for a word that many spans say and for
//! one that none says. One request at a time: latency, not throughput.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::layout::Rng;
use super::stats::{Latencies, Percentiles};
use super::target::Getter;

/// What is measured, and how often.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Base of the query API.
    pub(super) url: String,
    pub(super) getter: Getter,
    /// Requests of each kind; `None` goes on until stopped.
    pub(super) requests: Option<u64>,
    /// Whether to search, too.
    pub(super) searches: bool,
    /// Pause between requests: beside a load, queries must not become the load.
    pub(super) pause: Duration,
    pub(super) seed: u64,
}

/// Latencies of one kind of query.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(super) struct QueryReport {
    /// Requests answered.
    pub(super) requests: u64,
    /// Requests that failed.
    pub(super) errors: u64,
    /// Items in the largest answer: spans or traces.
    pub(super) items_max: u64,
    /// Answers of a search whose time was up before everything was searched.
    pub(super) incomplete: u64,
    /// Milliseconds.
    pub(super) latency_ms: Percentiles,
}

/// By kind of query.
pub(super) type Report = BTreeMap<&'static str, QueryReport>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    TraceById,
    Newest,
    NewestByService,
    NewestByError,
    SearchCommon,
    SearchRare,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::TraceById,
        Self::Newest,
        Self::NewestByService,
        Self::NewestByError,
        Self::SearchCommon,
        Self::SearchRare,
    ];

    const fn is_search(self) -> bool {
        matches!(self, Self::SearchCommon | Self::SearchRare)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::TraceById => "trace_by_id",
            Self::Newest => "newest_50",
            Self::NewestByService => "newest_50_by_service",
            Self::NewestByError => "newest_50_by_error",
            Self::SearchCommon => "search_common_word",
            Self::SearchRare => "search_absent_word",
        }
    }
}

#[derive(Debug, Default)]
struct Measured {
    requests: u64,
    errors: u64,
    items_max: u64,
    incomplete: u64,
    latencies: Latencies,
}

/// Searches of each kind at most: for a word that is not there, everything stored is read.
const SEARCHES_MAX: u64 = 10;
/// How long a search may take: as long as the API allows.
const SEARCH_TIMEOUT: &str = "10s";
/// A word of the load's vocabulary, and one that is not in it.
const COMMON_WORD: &str = "customer";
const ABSENT_WORD: &str = "zyzzyva";

/// Pages of the newest traces that ids are taken from.
const NEWEST_PAGES: usize = 10;
const ID_PAGE: usize = 200;
/// How far back further pages are taken from.
const BACK_SECONDS: [u64; 7] = [10, 60, 600, 3_600, 21_600, 86_400, 604_800];

/// Runs the queries. `trace_ids` are the traces to ask for; when empty, they are taken from the
/// trace list.
///
/// # Errors
/// When the trace list can't be read at the start.
pub(super) async fn run(
    settings: &Settings,
    mut trace_ids: Vec<String>,
    stop: &CancellationToken,
) -> anyhow::Result<Report> {
    let mut listed = list_some(settings).await?;
    // Beside a load, the first trace may be yet to come.
    while listed.ids.is_empty() && settings.requests.is_none() && !stop.is_cancelled() {
        tokio::time::sleep(settings.pause).await;
        listed = list_some(settings).await?;
    }
    if trace_ids.is_empty() {
        trace_ids = listed.ids;
    }
    if trace_ids.is_empty() && stop.is_cancelled() {
        return Ok(Report::new());
    }
    anyhow::ensure!(!trace_ids.is_empty(), "the store holds no trace to ask for");
    let mut rng = Rng::new(settings.seed);
    let mut measured: BTreeMap<Kind, Measured> = BTreeMap::new();
    let mut round = 0;
    while settings.requests.is_none_or(|requests| round < requests) && !stop.is_cancelled() {
        round += 1;
        for kind in Kind::ALL {
            if kind.is_search() && (!settings.searches || round > SEARCHES_MAX) {
                continue;
            }
            let path = path(kind, &mut rng, &trace_ids, &listed.services);
            let url = format!("{}{path}", settings.url);
            measure(settings, &url, measured.entry(kind).or_default()).await;
            if !settings.pause.is_zero() {
                tokio::time::sleep(settings.pause).await;
            }
        }
    }
    let reports = measured.into_iter().map(|(kind, measured)| {
        let report = QueryReport {
            requests: measured.requests,
            errors: measured.errors,
            items_max: measured.items_max,
            incomplete: measured.incomplete,
            latency_ms: measured.latencies.percentiles(),
        };
        (kind.name(), report)
    });
    Ok(reports.collect())
}

/// What to ask for next.
fn path(kind: Kind, rng: &mut Rng, trace_ids: &[String], services: &[String]) -> String {
    let search = |word| format!("/api/v1/search?q={word}&timeout={SEARCH_TIMEOUT}");
    match kind {
        Kind::TraceById => format!("/api/v1/traces/{}", pick(rng, trace_ids)),
        Kind::Newest => "/api/v1/traces?limit=50".to_owned(),
        Kind::NewestByService => {
            let service = percent_encoded(pick(rng, services));
            format!("/api/v1/traces?limit=50&service={service}")
        }
        Kind::NewestByError => "/api/v1/traces?limit=50&status=error".to_owned(),
        Kind::SearchCommon => search(COMMON_WORD),
        Kind::SearchRare => search(ABSENT_WORD),
    }
}

async fn measure(settings: &Settings, url: &str, measured: &mut Measured) {
    let started = Instant::now();
    let answer = settings.getter.get(url).await;
    let took = started.elapsed();
    let answer = answer.map_err(|error| format!("{error:#}"));
    match answer {
        Ok((status, body)) if status.is_success() => {
            measured.requests += 1;
            measured.latencies.record(took);
            let page: Value = serde_json::from_slice(&body).unwrap_or_default();
            measured.items_max = measured.items_max.max(items(&page));
            let is_incomplete = page.get("complete") == Some(&Value::Bool(false));
            measured.incomplete += u64::from(is_incomplete);
        }
        Ok((status, _)) => {
            measured.errors += 1;
            tracing::debug!(%status, url, "query failed");
        }
        Err(error) => {
            measured.errors += 1;
            tracing::debug!(error, url, "query failed");
        }
    }
}

fn items(page: &Value) -> u64 {
    let list = ["spans", "items"]
        .into_iter()
        .find_map(|key| page.get(key)?.as_array());
    list.map_or(0, |list| list.len() as u64)
}

fn pick<'a>(rng: &mut Rng, items: &'a [String]) -> &'a str {
    let index = usize::try_from(rng.below(items.len() as u64)).unwrap_or(0);
    items.get(index).map_or("", String::as_str)
}

/// A query value (RFC 3986 section 2.3: what is unreserved stays as it is).
fn percent_encoded(text: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    });
    encoded.collect()
}

#[derive(Debug, Default)]
struct Listed {
    ids: Vec<String>,
    services: Vec<String>,
    /// Start of the newest trace, ns since the Unix epoch.
    newest: Option<u64>,
}

/// Ids and services from the newest pages of the list, and from pages further back, so that
/// traces are asked for whose pages are no longer warm.
async fn list_some(settings: &Settings) -> anyhow::Result<Listed> {
    let mut listed = Listed::default();
    list_pages(settings, String::new(), NEWEST_PAGES, &mut listed).await?;
    let newest = listed.newest.unwrap_or(0);
    for seconds in BACK_SECONDS {
        let end = newest.saturating_sub(seconds * 1_000_000_000);
        list_pages(settings, format!("&end={end}"), 1, &mut listed).await?;
    }
    listed.services.sort();
    listed.services.dedup();
    Ok(listed)
}

async fn list_pages(
    settings: &Settings,
    filter: String,
    pages: usize,
    listed: &mut Listed,
) -> anyhow::Result<()> {
    let first = format!("{}/api/v1/traces?limit={ID_PAGE}{filter}", settings.url);
    let mut next = Some(first.clone());
    for _ in 0..pages {
        let Some(url) = next.take() else {
            break;
        };
        let page = settings.getter.json(&url).await?;
        let page = page.ok_or_else(|| anyhow::anyhow!("GET {url}: not found"))?;
        for trace in page
            .get("items")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let id = trace.get("trace_id").and_then(Value::as_str);
            listed.ids.extend(id.map(str::to_owned));
            let services = trace.get("services").and_then(Value::as_array);
            let services = services.into_iter().flatten();
            listed
                .services
                .extend(services.filter_map(|name| Some(name.as_str()?.to_owned())));
            let start = trace.get("start_time_unix_nano").and_then(Value::as_str);
            let start = start.and_then(|nanos| nanos.parse().ok());
            listed.newest = listed.newest.max(start);
        }
        let cursor = page.get("next_cursor").and_then(Value::as_str);
        next = cursor.map(|cursor| format!("{first}&cursor={cursor}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Scenario: the words that are searched for are compared with the load's vocabulary.
    // Guarantees: one is said, the other is not, whatever the load writes.
    #[test]
    fn the_words_searched_for_are_common_and_absent() {
        let vocabulary = include_str!("words.rs");
        assert!(vocabulary.contains(&format!("\"{COMMON_WORD}\"")));
        assert!(!vocabulary.contains(ABSENT_WORD));
    }

    #[test]
    fn query_values_are_percent_encoded() {
        assert_eq!(percent_encoded("a-b_1.~"), "a-b_1.~");
        assert_eq!(percent_encoded("ä b&c=d"), "%C3%A4%20b%26c%3Dd");
    }
}
