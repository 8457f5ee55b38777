//! Two tenants in one store: neither sees anything of the other, whatever is asked.

mod people;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use bytes::Bytes;
use futures_util::StreamExt as _;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;

use super::{READ, request};
use crate::auth;
use crate::exporters::storage::assemble::Assembler;
use crate::gateway::caller::is_administrative;
use crate::gateway::routes::{ROUTES, Route};
use crate::gateway::tests::*;
use crate::model::ProjectId;
use crate::processors::limits;
use crate::queue::{PayloadKind, Position, Record};
use crate::storage::conformance::{self, NOW, runtime, text, trace_id};
use crate::storage::issues::IssueStore;
use crate::storage::postgres::testing::Database;
use crate::storage::postgres::{
    self, PostgresIssues, PostgresReader, PostgresSettings, PostgresWriter,
};
use crate::storage::settings::PRICES;
use crate::storage::sqlite::{
    self, SqliteAccess, SqliteIssues, SqliteReader, SqliteSettings, SqliteWriter,
};
use crate::storage::{RetentionConfig, SpanReader, SpanWriter};

/// Longer than a query takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

struct Store {
    writer: Box<dyn SpanWriter>,
    reader: Arc<dyn SpanReader>,
    settings: Arc<dyn ProjectSettings>,
    issues: Arc<dyn IssueStore>,
    /// Removed last.
    _place: Box<dyn Any>,
}

fn sqlite() -> Store {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pulse.db");
    let config = sqlite::Config::default();
    let writer = SqliteWriter::open(&path, &config, RetentionConfig::default(), NOW);
    Store {
        writer: Box::new(writer.unwrap()),
        reader: Arc::new(SqliteReader::open(&path, &config, PATIENCE).unwrap()),
        settings: Arc::new(SqliteSettings::open(&path).unwrap()),
        issues: Arc::new(SqliteIssues::open(&path).unwrap()),
        _place: Box::new(directory),
    }
}

fn postgres() -> Store {
    let database = Database::create();
    let config = postgres::Config {
        url: database.url().into(),
        ..postgres::Config::default()
    };
    let writer = runtime().block_on(async {
        let mut writer = PostgresWriter::new(&config, RetentionConfig::default()).unwrap();
        writer.prepare(NOW).await.unwrap();
        writer
    });
    Store {
        writer: Box::new(writer),
        reader: Arc::new(PostgresReader::open(&config, PATIENCE).unwrap()),
        settings: Arc::new(PostgresSettings::new(&config).unwrap()),
        issues: Arc::new(PostgresIssues::new(&config).unwrap()),
        _place: Box::new(database),
    }
}

/// A tenant: everything it stores says its name.
#[derive(Debug, Clone, Copy)]
struct Tenant {
    project: ProjectId,
    name: &'static str,
    key: &'static str,
    /// A trace that only it has; both have trace 1.
    own_trace: u8,
}

const ALPHA: Tenant = Tenant {
    project: ProjectId(7),
    name: "alpha",
    key: "pulse_sk_alpha-key",
    own_trace: 2,
};
const BETA: Tenant = Tenant {
    project: ProjectId(8),
    name: "beta",
    key: "pulse_sk_beta-key",
    own_trace: 3,
};

impl Tenant {
    fn word(&self, what: &str) -> String {
        format!("{}-{what}", self.name)
    }

    fn span(&self, trace: u8, number: u64) -> Span {
        let mut span = conformance::span(trace, number);
        span.name = self.word("name");
        span.attributes = [
            ("session.id", "session"),
            ("user.id", "user"),
            ("gen_ai.provider.name", "provider"),
            ("gen_ai.request.model", "model"),
            ("gen_ai.response.model", "model"),
            ("gen_ai.agent.name", "agent"),
            ("gen_ai.tool.name", "tool"),
            ("secret", "attribute"),
            ("gen_ai.system_instructions", "instructions"),
        ]
        .map(|(key, what)| text(key, &self.word(what)))
        .to_vec();
        for (key, value) in [
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.usage.input_tokens", "5"),
        ] {
            span.attributes.push(text(key, value));
        }
        span
    }

    /// What makes its log records an issue.
    fn fingerprint(&self) -> String {
        format!("{:016x}", self.own_trace)
    }

    /// A log record of the first span of each trace.
    fn logs(&self) -> ExportLogsServiceRequest {
        let log_records = [1, self.own_trace].map(|trace| LogRecord {
            time_unix_nano: NOW,
            event_name: self.word("name"),
            trace_id: trace_id(trace).0.to_vec(),
            span_id: conformance::span_id(1).0.to_vec(),
            attributes: vec![
                text("session.id", &self.word("session")),
                text("secret", &self.word("attribute")),
                text("exception.type", &self.word("type")),
                text("pulse.event.fingerprint", &self.fingerprint()),
            ],
            ..LogRecord::default()
        });
        let service = text("service.name", &self.word("service"));
        ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(Resource {
                    attributes: vec![service],
                    ..Resource::default()
                }),
                scope_logs: vec![ScopeLogs {
                    log_records: log_records.to_vec(),
                    ..ScopeLogs::default()
                }],
                ..ResourceLogs::default()
            }],
        }
    }

    /// A metric that only it has, and one that both have.
    fn metrics(&self) -> Vec<u8> {
        let attribute =
            |key: &str, what| json!({"key": key, "value": {"stringValue": self.word(what)}});
        let metric = |name: &str| {
            json!({"name": name, "description": self.word("description"), "sum": {
                "aggregationTemporality": 1,
                "dataPoints": [{"timeUnixNano": NOW.to_string(), "asInt": "1",
                    "attributes": [attribute("secret", "attribute")]}],
            }})
        };
        let request = json!({"resourceMetrics": [{
            "resource": {"attributes": [attribute("service.name", "service")]},
            "scopeMetrics": [{"metrics": [metric(&self.word("metric")), metric("shared-metric")]}],
        }]});
        let decoded = crate::otlp::json::decode_metrics(request.to_string().as_bytes());
        decoded.unwrap().encode_to_vec()
    }

    /// Stores what it has.
    fn fill(&self, store: &mut Store) {
        let traces = [1, self.own_trace];
        let logs = Record {
            position: Position(10 * u64::from(self.project.0)),
            project: self.project,
            received_unix_nano: NOW,
            kind: PayloadKind::OtlpLogs,
            payload: Bytes::from(self.logs().encode_to_vec()),
        };
        let metrics = Record {
            position: Position(9 + 10 * u64::from(self.project.0)),
            kind: PayloadKind::OtlpMetrics,
            payload: Bytes::from(self.metrics()),
            project: self.project,
            received_unix_nano: NOW,
        };
        let spans = traces.map(|trace| {
            let spans = (1..=3).map(|number| self.span(trace, number)).collect();
            let sent = conformance::request(&self.word("service"), spans);
            Record {
                position: Position(u64::from(trace) + 10 * u64::from(self.project.0)),
                project: self.project,
                received_unix_nano: NOW,
                kind: PayloadKind::OtlpTraces,
                payload: Bytes::from(sent.encode_to_vec()),
            }
        });
        let limits = limits::Config::default();
        let records: Vec<_> = std::iter::once(logs)
            .chain(spans)
            .chain([metrics])
            .collect();
        let (batch, _) = Assembler::new(0, &limits).assemble(&records);
        let prices = format!(r#"[{{"model":"{}","input":1.0}}]"#, self.word("priced"));
        let prices = Some(prices.into_bytes());
        runtime().block_on(async {
            store.writer.write(&batch).await.unwrap();
            for span in batch.spans.iter().take(2) {
                let reason = self.word("reason");
                store.writer.quarantine(span, &reason).await.unwrap();
            }
            let put = store.settings.put(self.project, PRICES, prices);
            put.await.unwrap();
        });
    }

    /// What a parameter may be filtered by to find it.
    fn filter(&self, parameter: &str) -> Option<String> {
        let word = |what| Some(format!("{parameter}={}", self.word(what)));
        match parameter {
            "service" | "name" | "provider" | "model" | "agent" | "tool" => word(parameter),
            "session_id" => word("session"),
            "user_id" => word("user"),
            "trace_id" => Some(format!("trace_id={}", trace_id(self.own_trace))),
            "q" => Some(format!("q={}", self.name)),
            "operation" => Some("operation=chat".to_owned()),
            "status" => Some("status=error".to_owned()),
            "attr.<key>" => Some(format!("attr.secret={}", self.word("attribute"))),
            _ => None,
        }
    }

    /// Addresses of a route that are about this tenant: by its ids, and by every filter.
    fn addresses(&self, route: &Route) -> Vec<String> {
        let span = conformance::span_id(1).to_string();
        let own = trace_id(self.own_trace).to_string();
        let path = route
            .path
            .replace("{trace_id}", &own)
            .replace("{span_id}", &span)
            .replace("{metric_name}", &self.word("metric"))
            .replace("{session_id}", &self.word("session"))
            .replace("{fingerprint}", &self.fingerprint());
        let has = |parameter| route.parameters.contains(&parameter);
        let mut always = vec![format!("limit={}", if has("limit") { "2" } else { "" })];
        always.retain(|limit| limit != "limit=");
        if has("start") {
            always.push(format!("start={}", NOW - 3_600_000_000_000));
            always.push(format!("end={}", NOW + 3_600_000_000_000));
        }
        if has("group_by") {
            let is_of_attributes = route.path.contains("{metric_name}");
            let key = if is_of_attributes {
                "secret"
            } else {
                "service"
            };
            always.push(format!("group_by={key}"));
        }
        let is_issues = route.path.starts_with("/api/v1/issues");
        // Statuses of issues are other ones.
        let known = |name: &&&str| !(is_issues && **name == "status");
        let filters = route.parameters.iter().filter(known);
        let filters = filters.filter_map(|name| self.filter(name));
        let mut filters: Vec<_> = filters.collect();
        if route.path == "/api/v1/prices" {
            // Looks a name up and repeats it: what is asked for is no secret.
            filters.clear();
        }
        let needs_filter = has("q");
        let plain = (!needs_filter).then(String::new);
        let questions = plain.into_iter().chain(filters).map(|filter| {
            let words = filter.starts_with("q=") || !needs_filter;
            let mut parts = always.clone();
            parts.extend((!words).then(|| format!("q={}", self.name)));
            parts.extend(Some(filter).filter(|filter| !filter.is_empty()));
            format!("{path}?{}", parts.join("&"))
        });
        questions.collect()
    }
}

/// Asks as a tenant.
fn ask_as(store: &Store, gates: &Gates, tenant: Tenant, uri: &str) -> (u16, String) {
    let state = State {
        gate: gate(gates),
        access: Arc::new(SqliteAccess::in_memory()),
        issues: Arc::clone(&store.issues),
        reader: Arc::clone(&store.reader),
        settings: Arc::clone(&store.settings),
        config: Config::default(),
        prices: prices(),
        ingest: None,
        metrics: Metrics::new().unwrap(),
        tasks: drained(),
    };
    let asked = request(&Method::GET, uri, tenant.key);
    let answer = runtime().block_on(ask(router(state), asked));
    (answer.status.as_u16(), answer.json.to_string())
}

// Scenario: two tenants store alike things, one trace under the same ids; each asks every route by
// its own ids, words and filters, by the other's, and with the other's cursors.
// Guarantees: each finds its own, and no answer has a word or an id of the other.
fn neither_sees_the_other(mut store: Store) {
    let (keys, gates) = testing::gates(&auth::Config::default());
    for tenant in [ALPHA, BETA] {
        keys.put(tenant.key, tenant.project.0, READ);
        tenant.fill(&mut store);
    }
    let mut cursors = 0;
    // What has no end is followed below.
    let is_asked = |route: &&Route| {
        let path = route.path;
        // Ids of events are asked for below; health is nobody's.
        let others = [
            "/api/v1/tail",
            "/api/v1/events/{event_id}",
            "/api/v1/health",
        ];
        path.starts_with("/api") && !is_administrative(path) && !others.contains(&path)
    };
    let api = || ROUTES.iter().filter(is_asked);
    for (route, (one, other)) in
        api().flat_map(|route| [(ALPHA, BETA), (BETA, ALPHA)].map(|pair| (route, pair)))
    {
        let secrets = [other.name.to_owned(), trace_id(other.own_trace).to_string()];
        let check = |uri: &str| {
            let (status, body) = ask_as(&store, &gates, one, uri);
            for secret in &secrets {
                assert!(!body.contains(secret), "{uri} as {}: {body}", one.name);
            }
            (status, body)
        };
        let own = one.addresses(route);
        let found = own.iter().map(|uri| check(uri));
        let found: Vec<_> = found.collect();
        for (uri, (status, body)) in own.iter().zip(&found) {
            assert_eq!(*status, 200, "{uri}: {body}");
        }
        assert!(
            found.iter().any(|(_, body)| body.contains(one.name)),
            "{}",
            route.path
        );
        for uri in other.addresses(route) {
            let (status, body) = check(&uri);
            let has_id = route.path.contains('{');
            assert_eq!(status, if has_id { 404 } else { 200 }, "{uri}: {body}");
            let (_, theirs) = ask_as(&store, &gates, other, &uri);
            let theirs: Value = serde_json::from_str(&theirs).unwrap();
            if let Some(cursor) = theirs["next_cursor"].as_str() {
                let (status, body) = check(&format!("{uri}&cursor={cursor}"));
                assert!(body.contains("invalid_cursor") || has_id, "{uri}: {body}");
                assert_eq!(status, 400, "{uri}: {body}");
                cursors += 1;
            }
        }
        let shared = route.path.replace("{trace_id}", &trace_id(1).to_string());
        let shared = shared.replace("{span_id}", &conformance::span_id(1).to_string());
        let shared = shared.replace("{metric_name}", "shared-metric?group_by=secret&start=0");
        if shared != route.path {
            let (status, body) = check(&shared);
            assert_eq!(status, 200, "{shared}");
            assert!(body.contains(one.name), "{shared}: {body}");
        }
    }
    assert!(cursors > 20, "{cursors}");
    neither_hears_of_the_other(&store, &gates);
}

/// Events by their ids, and the feed.
fn neither_hears_of_the_other(store: &Store, gates: &Gates) {
    for (one, other) in [(ALPHA, BETA), (BETA, ALPHA)] {
        let (_, listed) = ask_as(store, gates, other, "/api/v1/events");
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let id = listed["items"][0]["event_id"].as_str().unwrap();
        let uri = format!("/api/v1/events/{id}");
        assert_eq!(ask_as(store, gates, one, &uri).0, 404);
        assert_eq!(ask_as(store, gates, other, &uri).0, 200);
        let told = runtime().block_on(follow_as(store, gates, one));
        for secret in [other.name, &trace_id(other.own_trace).to_string()] {
            assert!(!told.contains(secret), "{told}");
        }
    }
}

/// What a tenant is told of that follows the feed from its beginning, until it has heard of itself
/// and nothing more comes.
async fn follow_as(store: &Store, gates: &Gates, tenant: Tenant) -> String {
    let (tasks, _) = Tasks::new();
    let state = State {
        gate: gate(gates),
        access: Arc::new(SqliteAccess::in_memory()),
        issues: Arc::clone(&store.issues),
        reader: Arc::clone(&store.reader),
        settings: Arc::clone(&store.settings),
        config: Config::default(),
        prices: prices(),
        ingest: None,
        metrics: Metrics::new().unwrap(),
        tasks: tasks.clone(),
    };
    let uri = "/api/v1/tail?last_event_id=0.0.0";
    let asked = request(&Method::GET, uri, tenant.key);
    let response = router(state).oneshot(asked).await.unwrap();
    let mut stream = response.into_body().into_data_stream();
    let mut told = String::new();
    loop {
        let patience = if told.contains(tenant.name) {
            300
        } else {
            20_000
        };
        let more = tokio::time::timeout(Duration::from_millis(patience), stream.next());
        let Ok(Some(bytes)) = more.await else {
            break;
        };
        told.push_str(std::str::from_utf8(&bytes.unwrap()).unwrap());
    }
    tasks.start_shutdown();
    assert!(told.contains(tenant.name), "{told}");
    told
}

#[test]
fn neither_tenant_sees_the_other_on_sqlite() {
    neither_sees_the_other(sqlite());
}

#[test]
fn neither_tenant_sees_the_other_on_postgres() {
    neither_sees_the_other(postgres());
}
