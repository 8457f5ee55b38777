//! What the SDKs and the command line of the older Pulse servers send: traces and spans in JSON of
//! their own, and OTLP/JSON whose ids are any text.
//!
//! Everything becomes an OTLP export request, which takes the same way as any other: it is checked,
//! redacted, made durable and stored like what comes in on the OTLP ports. What OTLP has no place
//! for goes into attributes (`names`), so that answers tell what came in word by word. Pure: no
//! sockets, no store, no clock.

mod checks;
pub mod ids;
pub mod issue;
pub mod json;
pub mod names;
pub mod otlp;
pub mod records;
pub mod scalar;
pub mod schema;
