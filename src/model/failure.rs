//! What kind of failure a span tells of.

/// Kind of a failure, so that failures of many libraries can be counted together. The type and the
/// message as sent stay beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ErrorKind {
    /// It took too long.
    Timeout = 1,
    /// The caller gave up.
    Cancelled = 2,
    /// Too many requests or tokens per time.
    RateLimited = 3,
    /// Nothing is left of a quota or a balance.
    QuotaExceeded = 4,
    /// No valid credentials.
    Unauthenticated = 5,
    /// Not allowed.
    PermissionDenied = 6,
    /// No such model, route or thing.
    NotFound = 7,
    /// The request is malformed or not acceptable.
    InvalidRequest = 8,
    /// The input is longer than the model takes.
    ContextLength = 9,
    /// Refused for its content.
    ContentFilter = 10,
    /// The other side has too much to do.
    Overloaded = 11,
    /// The other side failed.
    Server = 12,
    /// The other side was not reached, or the connection broke.
    Connection = 13,
    /// A tool failed.
    Tool = 14,
    /// Anything else.
    Other = 15,
}

impl ErrorKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::Timeout,
        Self::Cancelled,
        Self::RateLimited,
        Self::QuotaExceeded,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::NotFound,
        Self::InvalidRequest,
        Self::ContextLength,
        Self::ContentFilter,
        Self::Overloaded,
        Self::Server,
        Self::Connection,
        Self::Tool,
        Self::Other,
    ];

    /// Reads the number stored.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| i64::from(*kind as u8) == number)
    }

    /// Lower-case name used in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::RateLimited => "rate_limited",
            Self::QuotaExceeded => "quota_exceeded",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::NotFound => "not_found",
            Self::InvalidRequest => "invalid_request",
            Self::ContextLength => "context_length",
            Self::ContentFilter => "content_filter",
            Self::Overloaded => "overloaded",
            Self::Server => "server",
            Self::Connection => "connection",
            Self::Tool => "tool",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_one_number_and_one_name() {
        let mut names: Vec<_> = ErrorKind::ALL.map(ErrorKind::as_str).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ErrorKind::ALL.len());
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_number(i64::from(kind as u8)), Some(kind));
        }
        assert_eq!(ErrorKind::from_number(0), None);
        assert_eq!(ErrorKind::from_number(16), None);
    }
}
