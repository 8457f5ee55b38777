//! The attributes in which what came in is kept, where OTLP and its conventions have no place.

/// Id that the client was told.
pub const EVENT_ID: &str = "pulse.event.id";
/// Which sort of event it is, where the event's name is another.
pub const EVENT_TYPE: &str = "pulse.event.type";
/// What makes events one issue, as the client or its server's rule says it.
pub const FINGERPRINT: &str = crate::model::fingerprint::ATTRIBUTE;
/// Frames of the stack, where they are no text.
pub const STACK: &str = "pulse.stack";
/// The text of a stack, by the conventions.
pub const STACK_TEXT: &str = "exception.stacktrace";
/// Before the name of a tag.
pub const TAG: &str = "pulse.tag.";
/// What the application says of the event.
pub const METADATA: &str = "pulse.metadata";
/// What the event consists of.
pub const DETAILS: &str = "pulse.details";
/// What the application ran on, and for whom.
pub const CONTEXT: &str = "pulse.context";
/// What belongs to one request or one course of things.
pub const CORRELATION_ID: &str = "pulse.correlation_id";
/// How urgent it is.
pub const PRIORITY: &str = "pulse.priority";
/// The time as it came, where it is none.
pub const TIMESTAMP: &str = "pulse.timestamp";
/// Person, by the conventions.
pub const USER_ID: &str = "user.id";
/// Session, by the conventions.
pub const SESSION_ID: &str = "session.id";

/// Service, by the conventions.
pub const SERVICE: &str = "service.name";
/// Version of the service, by the conventions.
pub const SERVICE_VERSION: &str = "service.version";
/// Deployment environment, by the conventions.
pub const ENVIRONMENT: &str = "deployment.environment.name";
