//! Compressed answers, for clients that ask for them (RFC 9110 §12.5.3). gzip alone: every client
//! has it.

use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

/// Bytes from which an answer is worth compressing.
pub const WORTH_BYTES: u64 = 1 << 10;
/// Media types of which most are compressed in themselves.
const PACKED: [&str; 5] = [
    "image/png",
    "image/jpeg",
    "image/webp",
    "font/woff",
    "video/",
];
/// Bytes compressed before other tasks of the thread get their turn: about a millisecond.
const TURN_BYTES: usize = 128 << 10;

/// Whether the client asks for gzip, and does not prefer an answer as it is.
#[must_use]
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut any, mut identity) = (None, None, None);
    for value in headers.get_all(ACCEPT_ENCODING) {
        for choice in value.to_str().unwrap_or_default().split(',') {
            let (name, weight) = choice.split_once(';').unwrap_or((choice, ""));
            let name = name.trim();
            let place = if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip")
            {
                &mut gzip
            } else if name.eq_ignore_ascii_case("identity") {
                &mut identity
            } else if name == "*" {
                &mut any
            } else {
                continue;
            };
            *place = Some(parse_weight(weight));
        }
    }
    let gzip = gzip.or(any).unwrap_or(0.0);
    gzip > 0.0 && gzip >= identity.unwrap_or(0.0)
}

/// The weight of a choice; 1 when there is none, and 0 when it can't be read.
fn parse_weight(parameters: &str) -> f32 {
    let parameters = parameters.trim();
    if parameters.is_empty() {
        return 1.0;
    }
    let weight = parameters
        .strip_prefix(['q', 'Q'])
        .and_then(|rest| rest.trim_start().strip_prefix('='));
    let weight = weight.and_then(|weight| weight.trim().parse().ok());
    weight
        .filter(|weight| (0.0..=1.0).contains(weight))
        .unwrap_or(0.0)
}

/// Whether an answer is worth compressing. Says in it that its form depends on the question then.
pub fn is_worth<B: Body>(response: &mut Response<B>) -> bool {
    let headers = response.headers();
    let told = headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok());
    let told = told.and_then(|it| it.parse().ok()).unwrap_or(0);
    let is_large = response.body().size_hint().lower().max(told) >= WORTH_BYTES;
    // A range is one of the bytes that are not compressed.
    let is_whole = response.status() != StatusCode::PARTIAL_CONTENT;
    let kind = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let is_packed = kind.is_some_and(|kind| PACKED.iter().any(|packed| kind.starts_with(packed)));
    let worth = is_large && is_whole && !is_packed && !headers.contains_key(CONTENT_ENCODING);
    if worth {
        let accept_encoding = HeaderValue::from_static("accept-encoding");
        response.headers_mut().append(VARY, accept_encoding);
    }
    worth
}

/// Compresses an answer while it is sent.
pub fn gzip_response<B>(response: Response<B>) -> Response<GzipBody<B>> {
    let mut response = response.map(GzipBody::new);
    say_gzip(response.headers_mut());
    response
}

/// Says in the head of an answer that its body is compressed.
pub fn say_gzip(headers: &mut HeaderMap) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.remove(CONTENT_LENGTH);
}

/// Compresses a few kilobytes.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // A vector takes everything.
    drop(encoder.write_all(bytes));
    encoder.finish().unwrap_or_default().into()
}

/// A body that is compressed as it is read. Trailers are left out.
#[derive(Debug)]
pub struct GzipBody<B> {
    inner: B,
    /// What was taken from `inner` and not compressed yet.
    piece: Bytes,
    /// Gone at the end.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl<B> GzipBody<B> {
    fn new(inner: B) -> Self {
        Self {
            inner,
            piece: Bytes::new(),
            encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for GzipBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let Some(encoder) = &mut this.encoder else {
            return Poll::Ready(None);
        };
        if this.piece.is_empty() {
            match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                Some(Ok(frame)) => this.piece = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    let rest = this.encoder.take().map(GzEncoder::finish);
                    let rest = rest.and_then(Result::ok).unwrap_or_default();
                    return Poll::Ready(Some(Ok(Frame::data(rest.into()))));
                }
            }
        }
        let turn = this.piece.split_to(this.piece.len().min(TURN_BYTES));
        // A vector takes everything.
        drop(encoder.write_all(&turn));
        let compressed = std::mem::take(encoder.get_mut());
        if compressed.is_empty() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(compressed.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use http_body_util::{BodyExt as _, Full, StreamBody};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_compressed_is_whole_and_gains_by_it() {
        let worth = |status: u16, headers: &[(&'static str, &'static str)]| {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            // As a file, which does not tell how long it is.
            let frames = futures_util::stream::empty::<Result<Frame<Bytes>, std::io::Error>>();
            is_worth(&mut response.body(StreamBody::new(frames)).unwrap())
        };
        let large = ("content-length", "5000");
        assert!(worth(200, &[large]));
        assert!(worth(200, &[large, ("content-type", "text/javascript")]));
        assert!(!worth(200, &[large, ("content-type", "image/png")]));
        assert!(!worth(200, &[large, ("content-encoding", "br")]));
        assert!(!worth(206, &[large]));
        assert!(!worth(200, &[("content-length", "100")]));
        assert!(!worth(200, &[]));
    }

    #[test]
    fn gzip_is_used_when_it_is_asked_for_and_not_refused() {
        for (header, expected) in [
            (None, false),
            (Some(""), false),
            (Some("gzip"), true),
            (Some("GZip"), true),
            (Some("x-gzip"), true),
            (Some("*"), true),
            (Some("deflate, gzip;q=0.5, br"), true),
            (Some("gzip;q=0"), false),
            (Some("gzip;q=0, *"), false),
            (Some("*;q=0"), false),
            (Some("identity, gzip;q=0.5"), false),
            (Some("identity;q=0.5, gzip"), true),
            (Some("gzip; q = 1.0"), true),
            (Some("gzip;q=2"), false),
            (Some("gzip;level=9"), false),
            (Some("br, zstd"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = header {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
            }
            assert_eq!(accepts_gzip(&headers), expected, "{header:?}");
        }
        let mut several = HeaderMap::new();
        several.append(ACCEPT_ENCODING, HeaderValue::from_static("br"));
        several.append(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(accepts_gzip(&several));
    }

    #[test]
    fn only_large_answers_that_are_not_compressed_yet_are_worth_it() {
        let answer = |bytes: usize| Response::new(Full::new(Bytes::from(vec![b'a'; bytes])));
        assert!(!is_worth(&mut answer(1023)));
        let mut large = answer(1024);
        assert!(is_worth(&mut large));
        assert_eq!(large.headers()[VARY], "accept-encoding");
        large.headers_mut().insert(CONTENT_LENGTH, 1024.into());
        let mut compressed = gzip_response(large);
        assert!(!compressed.headers().contains_key(CONTENT_LENGTH));
        assert!(!is_worth(&mut compressed));
    }

    fn inflate(compressed: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(compressed);
        decoder.read_to_end(&mut plain).unwrap();
        plain
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        // Scenario: a body in pieces of any size, from empty to more than one turn, that compress
        // well or not at all.
        // Guarantees: what is read is gzip of all of it.
        #[test]
        fn a_body_is_compressed_whole(
            pieces in proptest::collection::vec((0_usize..400_000, any::<u32>()), 0..4),
        ) {
            let pieces: Vec<Bytes> = pieces
                .into_iter()
                .map(|(length, step)| {
                    let words = (0_u32..).flat_map(|at| at.wrapping_mul(step).to_le_bytes());
                    words.take(length).collect()
                })
                .collect();
            let plain = pieces.concat();
            let frames = pieces.into_iter().map(|piece| {
                Ok::<_, std::convert::Infallible>(Frame::data(piece))
            });
            let body = StreamBody::new(futures_util::stream::iter(frames));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let compressed = runtime.block_on(GzipBody::new(body).collect()).unwrap().to_bytes();
            prop_assert_eq!(inflate(&compressed), plain);
        }
    }

    #[test]
    fn small_answers_are_compressed_in_one_go() {
        assert_eq!(inflate(&gzip(&[b'a'; 5000])), [b'a'; 5000]);
    }
}
