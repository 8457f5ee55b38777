//! Follows the requests of an HTTP/1 connection: holds each head back until it is complete, and
//! lets it pass only if hyper will read it, and read it in one way.
//!
//! A refused head becomes a short request that carries the reason in a header, and the type that
//! the refused one named; the service around every request answers it like any other failure, so
//! that also these clients get a body in the shape they know. A client may send that header itself:
//! it only refuses its own request.

use std::sync::Arc;

use bytes::BytesMut;
use http::HeaderMap;

use crate::net::activity::Activity;
use crate::net::framing::{self, BodyLength, ChunkScanner};
use crate::otlp::Failure;

/// Header of the request that stands in for a refused one.
pub(in crate::net) const REFUSED_HEADER: &str = "pulse-refused-head";
const TOO_LARGE: &str = "too-large";
const TIMEOUT: &str = "timeout";

/// Headers in one head at most; hyper's own bound, which it enforces without a body in the answer.
const HEADERS_MAX: usize = 100;
/// Bytes of a URI or of the name of a header at most; bounds of the parsers behind.
const WORD_MAX: usize = u16::MAX as usize - 1;
/// Longest content type that is passed on.
const CONTENT_TYPE_MAX: usize = 128;

/// Why the head was refused, if this request stands in for a refused one.
pub(in crate::net) fn refusal(headers: &HeaderMap) -> Option<Failure> {
    let reason = headers.get(REFUSED_HEADER)?.to_str().unwrap_or_default();
    Some(match reason {
        TOO_LARGE => Failure::HeadersTooLarge,
        TIMEOUT => Failure::RequestTimeout,
        reason => Failure::Malformed {
            message: reason.to_owned(),
            field: None,
        },
    })
}

#[derive(Debug)]
enum Phase {
    /// Between requests, or within a head.
    Head,
    /// Bytes of a body with a known length are left.
    Body(u64),
    Chunks(ChunkScanner),
    /// Nothing more is read from the peer.
    Refused,
    /// The body is not framed as it says; where the next request begins is unknown.
    Broken,
}

/// Where a connection is in its requests.
#[derive(Debug)]
pub(super) struct Requests {
    activity: Arc<Activity>,
    phase: Phase,
    head_max: usize,
    /// A head that is not complete yet.
    held: BytesMut,
    /// Bytes of `held` that were searched for its end.
    searched: usize,
}

/// Why a head is not handed on.
#[derive(Debug)]
pub(super) enum Refused {
    TooLarge,
    Timeout,
    Ambiguous(&'static str),
    Unreadable(&'static str),
}

impl Requests {
    pub(super) fn new(activity: Arc<Activity>, head_max: usize) -> Self {
        Self {
            activity,
            phase: Phase::Head,
            head_max,
            held: BytesMut::new(),
            searched: 0,
        }
    }

    /// Whether a head is held back in part.
    pub(super) fn holds_back(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether nothing more is to be read, because a request was refused.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.phase, Phase::Refused)
    }

    /// Whether it is unknown where the next request begins.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self.phase, Phase::Broken)
    }

    /// Whether no body is being read.
    pub(super) fn is_between_bodies(&self) -> bool {
        matches!(self.phase, Phase::Head)
    }

    /// Adds bytes behind those held back, and moves what is complete on to `passed`.
    pub(super) fn release(&mut self, fresh: &[u8], passed: &mut BytesMut) {
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(fresh);
        let (done, refused) = self.scan(&held);
        let released = held.split_to(done.min(held.len()));
        passed.extend_from_slice(&released);
        self.held = held;
        if let Some(reason) = refused {
            self.refuse(&reason, passed);
        }
    }

    /// Looks at fresh bytes while none are held back. Returns how many of them may be handed on as
    /// they are; the stand-in for a refused head goes to `passed`.
    pub(super) fn pass(&mut self, fresh: &[u8], passed: &mut BytesMut) -> usize {
        let (done, refused) = self.scan(fresh);
        self.held
            .extend_from_slice(fresh.get(done..).unwrap_or_default());
        if let Some(reason) = refused {
            self.refuse(&reason, passed);
        }
        done
    }

    /// What is held back, to be handed on as it is: no requests follow.
    pub(super) fn let_go(&mut self) -> BytesMut {
        self.activity.head_ended();
        std::mem::take(&mut self.held)
    }

    /// Refuses the head that took too long.
    pub(super) fn expire(&mut self, passed: &mut BytesMut) {
        self.refuse(&Refused::Timeout, passed);
    }

    /// How many bytes from the start of `bytes` may be handed on, and why the head behind them
    /// is refused, if it is; otherwise what is behind them is an incomplete head.
    fn scan(&mut self, bytes: &[u8]) -> (usize, Option<Refused>) {
        let mut done = 0;
        loop {
            let rest = bytes.get(done..).unwrap_or_default();
            if rest.is_empty() {
                return (done, None);
            }
            match &mut self.phase {
                Phase::Refused | Phase::Broken => return (done, None),
                Phase::Body(remaining) => {
                    let here = usize::try_from(*remaining).unwrap_or(usize::MAX);
                    let taken = here.min(rest.len());
                    *remaining = remaining.saturating_sub(taken as u64);
                    if *remaining == 0 {
                        self.phase = Phase::Head;
                    }
                    done += taken;
                }
                Phase::Chunks(scanner) => match scanner.advance(rest) {
                    Ok(None) => return (bytes.len(), None),
                    Ok(Some(taken)) => {
                        self.phase = Phase::Head;
                        done += taken;
                    }
                    Err(_) => self.phase = Phase::Broken,
                },
                Phase::Head => match self.scan_head(rest) {
                    Ok(Some(taken)) => done += taken,
                    Ok(None) => return (done, None),
                    Err(reason) => return (done, Some(reason)),
                },
            }
        }
    }

    /// Length of the head at the start of `rest`, or `None` when it is incomplete.
    fn scan_head(&mut self, rest: &[u8]) -> Result<Option<usize>, Refused> {
        let skipped = framing::leading_empty_lines(rest);
        let head = rest.get(skipped..).unwrap_or_default();
        if head.is_empty() {
            return Ok(Some(skipped));
        }
        let searched = self.searched.saturating_sub(skipped);
        let end = framing::head_end(head, searched);
        if end.unwrap_or(head.len()) > self.head_max {
            return Err(Refused::TooLarge);
        }
        let Some(end) = end else {
            self.searched = rest.len();
            self.activity.head_started();
            return Ok(None);
        };
        self.searched = 0;
        self.activity.head_ended();
        let head = head.get(..end).unwrap_or_default();
        let headers = memchr::memchr_iter(b'\n', head).count().saturating_sub(2);
        if headers > HEADERS_MAX {
            return Err(Refused::TooLarge);
        }
        let body = framing::check_head(head).map_err(Refused::Ambiguous)?;
        check_readable(head)?;
        self.phase = match body {
            BodyLength::Known(0) => Phase::Head,
            BodyLength::Known(length) => Phase::Body(length),
            BodyLength::Chunked => Phase::Chunks(ChunkScanner::default()),
        };
        Ok(Some(skipped + end))
    }

    fn refuse(&mut self, reason: &Refused, passed: &mut BytesMut) {
        let reason = match reason {
            Refused::TooLarge => TOO_LARGE.to_owned(),
            Refused::Timeout => TIMEOUT.to_owned(),
            Refused::Ambiguous(text) => format!("ambiguous request: {text}"),
            Refused::Unreadable(text) => format!("not a valid HTTP/1.1 request: {text}"),
        };
        let mut stand_in = format!("POST / HTTP/1.1\r\n{REFUSED_HEADER}: {reason}\r\n");
        if let Some(content_type) = content_type(&self.held) {
            stand_in.push_str("content-type: ");
            stand_in.push_str(content_type);
            stand_in.push_str("\r\n");
        }
        stand_in.push_str("connection: close\r\ncontent-length: 0\r\n\r\n");
        passed.extend_from_slice(stand_in.as_bytes());
        self.phase = Phase::Refused;
        self.held = BytesMut::new();
        self.activity.head_ended();
    }
}

/// Reads a head as hyper will, with the parsers hyper has, so that hyper finds nothing to refuse:
/// its own answers have no body.
fn check_readable(head: &[u8]) -> Result<(), Refused> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Refused::Unreadable("the end of the head is unclear")),
        Err(error) => return Err(Refused::Unreadable(what_is_wrong(error))),
    }
    let path = request.path.unwrap_or_default();
    let is_long = |header: &httparse::Header<'_>| header.name.len() > WORD_MAX;
    if path.len() > WORD_MAX || request.headers.iter().any(is_long) {
        return Err(Refused::TooLarge);
    }
    let method = request.method.unwrap_or_default();
    if http::Method::from_bytes(method.as_bytes()).is_err() {
        return Err(Refused::Unreadable("invalid method"));
    }
    if http::Uri::try_from(path).is_err() {
        return Err(Refused::Unreadable("invalid URI"));
    }
    Ok(())
}

fn what_is_wrong(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "invalid header name",
        httparse::Error::HeaderValue => "invalid header value",
        httparse::Error::NewLine => "invalid line end",
        httparse::Error::Token => "invalid method or URI",
        httparse::Error::Version => "unsupported version",
        _ => "invalid head",
    }
}

/// The content type in a head, whole or in part, that is refused: it decides the type of the
/// answer, so that nothing else about the head needs to be right.
fn content_type(head: &[u8]) -> Option<&str> {
    let complete = head.get(..=memchr::memrchr(b'\n', head)?)?;
    let mut lines = complete
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii_end)
        .skip_while(|line| line.is_empty())
        .take_while(|line| !line.is_empty());
    let value = lines.find_map(|line| {
        let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
        let is_it = name.eq_ignore_ascii_case(b"content-type");
        is_it.then(|| value.strip_prefix(b":").unwrap_or(value).trim_ascii())
    })?;
    let is_plain = value.iter().all(|byte| (b' '..=b'~').contains(byte));
    let text = std::str::from_utf8(value).ok()?;
    (is_plain && value.len() <= CONTENT_TYPE_MAX).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn requests() -> Requests {
        Requests::new(Activity::new(), 64)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        // Scenario: any bytes at all.
        // Guarantees: no panic, and at most what came is handed on.
        #[test]
        fn garbage_is_survived(
            bytes in proptest::collection::vec(
                prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()],
                0..300,
            ),
            step in 1_usize..100,
        ) {
            let mut all = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n".to_vec();
            all.extend_from_slice(&bytes);
            let mut scanned = requests();
            for piece in all.chunks(step) {
                let (passed, _) = scanned.scan(piece);
                prop_assert!(passed <= piece.len());
            }
        }
    }

    // Scenario: heads whose framing is clear, and which hyper would refuse all the same.
    // Guarantees: each is refused here, with a reason.
    #[test]
    fn what_hyper_would_refuse_is_refused_with_a_reason() {
        for (head, reason) in [
            ("GET / HTTP/2.0\r\n\r\n", "unsupported version"),
            ("GET / HTTP/1.1x\r\n\r\n", "invalid line end"),
            ("GET /\r\n\r\n", "invalid method or URI"),
            ("GET  / HTTP/1.1\r\n\r\n", "invalid method or URI"),
            ("G@T / HTTP/1.1\r\n\r\n", "invalid method or URI"),
            ("GET /\x01 HTTP/1.1\r\n\r\n", "invalid method or URI"),
            ("GET http://a:b:c/ HTTP/1.1\r\n\r\n", "invalid URI"),
            ("GET / HTTP/1.1\r\na b: c\r\n\r\n", "invalid header name"),
            (
                "GET / HTTP/1.1\r\na\u{e9}: c\r\n\r\n",
                "invalid header name",
            ),
            ("GET / HTTP/1.1\r\na: b\x01\r\n\r\n", "invalid header value"),
        ] {
            match check_readable(head.as_bytes()) {
                Err(Refused::Unreadable(found)) => assert_eq!(found, reason, "{head:?}"),
                other => panic!("{head:?}: {other:?}"),
            }
        }
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(70_000));
        assert!(matches!(
            check_readable(long.as_bytes()),
            Err(Refused::TooLarge)
        ));
        check_readable(b"POST /v1/traces?a=b HTTP/1.0\nHost: a\n\n").unwrap();
    }

    #[test]
    fn the_type_of_a_refused_request_is_found_when_its_line_is_whole() {
        let head = "POST / HTTP/1.1\r\nContent-TYPE: application/x-protobuf ; a=b\r\nx";
        let found = content_type(head.as_bytes());
        assert_eq!(found, Some("application/x-protobuf ; a=b"));
        for head in [
            "",
            "content-type: text/plain",
            "POST / HTTP/1.1\r\nx-content-type: a\r\n",
            "POST / HTTP/1.1\r\ncontent-type: a\x01\r\n",
            "\r\nPOST / HTTP/1.1\r\n\r\ncontent-type: a\r\n",
        ] {
            assert_eq!(content_type(head.as_bytes()), None, "{head:?}");
        }
    }
}
