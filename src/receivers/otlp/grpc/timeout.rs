//! The client's deadline: `grpc-timeout` (gRPC over HTTP/2, Requests).

use std::time::Duration;

use http::HeaderMap;

use crate::otlp::Failure;
use crate::receivers::otlp::body::malformed;

/// How long the client waits; `None` when it does not say.
///
/// # Errors
/// [`Failure::Malformed`] when the header is not one to eight digits and a unit.
pub(super) fn from_headers(headers: &HeaderMap) -> Result<Option<Duration>, Failure> {
    let Some(value) = headers.get("grpc-timeout") else {
        return Ok(None);
    };
    let parsed = value.to_str().ok().and_then(parse);
    parsed
        .map(Some)
        .ok_or_else(|| malformed("grpc-timeout is one to eight digits and one of H, M, S, m, u, n"))
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let count: u64 = digits.parse().ok().filter(|_| is_number)?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_anything_else_is_refused() {
        let units = [
            ("2H", 7_200_000_000_000_u128),
            ("2M", 120_000_000_000),
            ("2S", 2_000_000_000),
            ("2m", 2_000_000),
            ("2u", 2_000),
            ("99999999n", 99_999_999),
        ];
        for (text, nanos) in units {
            assert_eq!(parse(text).map(|parsed| parsed.as_nanos()), Some(nanos));
        }
        for text in ["", "S", "1", "1s", "-1S", "+1S", "123456789S", "1 S", "1é"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
