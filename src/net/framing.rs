//! Where an HTTP/1 message begins and ends, decided strictly.
//!
//! hyper repairs some ambiguous requests in silence (a `Content-Length` beside a
//! `Transfer-Encoding` is dropped). A proxy in front may decide differently, and the two then
//! disagree about where the next request starts: request smuggling. What is ambiguous here is
//! refused and its connection closed (RFC 9112 §6.1, §6.3).

/// Largest length of a body; hyper has a use of its own for what is above.
const LENGTH_MAX: u64 = u64::MAX - 2;

/// How the body after a head is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyLength {
    /// This many bytes; zero for a request without a body.
    Known(u64),
    /// Chunks.
    Chunked,
}

/// Index just past the empty line that ends a head; `None` while it has not arrived.
pub(super) fn head_end(bytes: &[u8], searched: usize) -> Option<usize> {
    // The line feed may be the first of the new bytes, with what it ends before it.
    let from = searched.saturating_sub(3);
    let mut position = from;
    for newline in memchr::memchr_iter(b'\n', bytes.get(from..)?) {
        let at = from + newline;
        let line = bytes.get(position..at)?;
        let is_empty = line.is_empty() || line == b"\r";
        let follows_a_line = position > 0 && bytes.get(position - 1) == Some(&b'\n');
        if is_empty && follows_a_line {
            return Some(at + 1);
        }
        position = at + 1;
    }
    None
}

/// Bytes of empty lines before a request line, which a server skips (RFC 9112 §2.2).
pub(super) fn leading_empty_lines(bytes: &[u8]) -> usize {
    let end = bytes.iter().position(|byte| !b"\r\n".contains(byte));
    end.unwrap_or(bytes.len())
}

/// Checks a whole head, its final empty line included.
///
/// # Errors
/// What is ambiguous, for the developer of the client.
pub(super) fn check_head(head: &[u8]) -> Result<BodyLength, &'static str> {
    let mut lines = head.split(|byte| *byte == b'\n').map(strip_return);
    let request_line = lines.next().unwrap_or_default();
    if request_line.contains(&b'\r') {
        return Err("a carriage return without a line feed in the request line");
    }
    let mut length: Option<u64> = None;
    let mut chunked = false;
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = split_header(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            let given = parse_length(value)?;
            if length.is_some_and(|earlier| earlier != given) {
                return Err("two different Content-Length headers");
            }
            length = Some(given);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err("Transfer-Encoding may only be \"chunked\"");
            }
            chunked = true;
        }
    }
    match (chunked, length) {
        (true, Some(_)) => Err("both Content-Length and Transfer-Encoding"),
        (true, None) if request_line.ends_with(b"HTTP/1.0") => {
            Err("Transfer-Encoding in an HTTP/1.0 request")
        }
        (true, None) => Ok(BodyLength::Chunked),
        (false, length) => Ok(BodyLength::Known(length.unwrap_or(0))),
    }
}

fn strip_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn split_header(line: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return Err("a header continued on a second line");
    }
    if line.contains(&b'\r') {
        return Err("a carriage return without a line feed in a header");
    }
    let colon = memchr::memchr(b':', line).ok_or("a header line without a colon")?;
    let (name, value) = line.split_at_checked(colon).unwrap_or_default();
    if name.is_empty() || name.ends_with(b" ") || name.ends_with(b"\t") {
        return Err("a malformed header name");
    }
    let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
    Ok((name, value))
}

fn parse_length(value: &[u8]) -> Result<u64, &'static str> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| is_number);
    text.and_then(|digits| digits.parse().ok())
        .filter(|length| *length <= LENGTH_MAX)
        .ok_or("an invalid Content-Length")
}

/// Follows a chunked body to its end, without keeping any of it.
#[derive(Debug, Clone, Default)]
pub(super) struct ChunkScanner {
    state: ChunkState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
    Size { size: u64, digits: u8 },
    Extension { size: u64, length: u16 },
    SizeEnd { size: u64 },
    Data { remaining: u64 },
    DataReturn,
    DataEnd,
    Trailer { line: u16, total: u16 },
    TrailerEnd { line: u16, total: u16 },
}

impl Default for ChunkState {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

/// Bytes of one chunk extension, or of all trailers, at most.
const CHUNK_EXTRA_MAX: u16 = 16 << 10;

impl ChunkScanner {
    /// Follows the body through `bytes`. `Some(n)`: the body ends after `n` of them.
    ///
    /// # Errors
    /// The bytes are not a chunked body.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, &'static str> {
        let mut rest = bytes;
        while let Some((byte, tail)) = rest.split_first() {
            if let ChunkState::Data { remaining } = self.state {
                let here = usize::try_from(remaining).unwrap_or(usize::MAX);
                let taken = here.min(rest.len());
                rest = rest.get(taken..).unwrap_or_default();
                let left = remaining.saturating_sub(taken as u64);
                self.state = if left == 0 {
                    ChunkState::DataReturn
                } else {
                    ChunkState::Data { remaining: left }
                };
                continue;
            }
            rest = tail;
            match self.step(*byte)? {
                Some(next) => self.state = next,
                None => return Ok(Some(bytes.len() - rest.len())),
            }
        }
        Ok(None)
    }

    /// The state after one byte outside chunk data; `None` at the end of the body.
    fn step(&self, byte: u8) -> Result<Option<ChunkState>, &'static str> {
        use ChunkState as S;
        const BAD: &str = "a malformed chunked body";
        let next = match (self.state, byte) {
            (S::Size { size, digits }, byte) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                if digits >= 15 {
                    return Err("a chunk size too large to be meant");
                }
                S::Size {
                    size: size << 4 | digit,
                    digits: digits + 1,
                }
            }
            (S::Size { digits: 0, .. }, _) => return Err(BAD),
            (S::Size { size, .. } | S::Extension { size, .. }, b'\r') => S::SizeEnd { size },
            (S::Size { size, .. }, b';' | b' ' | b'\t') => S::Extension { size, length: 0 },
            (S::Extension { size, length }, byte) if byte != b'\n' && length < CHUNK_EXTRA_MAX => {
                S::Extension {
                    size,
                    length: length + 1,
                }
            }
            (S::SizeEnd { size: 0 }, b'\n') => S::Trailer { line: 0, total: 0 },
            (S::SizeEnd { size }, b'\n') => S::Data { remaining: size },
            (S::DataReturn, b'\r') => S::DataEnd,
            (S::DataEnd, b'\n') => S::default(),
            (S::Trailer { line, total }, b'\r') => S::TrailerEnd { line, total },
            (S::Trailer { line, total }, byte) if byte != b'\n' && total < CHUNK_EXTRA_MAX => {
                S::Trailer {
                    line: line + 1,
                    total: total + 1,
                }
            }
            (S::TrailerEnd { line: 0, .. }, b'\n') => return Ok(None),
            (S::TrailerEnd { total, .. }, b'\n') => S::Trailer { line: 0, total },
            _ => return Err(BAD),
        };
        Ok(Some(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str) -> Result<BodyLength, &'static str> {
        check_head(text.as_bytes())
    }

    #[test]
    fn clear_heads_say_how_long_the_body_is() {
        let known = |text| check(text).unwrap();
        assert_eq!(known("GET / HTTP/1.1\r\n\r\n"), BodyLength::Known(0));
        assert_eq!(
            known("POST / HTTP/1.1\r\ncontent-length: 12\r\nContent-Length: 12\r\n\r\n"),
            BodyLength::Known(12)
        );
        assert_eq!(
            known("POST / HTTP/1.1\nTransfer-Encoding: Chunked\n\n"),
            BodyLength::Chunked
        );
    }

    #[test]
    fn ambiguous_heads_are_refused() {
        for headers in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 1",
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 1, 1",
            "Content-Length: +1",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Content-Length: 18446744073709551614",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Content-Length : 1",
            "A: b\r\n c",
            "A: b\rc",
            "no colon",
            ": empty",
        ] {
            let head = format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n");
            assert!(check(&head).is_err(), "{head:?}");
        }
        assert!(check("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(check("POST /\rX HTTP/1.1\r\n\r\n").is_err());
    }

    proptest! {
        // Scenario: a head arrives cut in two at any place.
        // Guarantees: its end is found at the same place however the bytes arrive.
        #[test]
        fn the_end_of_a_head_is_found_across_reads(cut in 0_usize..40, bare in any::<bool>()) {
            let newline = if bare { "\n" } else { "\r\n" };
            let head = format!("POST /x HTTP/1.1{newline}a: b{newline}{newline}");
            let bytes = format!("{head}BODY\n\nBODY");
            let cut = cut.min(head.len());
            let first = head_end(&bytes.as_bytes()[..cut], 0);
            if let Some(end) = first {
                prop_assert_eq!(end, head.len());
            } else {
                prop_assert_eq!(head_end(bytes.as_bytes(), cut), Some(head.len()));
            }
        }

        // Scenario: a chunked body arrives in pieces, with another request right behind it.
        // Guarantees: its end is found exactly, however it was cut.
        #[test]
        fn the_end_of_a_chunked_body_is_found_across_reads(
            chunks in proptest::collection::vec(1_usize..300, 0..5),
            step in 1_usize..64,
            trailer in any::<bool>(),
        ) {
            let mut body = Vec::new();
            for size in chunks {
                body.extend_from_slice(format!("{size:X};ext=1\r\n").as_bytes());
                body.extend(std::iter::repeat_n(b'\n', size));
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n");
            if trailer {
                body.extend_from_slice(b"a: b\r\n");
            }
            body.extend_from_slice(b"\r\n");
            let end = body.len();
            body.extend_from_slice(b"POST / HTTP/1.1\r\n");
            let mut scanner = ChunkScanner::default();
            let mut passed = 0;
            let mut found = None;
            for piece in body.chunks(step) {
                if let Some(inside) = scanner.advance(piece).unwrap() {
                    found = Some(passed + inside);
                    break;
                }
                passed += piece.len();
            }
            prop_assert_eq!(found, Some(end));
        }
    }

    #[test]
    fn broken_chunks_are_refused() {
        for body in [
            "\r\n",
            "x\r\n",
            "5\n",
            "1\r\nabc",
            "1\r\na\n",
            "FFFFFFFFFFFFFFFFF\r\n",
            "0\r\na: b\n",
        ] {
            let outcome = ChunkScanner::default().advance(body.as_bytes());
            assert!(outcome.is_err(), "{body:?}: {outcome:?}");
        }
    }
}
