//! Decompression of request bodies in memory, under a cap.
//!
//! Promises: the output never exceeds the limit, and memory grows in steps that are announced
//! before they are taken, so a bomb costs at most twice the limit. A size that the sender declares
//! is a hint about the first step and no more. Data that is cut short, corrupt or followed by
//! something else fails; it is never accepted in part.

mod deflate;
mod zstandard;

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;

use super::Failure;

/// Smallest first step of the output.
const FIRST_STEP_MIN: usize = 4 << 10;
/// Size of the first step as a multiple of the input, when nothing is declared.
const FIRST_STEP_RATIO: usize = 4;
/// Largest declared ratio that is believed; telemetry compresses 3 to 20 times.
const DECLARED_RATIO_MAX: usize = 32;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952, of one or more members.
    Gzip,
    /// RFC 8878, of one or more frames, with windows of up to 8 MiB.
    Zstd,
    /// RFC 1950; raw RFC 1951 is understood too, since some clients mistake one for the other.
    Deflate,
}

impl Encoding {
    /// Knows the names of `Content-Encoding` and `grpc-encoding`, in any case; the empty name is
    /// identity.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.trim();
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if name.is_empty() || is("identity") {
            Some(Self::Identity)
        } else if is("gzip") || is("x-gzip") {
            Some(Self::Gzip)
        } else if is("zstd") {
            Some(Self::Zstd)
        } else if is("deflate") || is("zlib") {
            Some(Self::Deflate)
        } else {
            None
        }
    }

    /// The name in `Content-Encoding` and `grpc-encoding`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
        }
    }
}

/// Decompresses a whole body of at most `limit` bytes. `reserve` hears of every step in which the
/// output is about to grow, in bytes; the steps add up to at least its final size. An identity body
/// is passed through without a reservation.
///
/// # Errors
/// [`Failure::TooLarge`] when the output would exceed the limit, [`Failure::Malformed`] when the
/// data is not what the encoding says, and whatever `reserve` refuses with.
pub fn decode(
    encoding: Encoding,
    compressed: Bytes,
    limit: usize,
    reserve: &mut dyn FnMut(usize) -> Result<(), Failure>,
) -> Result<Bytes, Failure> {
    let (declared, decompress): (_, Decompressor) = match encoding {
        Encoding::Identity if compressed.len() > limit => return Err(too_large(limit)),
        Encoding::Identity => return Ok(compressed),
        Encoding::Gzip => (deflate::declared_size(&compressed), deflate::decode_gzip),
        Encoding::Zstd => (zstandard::declared_size(&compressed), zstandard::decode),
        Encoding::Deflate => (None, deflate::decode_zlib),
    };
    let mut output = Output::new(compressed.len(), declared, limit, reserve)?;
    match decompress(&compressed, &mut output) {
        Ok(()) => Ok(output.finish()),
        Err(Stopped::Refused(failure)) => Err(failure),
        Err(Stopped::Corrupt(reason)) => Err(Failure::Malformed {
            message: format!("the body is not valid {}: {reason}", encoding.name()),
            field: None,
        }),
    }
}

/// Decompresses a whole input.
type Decompressor = fn(&[u8], &mut Output<'_>) -> Result<(), Stopped>;

fn too_large(limit: usize) -> Failure {
    Failure::TooLarge {
        limit_bytes: u64::try_from(limit).unwrap_or(u64::MAX),
    }
}

/// Why decompression did not go on.
enum Stopped {
    /// Over the limit, or no memory for it.
    Refused(Failure),
    /// The data is bad.
    Corrupt(&'static str),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

const ENDS_EARLY: Stopped = Stopped::Corrupt("it ends too early");

/// The bytes decompressed so far.
struct Output<'r> {
    bytes: Vec<u8>,
    limit: usize,
    reserve: &'r mut dyn FnMut(usize) -> Result<(), Failure>,
}

impl<'r> Output<'r> {
    fn new(
        compressed: usize,
        declared: Option<usize>,
        limit: usize,
        reserve: &'r mut dyn FnMut(usize) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let first = match declared {
            Some(size) => size.min(compressed.saturating_mul(DECLARED_RATIO_MAX)),
            None => compressed.saturating_mul(FIRST_STEP_RATIO),
        };
        let mut output = Self {
            bytes: Vec::new(),
            limit,
            reserve,
        };
        output.grow_to(first.max(FIRST_STEP_MIN))?;
        Ok(output)
    }

    /// Makes sure that there is room, doubling the output when there is none.
    fn make_room(&mut self) -> Result<(), Failure> {
        if self.has_room() {
            return Ok(());
        }
        self.grow_to(self.bytes.len().saturating_mul(2))
    }

    fn has_room(&self) -> bool {
        self.bytes.len() < self.bytes.capacity()
    }

    /// One byte over the limit is allowed for, to tell a body that fills it from one that is over.
    fn grow_to(&mut self, size: usize) -> Result<(), Failure> {
        let size = size.min(self.limit.saturating_add(1));
        let step = size.saturating_sub(self.bytes.capacity());
        (self.reserve)(step)?;
        self.bytes
            .try_reserve_exact(size.saturating_sub(self.bytes.len()))
            .map_err(|_| Failure::Overloaded {
                message: "out of memory for the request body".to_owned(),
                retry_after: Duration::from_secs(5),
            })
    }

    /// Checks the limit; to be called after every step.
    fn check(&self) -> Result<(), Failure> {
        if self.bytes.len() > self.limit {
            return Err(too_large(self.limit));
        }
        Ok(())
    }

    fn finish(mut self) -> Bytes {
        // Bodies may wait in the pipeline for a while; don't let them hold twice their size.
        if self.bytes.capacity() / 2 > self.bytes.len() {
            self.bytes.shrink_to_fit();
        }
        Bytes::from(self.bytes)
    }
}
