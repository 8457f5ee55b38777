//! Reading request bodies: bounded, and paid for as the bytes arrive rather than as announced.

use std::pin::Pin;

use bytes::{Buf as _, Bytes};
use http_body::Body;
use http_body_util::BodyExt as _;

use super::{Budget, buffers};
use crate::otlp::Failure;

/// Bytes reserved for the first piece of a body at least.
const INITIAL_CAPACITY: usize = 4 << 10;

/// Bytes collected so far. What is paid for grows by doubling, never past what was announced.
#[derive(Debug)]
struct Collected {
    bytes: Vec<u8>,
    /// Bytes that the budget was asked for.
    paid: usize,
    /// Most that will ever arrive.
    expected: usize,
}

impl Collected {
    fn new(expected: usize) -> Self {
        Self {
            bytes: Vec::new(),
            paid: 0,
            expected,
        }
    }

    fn missing(&self) -> usize {
        self.expected.saturating_sub(self.bytes.len())
    }

    fn push(&mut self, piece: &[u8], budget: &mut impl Budget) -> Result<(), Failure> {
        let needed = self.bytes.len().saturating_add(piece.len());
        if needed > self.paid {
            let doubled = self.paid.saturating_mul(2).max(INITIAL_CAPACITY);
            let paid = doubled.min(self.expected).max(needed);
            budget.reserve(paid - self.paid)?;
            self.paid = paid;
            if self.bytes.is_empty() {
                self.bytes = buffers::take(self.expected);
            }
            if paid > self.bytes.capacity() {
                self.bytes.reserve_exact(paid - self.bytes.len());
            }
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

/// Reads a whole HTTP body of at most `limit` bytes. `received` counts what arrived.
///
/// # Errors
/// [`Failure::TooLarge`] as soon as that is known, [`Failure::Malformed`] when the body breaks
/// off, and what the budget says.
pub(super) async fn read_all<B>(
    mut body: B,
    limit: usize,
    budget: &mut impl Budget,
    received: &mut u64,
) -> Result<Bytes, Failure>
where
    B: Body<Data = Bytes> + Unpin,
{
    let announced = body.size_hint().exact();
    let announced = announced.and_then(|length| usize::try_from(length).ok());
    let mut collected = Collected::new(announced.unwrap_or(limit).min(limit));
    while let Some(piece) = next_piece(&mut body).await? {
        *received += piece.len() as u64;
        if piece.len() > collected.missing() {
            return Err(too_large(limit));
        }
        collected.push(&piece, budget)?;
    }
    Ok(buffers::share(collected.bytes))
}

/// Reads the one message of a unary gRPC request, and whether it is compressed
/// (gRPC over HTTP/2, Length-Prefixed-Message).
///
/// # Errors
/// [`Failure::TooLarge`] from the prefix alone; [`Failure::Malformed`] for anything but exactly
/// one whole message; what the budget says.
pub(super) async fn read_message<B>(
    mut body: B,
    limit: usize,
    budget: &mut impl Budget,
    received: &mut u64,
) -> Result<(bool, Bytes), Failure>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut prefix = Vec::with_capacity(PREFIX_LENGTH);
    let mut message: Option<(bool, Collected)> = None;
    while let Some(mut piece) = next_piece(&mut body).await? {
        *received += piece.len() as u64;
        let (_, collected) = match &mut message {
            Some(message) => message,
            None => {
                let take = piece.len().min(PREFIX_LENGTH - prefix.len());
                prefix.extend_from_slice(&piece.split_to(take));
                let Some((is_compressed, length)) = parse_prefix(&prefix)? else {
                    continue;
                };
                if length > limit {
                    return Err(too_large(limit));
                }
                message.insert((is_compressed, Collected::new(length)))
            }
        };
        if piece.remaining() > collected.missing() {
            return Err(malformed("more than one message in a unary request"));
        }
        collected.push(&piece, budget)?;
    }
    match message {
        Some((is_compressed, collected)) if collected.missing() == 0 => {
            Ok((is_compressed, buffers::share(collected.bytes)))
        }
        None if prefix.is_empty() => Err(malformed("no message in the request")),
        _ => Err(malformed("the message is cut short")),
    }
}

/// The prefix of a gRPC message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) is_compressed: bool,
    /// Bytes of the message.
    pub(super) length: usize,
}

/// The messages of a gRPC stream, one after the other.
#[derive(Debug)]
pub(super) struct Messages<B> {
    body: B,
    /// What arrived and was not looked at yet.
    piece: Bytes,
}

impl<B> Messages<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    pub(super) fn new(body: B) -> Self {
        Self {
            body,
            piece: Bytes::new(),
        }
    }

    /// Reads the prefix of the next message; `None` at the end of the stream.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the stream breaks off in it, or it is none.
    pub(super) async fn announced(&mut self) -> Result<Option<Announced>, Failure> {
        let mut prefix = Vec::with_capacity(PREFIX_LENGTH);
        loop {
            let take = self.piece.len().min(PREFIX_LENGTH - prefix.len());
            prefix.extend_from_slice(&self.piece.split_to(take));
            if let Some((is_compressed, length)) = parse_prefix(&prefix)? {
                return Ok(Some(Announced {
                    is_compressed,
                    length,
                }));
            }
            match next_piece(&mut self.body).await? {
                Some(piece) => self.piece = piece,
                None if prefix.is_empty() => return Ok(None),
                None => return Err(malformed("the message is cut short")),
            }
        }
    }

    /// Reads a message whose prefix was read.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the stream breaks off in it; what the budget says.
    pub(super) async fn message(
        &mut self,
        announced: Announced,
        budget: &mut impl Budget,
    ) -> Result<Bytes, Failure> {
        let mut collected = Collected::new(announced.length);
        loop {
            let take = self.piece.len().min(collected.missing());
            collected.push(&self.piece.split_to(take), budget)?;
            if collected.missing() == 0 {
                return Ok(buffers::share(collected.bytes));
            }
            let piece = next_piece(&mut self.body).await?;
            self.piece = piece.ok_or_else(|| malformed("the message is cut short"))?;
        }
    }
}

/// A flag byte and four bytes of length.
pub(super) const PREFIX_LENGTH: usize = 5;

fn parse_prefix(prefix: &[u8]) -> Result<Option<(bool, usize)>, Failure> {
    let Some((flag, length)) = prefix.split_first() else {
        return Ok(None);
    };
    let Ok(length) = <[u8; 4]>::try_from(length) else {
        return Ok(None);
    };
    let is_compressed = match flag {
        0 => false,
        1 => true,
        _ => return Err(malformed("the compressed flag of a message is 0 or 1")),
    };
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    Ok(Some((is_compressed, length)))
}

/// The next piece of data; `None` at the end. Trailers are skipped.
async fn next_piece<B>(body: &mut B) -> Result<Option<Bytes>, Failure>
where
    B: Body<Data = Bytes> + Unpin,
{
    while let Some(frame) = Pin::new(&mut *body).frame().await {
        let frame = frame.map_err(|_| malformed("the request body broke off"))?;
        if let Ok(piece) = frame.into_data() {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}

pub(super) fn malformed(message: impl Into<String>) -> Failure {
    Failure::Malformed {
        message: message.into(),
        field: None,
    }
}

pub(super) fn too_large(limit: usize) -> Failure {
    Failure::TooLarge {
        limit_bytes: limit as u64,
    }
}
