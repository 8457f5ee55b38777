//! Why a listener could not be opened: one line that names the setting.

use std::io;

use crate::net::tls;

/// Why a listener could not be opened. `what` is the path of its section in the configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint is not `host:port`, or the host has no address.
    #[error("{what}: resolve {endpoint}: {}", reason(source))]
    Resolve {
        /// Path in the configuration.
        what: &'static str,
        /// As configured.
        endpoint: String,
        /// What the system said.
        source: io::Error,
    },
    /// The address can't be listened on.
    #[error("{what}: listen on {endpoint}: {}", reason(source))]
    Listen {
        /// Path in the configuration.
        what: &'static str,
        /// As configured.
        endpoint: String,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate or key can't be used.
    #[error("{what}.{source}")]
    Tls {
        /// Path in the configuration.
        what: &'static str,
        /// Which file, and why.
        source: Box<tls::Error>,
    },
}

/// The usual reasons in plain words, without the number of the system error.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "address already in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
