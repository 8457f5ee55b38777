//! The deflate family: gzip, zlib and raw.

use std::cell::Cell;

use flate2::{Decompress, FlushDecompress, Status};

use super::{ENDS_EARLY, Output, Stopped};

thread_local! {
    /// Kept because a fresh one costs more than a small body.
    static DECOMPRESS: Cell<Option<Decompress>> = const { Cell::new(None) };
}

// RFC 1952 §2.3.1.
const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// The size in the trailer of the last member.
pub(super) fn declared_size(gzip: &[u8]) -> Option<usize> {
    let size = gzip.last_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*size)).ok()
}

/// Decompresses members to the end of the input.
pub(super) fn decode_gzip(mut input: &[u8], output: &mut Output<'_>) -> Result<(), Stopped> {
    with_decompress(|decompress| {
        loop {
            let start = output.bytes.len();
            let body = after_header(input)?;
            decompress.reset(false);
            let rest = inflate(decompress, body, output)?;
            let (trailer, rest) = rest.split_first_chunk::<8>().ok_or(ENDS_EARLY)?;
            check_trailer(trailer, output.bytes.get(start..).unwrap_or_default())?;
            if rest.is_empty() {
                return Ok(());
            }
            input = rest;
        }
    })
}

/// Decompresses zlib or, if the input does not begin like it, raw deflate.
pub(super) fn decode_zlib(input: &[u8], output: &mut Output<'_>) -> Result<(), Stopped> {
    with_decompress(|decompress| {
        decompress.reset(has_zlib_header(input));
        if inflate(decompress, input, output)?.is_empty() {
            Ok(())
        } else {
            Err(Stopped::Corrupt("there is something after its end"))
        }
    })
}

fn with_decompress<T>(run: impl FnOnce(&mut Decompress) -> T) -> T {
    let mut decompress = DECOMPRESS.take().unwrap_or_else(|| Decompress::new(false));
    let result = run(&mut decompress);
    DECOMPRESS.set(Some(decompress));
    result
}

/// RFC 1950 §2.2: method 8, and a check sum over both bytes. A raw stream that begins like this
/// would be a stored block with padding that no encoder writes.
fn has_zlib_header(input: &[u8]) -> bool {
    input.first_chunk().is_some_and(|[method, flags]| {
        method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0
    })
}

/// Decompresses one stream and returns the input after it.
fn inflate<'i>(
    decompress: &mut Decompress,
    input: &'i [u8],
    output: &mut Output<'_>,
) -> Result<&'i [u8], Stopped> {
    let mut rest = input;
    loop {
        output.make_room()?;
        let (read, written) = (decompress.total_in(), decompress.total_out());
        let status = decompress
            .decompress_vec(rest, &mut output.bytes, FlushDecompress::None)
            .map_err(|_| Stopped::Corrupt("its data is corrupt"))?;
        output.check()?;
        let step = usize::try_from(decompress.total_in() - read).unwrap_or(usize::MAX);
        rest = rest.get(step..).unwrap_or_default();
        let is_stuck = step == 0 && decompress.total_out() == written;
        match status {
            Status::StreamEnd => return Ok(rest),
            Status::Ok | Status::BufError if is_stuck && output.has_room() => {
                return Err(ENDS_EARLY);
            }
            Status::Ok | Status::BufError => {}
        }
    }
}

/// Skips a member's header.
fn after_header(member: &[u8]) -> Result<&[u8], Stopped> {
    let (magic, rest) = member.split_first_chunk::<3>().ok_or(ENDS_EARLY)?;
    if *magic != GZIP_MAGIC {
        return Err(Stopped::Corrupt("it has no gzip header"));
    }
    // Flags, then time, extra flags and operating system, which say nothing about the data.
    let ([flags, ..], mut rest) = rest.split_first_chunk::<7>().ok_or(ENDS_EARLY)?;
    if flags & RESERVED != 0 {
        return Err(Stopped::Corrupt("its gzip header has unknown flags"));
    }
    if flags & EXTRA != 0 {
        let (length, after) = rest.split_first_chunk().ok_or(ENDS_EARLY)?;
        let length = usize::from(u16::from_le_bytes(*length));
        rest = after.get(length..).ok_or(ENDS_EARLY)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = memchr::memchr(0, rest).ok_or(ENDS_EARLY)?;
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }
    if flags & HEADER_CRC != 0 {
        rest = rest.get(2..).ok_or(ENDS_EARLY)?;
    }
    Ok(rest)
}

fn check_trailer(trailer: &[u8; 8], data: &[u8]) -> Result<(), Stopped> {
    let expected = u64::from_le_bytes(*trailer);
    let crc = u64::from(crc32fast::hash(data));
    // The size is modulo 2^32.
    let size = u64::try_from(data.len()).unwrap_or(u64::MAX) << 32;
    if expected == size | crc {
        Ok(())
    } else {
        Err(Stopped::Corrupt("its check sum is wrong"))
    }
}
