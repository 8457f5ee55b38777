//! Who may send and read: credentials, and the one place that turns them into a project.
//!
//! A key ([`ApiKey`]) is random, shown once and stored as its SHA-256 only: enough for a random
//! text of 178 bits, and cheap enough for every request. Passwords ([`password`]) are stored as
//! argon2id; who gives the right one has a session ([`people`]), which is a random token too. Nothing here prints either: their types show `[REDACTED]`.

mod access_token;
mod back_off;
mod cache;
mod config;
pub mod cookie;
pub mod credential;
pub mod denied;
pub mod gate;
pub mod issue;
pub mod key;
pub mod names;
pub mod page;
pub mod password;
mod passwords;
pub mod people;
pub mod principal;
pub mod quota;
pub mod random;
pub mod refresh;
pub mod resolver;
#[cfg(test)]
pub(crate) mod testing;

pub use config::{Config, QuotaConfig, SECRET_CHARS_MIN, SignUps};
pub use denied::Denied;
pub use gate::{Gate, Gates, Purpose};
pub use key::{ApiKey, KeyHash};
pub use passwords::Busy;
pub use people::{Held, People};
pub use principal::{Principal, Who};
pub use quota::Quotas;
pub use resolver::Resolver;
