//! What kind of failure a failed span tells of.

use crate::model::failure::ErrorKind;

/// What is known of a failure.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::semconv) struct Failure<'f> {
    pub(in crate::semconv) error_type: Option<&'f str>,
    pub(in crate::semconv) message: Option<&'f str>,
    pub(in crate::semconv) status_message: &'f str,
    pub(in crate::semconv) http_status: Option<i64>,
    /// Whether the span is a tool's.
    pub(in crate::semconv) is_tool: bool,
}

/// Words that tell the kind, the more specific ones first. In lower case, without separators.
const WORDS: [(&str, ErrorKind); 46] = [
    ("contextlength", ErrorKind::ContextLength),
    ("contextwindow", ErrorKind::ContextLength),
    ("maximumcontext", ErrorKind::ContextLength),
    ("promptistoolong", ErrorKind::ContextLength),
    ("inputistoolong", ErrorKind::ContextLength),
    ("toomanytokens", ErrorKind::ContextLength),
    ("stringabovemaxlength", ErrorKind::ContextLength),
    ("contentfilter", ErrorKind::ContentFilter),
    ("contentpolicy", ErrorKind::ContentFilter),
    ("responsibleaipolicy", ErrorKind::ContentFilter),
    ("contentmanagementpolicy", ErrorKind::ContentFilter),
    ("guardrailintervened", ErrorKind::ContentFilter),
    ("insufficientquota", ErrorKind::QuotaExceeded),
    ("quotaexceeded", ErrorKind::QuotaExceeded),
    ("exceededyourcurrentquota", ErrorKind::QuotaExceeded),
    ("billing", ErrorKind::QuotaExceeded),
    ("creditbalance", ErrorKind::QuotaExceeded),
    ("insufficientcredit", ErrorKind::QuotaExceeded),
    ("ratelimit", ErrorKind::RateLimited),
    ("toomanyrequests", ErrorKind::RateLimited),
    ("throttl", ErrorKind::RateLimited),
    ("resourceexhausted", ErrorKind::RateLimited),
    ("overloaded", ErrorKind::Overloaded),
    ("serviceunavailable", ErrorKind::Overloaded),
    ("modelnotready", ErrorKind::Overloaded),
    ("deadlineexceeded", ErrorKind::Timeout),
    ("timeout", ErrorKind::Timeout),
    ("timedout", ErrorKind::Timeout),
    ("cancel", ErrorKind::Cancelled),
    ("aborterror", ErrorKind::Cancelled),
    ("unauthenticated", ErrorKind::Unauthenticated),
    ("authenticationerror", ErrorKind::Unauthenticated),
    ("unauthorized", ErrorKind::Unauthenticated),
    ("invalidapikey", ErrorKind::Unauthenticated),
    ("permissiondenied", ErrorKind::PermissionDenied),
    ("permissionerror", ErrorKind::PermissionDenied),
    ("accessdenied", ErrorKind::PermissionDenied),
    ("forbidden", ErrorKind::PermissionDenied),
    ("notfound", ErrorKind::NotFound),
    ("connection", ErrorKind::Connection),
    ("econnre", ErrorKind::Connection),
    ("badrequest", ErrorKind::InvalidRequest),
    ("invalidrequest", ErrorKind::InvalidRequest),
    ("validation", ErrorKind::InvalidRequest),
    ("internalserver", ErrorKind::Server),
    ("toolerror", ErrorKind::Tool),
];

impl Failure<'_> {
    /// The kind: what the type says, else the code, else the messages.
    pub(in crate::semconv) fn kind(&self) -> ErrorKind {
        let code = self.error_type.and_then(|it| it.trim().parse().ok());
        // Codes say less than words where both are there: 400 is also a prompt that is too long.
        let messages = || {
            let texts = [self.message, Some(self.status_message)];
            texts.into_iter().flatten().find_map(of_words)
        };
        let specific = |kind: &ErrorKind| {
            matches!(
                kind,
                ErrorKind::ContextLength | ErrorKind::ContentFilter | ErrorKind::QuotaExceeded
            )
        };
        messages()
            .filter(specific)
            .or_else(|| self.error_type.and_then(of_words))
            .or_else(|| code.or(self.http_status).and_then(of_status))
            .or_else(messages)
            .unwrap_or(if self.is_tool {
                ErrorKind::Tool
            } else {
                ErrorKind::Other
            })
    }
}

fn of_words(text: &str) -> Option<ErrorKind> {
    // Separators differ between languages: RateLimitError, rate_limit_error, "rate limit".
    let mut plain = [0_u8; 512];
    let mut length = 0;
    for byte in text.bytes().filter(u8::is_ascii_alphanumeric) {
        let Some(place) = plain.get_mut(length) else {
            break;
        };
        *place = byte.to_ascii_lowercase();
        length += 1;
    }
    let plain = plain.get(..length)?;
    WORDS
        .iter()
        .find(|(word, _)| memchr::memmem::find(plain, word.as_bytes()).is_some())
        .map(|(_, kind)| *kind)
}

fn of_status(status: i64) -> Option<ErrorKind> {
    let kind = match status {
        400 | 405 | 409 | 411..=412 | 414..=417 | 422 => ErrorKind::InvalidRequest,
        401 => ErrorKind::Unauthenticated,
        402 => ErrorKind::QuotaExceeded,
        403 => ErrorKind::PermissionDenied,
        404 | 410 => ErrorKind::NotFound,
        408 | 504 => ErrorKind::Timeout,
        413 => ErrorKind::ContextLength,
        429 => ErrorKind::RateLimited,
        499 => ErrorKind::Cancelled,
        503 | 529 => ErrorKind::Overloaded,
        500..=599 => ErrorKind::Server,
        _ => return None,
    };
    Some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(error_type: &str, message: &str, http_status: Option<i64>) -> ErrorKind {
        let failure = Failure {
            error_type: Some(error_type).filter(|it| !it.is_empty()),
            message: Some(message),
            http_status,
            ..Failure::default()
        };
        failure.kind()
    }

    #[test]
    fn types_messages_and_codes_tell_the_kind() {
        let cases = [
            (
                "openai.RateLimitError",
                "",
                Some(429),
                ErrorKind::RateLimited,
            ),
            ("rate_limit_error", "", None, ErrorKind::RateLimited),
            (
                "RateLimitError",
                "You exceeded your current quota",
                Some(429),
                ErrorKind::QuotaExceeded,
            ),
            (
                "BadRequestError",
                "This model's maximum context length is 8192 tokens",
                Some(400),
                ErrorKind::ContextLength,
            ),
            ("overloaded_error", "", Some(529), ErrorKind::Overloaded),
            ("500", "", None, ErrorKind::Server),
            ("404", "", None, ErrorKind::NotFound),
            ("httpx.ConnectTimeout", "", None, ErrorKind::Timeout),
            (
                "APIConnectionError",
                "Connection error.",
                None,
                ErrorKind::Connection,
            ),
            (
                "AuthenticationError",
                "Incorrect API key provided",
                Some(401),
                ErrorKind::Unauthenticated,
            ),
            (
                "asyncio.exceptions.CancelledError",
                "",
                None,
                ErrorKind::Cancelled,
            ),
            ("ValueError", "bad", None, ErrorKind::Other),
            ("", "", None, ErrorKind::Other),
        ];
        for (error_type, message, status, expected) in cases {
            assert_eq!(
                kind(error_type, message, status),
                expected,
                "{error_type} {message}"
            );
        }
    }

    #[test]
    fn a_tool_that_fails_for_its_own_reasons_is_a_tools_failure() {
        let failure = Failure {
            error_type: Some("KeyError"),
            is_tool: true,
            ..Failure::default()
        };
        assert_eq!(failure.kind(), ErrorKind::Tool);
    }
}
