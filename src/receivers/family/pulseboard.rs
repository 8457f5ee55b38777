//! Events of PulseBoard, and the crashes, sessions, screens and calls of its mobile SDK.

use sha2::{Digest as _, Sha256};

use opentelemetry_proto::tonic::logs::v1::LogRecord;

use super::identity::{self, Identities};
use super::record::{Draft, Level, Origin};
use super::schema::{Field, Item, Rule, optional, required};
use super::{names, value};
use crate::model::ProjectId;
use crate::receivers::pulse::json::Json;
use crate::receivers::pulse::scalar;

/// `POST /ingest`.
pub const INGEST: &[Field] = &[
    required("apiKey", Rule::Text),
    required("type", Rule::OneOf(&["error", "event", "metric"])),
    required("name", Rule::Text),
    required("payload", Rule::Object),
    optional("timestamp", Rule::Text),
];

/// `GET /events`.
pub const EVENTS: &[Field] = &[required("apiKey", Rule::Text)];

/// `POST /analytics/crash`.
pub const CRASH: &[Field] = &[
    required("apiKey", Rule::Text),
    required("errorName", Rule::Text),
    required("errorMessage", Rule::Text),
    required("stackTrace", Rule::Text),
    required("isFatal", Rule::Boolean),
    optional("sessionId", Rule::Text),
    optional("context", Rule::Object),
];

/// `POST /analytics/session`.
pub const SESSION: &[Field] = &[
    required("apiKey", Rule::Text),
    required("sessionId", Rule::Text),
    required("startedAt", Rule::Text),
    optional("endedAt", Rule::Text),
    optional("duration", Rule::Number),
    optional("crashed", Rule::Boolean),
    optional("context", Rule::Object),
];

/// `POST /analytics/screen-view`.
pub const SCREEN_VIEW: &[Field] = &[
    required("apiKey", Rule::Text),
    required("screenName", Rule::Text),
    optional("loadTime", Rule::Number),
    optional("timeSpent", Rule::Number),
    optional("sessionId", Rule::Text),
    optional("context", Rule::Object),
];

/// `POST /analytics/api-call`.
pub const API_CALL: &[Field] = &[
    required("apiKey", Rule::Text),
    required("endpoint", Rule::Text),
    required("httpMethod", Rule::Text),
    required("statusCode", Rule::Number),
    required("duration", Rule::Number),
    optional("payloadSize", Rule::Number),
    optional("sessionId", Rule::Text),
    optional("context", Rule::Object),
];

/// What a record of the mobile SDK tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The application failed.
    Crash,
    /// A session begins, or has ended.
    Session,
    /// A screen was shown.
    ScreenView,
    /// A server was called.
    ApiCall,
}

impl Told {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Session => "session",
            Self::ScreenView => "screen_view",
            Self::ApiCall => "api_call",
        }
    }
}

/// Fields that have a place of their own.
const PLACED: [&str; 6] = [
    "apiKey",
    "context",
    "sessionId",
    "errorName",
    "errorMessage",
    "stackTrace",
];
/// Members of the context that are kept: what its server had columns for.
const CONTEXT: [&str; 3] = ["device", "network", "user"];

/// What makes crashes one group: the name, and the first three lines of the stack.
#[must_use]
pub fn fingerprint(error_name: &str, stack: &str) -> String {
    let lines: Vec<_> = stack.split('\n').take(3).collect();
    let digest = Sha256::digest(format!("{error_name}:{}", lines.join("\n")));
    let bytes = digest.first_chunk().copied().unwrap_or_default();
    format!("{:016x}", u64::from_be_bytes(bytes))
}

/// The id of the group of crashes of a fingerprint.
#[must_use]
pub fn group_id(project: ProjectId, fingerprint: &str) -> String {
    identity::of_text("pulseboard.crash", project, fingerprint).cuid()
}

/// A record of a time, ns since the Unix epoch; of now where none was sent. One before 1970, which
/// OTLP does not have, is kept as a text.
fn draft(sent: Option<i128>, now_unix_nano: u64) -> Draft {
    let time = sent.map_or(Some(now_unix_nano), |time| u64::try_from(time).ok());
    let time = time.filter(|time| *time > 0);
    let mut draft = Draft {
        origin: Origin::default(),
        record: LogRecord {
            time_unix_nano: time.unwrap_or(0),
            ..LogRecord::default()
        },
    };
    let early = sent.filter(|_| time.is_none()).map(scalar::iso);
    draft.add_text(names::TIMESTAMP, early.as_deref());
    draft
}

/// An event that fits [`INGEST`], sent at a time; answers its id. A context is not kept.
pub fn event(
    item: &Item,
    sent: Option<i128>,
    now_unix_nano: u64,
    identities: &mut Identities,
) -> (String, Draft) {
    let identity = match sent {
        Some(_) => identities.of_content(&item.without(&["apiKey"]).to_string()),
        None => identities.new_one(),
    };
    let id = identity.cuid();
    let (kind, name) = (item.text("type"), item.text("name"));
    let mut draft = draft(sent, now_unix_nano);
    name.clone_into(&mut draft.record.event_name);
    draft.add_text(names::EVENT_ID, Some(&id));
    draft.add_text(names::EVENT_TYPE, Some(kind));
    let payload = item.get("payload");
    let part = |name: &str| payload.and_then(|payload| payload.get(name)?.as_text());
    if kind == "error" {
        draft.record.severity_number = Level::Error.severity();
        draft.add_text("exception.type", Some(name));
        draft.add_text("exception.message", part("message"));
        draft.add_text(names::STACK_TEXT, part("stack"));
        let print = fingerprint(name, part("stack").unwrap_or_default());
        draft.add_text(names::FINGERPRINT, Some(&print));
    } else {
        draft.record.severity_number = Level::Info.severity();
    }
    if let Some(message) = part("message") {
        draft.say(message);
    }
    draft.add(names::DETAILS, payload.and_then(value::of_json));
    (id, draft)
}

/// What the mobile SDK tells, in a body that fits the schema of its sort. Only sessions have a time.
pub fn told(
    told: Told,
    item: &Item,
    sent: Option<i128>,
    now_unix_nano: u64,
    identities: &mut Identities,
) -> Draft {
    let identity = match sent {
        Some(_) => identities.of_content(&item.without(&["apiKey"]).to_string()),
        None => identities.new_one(),
    };
    let mut draft = draft(sent, now_unix_nano);
    draft.record.severity_number = Level::Info.severity();
    told.as_str().clone_into(&mut draft.record.event_name);
    draft.add_text(names::EVENT_ID, Some(&identity.cuid()));
    draft.add_text(names::EVENT_TYPE, Some(told.as_str()));
    let session = item.get("sessionId").and_then(Json::as_text);
    draft.add_text(names::SESSION_ID, session);
    if told == Told::Crash {
        add_crash(&mut draft, item);
    }
    draft.add(names::DETAILS, value::of_json(&item.without(&PLACED)));
    if let Some(context) = item.get("context") {
        add_context(&mut draft, context);
    }
    draft
}

fn add_crash(draft: &mut Draft, item: &Item) {
    let is_fatal = item.get("isFatal") == Some(&Json::Bool(true));
    let level = if is_fatal { Level::Fatal } else { Level::Error };
    let (name, stack) = (item.text("errorName"), item.text("stackTrace"));
    draft.record.severity_number = level.severity();
    name.clone_into(&mut draft.record.event_name);
    draft.say(item.text("errorMessage"));
    draft.add_text("exception.type", Some(name));
    draft.add_text("exception.message", Some(item.text("errorMessage")));
    draft.add_text(names::STACK_TEXT, Some(stack));
    draft.add_text(names::FINGERPRINT, Some(&fingerprint(name, stack)));
}

fn add_context(draft: &mut Draft, context: &Json) {
    let member = |group: &str, name: &str| context.get(group)?.get(name)?.as_text();
    draft.origin.release = member("device", "appVersion").map(str::to_owned);
    draft.add_text(names::USER_ID, member("user", "userId"));
    let kept = CONTEXT.into_iter();
    let kept = kept.filter_map(|name| Some((name, context.get(name)?.clone())));
    draft.add(names::CONTEXT, value::of_json(&Json::map(kept)));
}

#[cfg(test)]
mod tests;
