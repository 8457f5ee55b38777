//! Bodies of fuzz targets; see [`crate::fuzz`].

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body::Frame;
use http_body_util::StreamBody;

use super::Budget;
use super::body::{PREFIX_LENGTH, read_message};
use crate::otlp::Failure;

const LIMIT: usize = 1 << 16;

/// Counts what is reserved.
struct Counting(usize);

impl Budget for Counting {
    fn reserve(&mut self, bytes: usize) -> Result<(), Failure> {
        self.0 += bytes;
        Ok(())
    }
}

/// Exactly one whole message within the limit is read, however it arrives, and no more is reserved
/// than arrives, give or take the growth of a buffer. The first byte is the size of the pieces.
pub(crate) fn grpc_message(data: &[u8]) {
    let Some((size, body)) = data.split_first() else {
        return;
    };
    let pieces: Vec<_> = body
        .chunks(usize::from(*size).max(1))
        .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(piece))))
        .collect();
    let stream = StreamBody::new(futures_util::stream::iter(pieces));
    let (mut budget, mut received) = (Counting(0), 0);
    let outcome = read_message(stream, LIMIT, &mut budget, &mut received).now_or_never();
    let Some(outcome) = outcome else {
        panic!("waits although everything is there");
    };
    assert!(budget.0 <= 2 * body.len() + (8 << 10), "{}", budget.0);
    let expected = body.split_first_chunk::<PREFIX_LENGTH>();
    let expected = expected.and_then(|([flag, length @ ..], message)| {
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let is_one = *flag < 2 && length <= LIMIT && length == message.len();
        is_one.then_some((*flag == 1, message))
    });
    match (outcome, expected) {
        (Ok((is_compressed, message)), Some(expected)) => {
            assert_eq!((is_compressed, &*message), expected);
            assert_eq!(received, body.len() as u64);
        }
        (Err(_), None) => {}
        (outcome, expected) => panic!("{outcome:?} instead of {expected:?}"),
    }
}
