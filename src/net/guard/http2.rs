//! Follows the frames of an HTTP/2 connection by their headers alone, for what h2 has no limit for:
//! pings, and header blocks so large that answering them is not worth it.
//!
//! The rules for pings are those of gRPC servers everywhere, so that a client that gets along with
//! one of them gets along with this one (gRPC proposal A8, "Client-side Keepalive"): a ping is out
//! of turn when it follows the last one too soon, and more than [`STRIKES_MAX`] of those without an
//! answer from here in between end the connection.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Version};
use tokio::time::Instant;

use crate::net::activity::Activity;

/// Length of what a client sends first.
const PREFACE_BYTES: usize = 24;
/// Length, kind, flags and stream of a frame (RFC 9113 §4.1).
const HEAD_BYTES: usize = 9;

const HEADERS: u8 = 1;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Pings out of turn that are forgiven.
const STRIKES_MAX: u8 = 2;
/// Least time between pings of a connection without a request, where those are not permitted.
const IDLE_PING_MIN: Duration = Duration::from_secs(2 * 60 * 60);

/// How often a client may ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PingPolicy {
    /// Least time between pings.
    pub min_time: Duration,
    /// Whether that holds without a request, too; otherwise two hours must lie between them.
    pub permit_without_stream: bool,
}

/// Why a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abuse {
    TooManyPings,
    HeadersTooLarge,
}

impl Abuse {
    /// What the client is told. Clients of gRPC look for the first by its text, and ping less.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::TooManyPings => "too_many_pings",
            Self::HeadersTooLarge => "header list too large",
        }
    }
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) struct Rules {
    /// Bytes of one header block, as they are on the wire.
    pub(in crate::net) header_block_max: usize,
    pub(in crate::net) pings: Option<PingPolicy>,
}

/// Both directions of a connection.
#[derive(Debug)]
pub(super) struct Frames {
    rules: Rules,
    activity: Arc<Activity>,
    incoming: Cursor,
    outgoing: Cursor,
    has_sent: bool,
    /// Bytes of the header block being read.
    header_block: usize,
    last_stream: u32,
    /// A request began since the last ping.
    begun: bool,
    last_ping: Option<Instant>,
    strikes: u8,
}

impl Frames {
    pub(super) fn new(rules: Rules, activity: Arc<Activity>) -> Self {
        Self {
            rules,
            activity,
            incoming: Cursor::after(PREFACE_BYTES),
            outgoing: Cursor::after(0),
            has_sent: false,
            header_block: 0,
            last_stream: 0,
            begun: false,
            last_ping: None,
            strikes: 0,
        }
    }

    /// Looks at bytes from the client.
    pub(super) fn received(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Abuse> {
        while let Some(head) = self.incoming.next_head(&mut bytes) {
            match head.kind {
                HEADERS => {
                    self.last_stream = self.last_stream.max(head.stream);
                    self.begun = true;
                    self.header_block = 0;
                    self.add_headers(head.length)?;
                }
                CONTINUATION => self.add_headers(head.length)?,
                PING if head.flags & ACK == 0 => self.ping(now)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn add_headers(&mut self, length: usize) -> Result<(), Abuse> {
        self.header_block = self.header_block.saturating_add(length);
        if self.header_block > self.rules.header_block_max {
            return Err(Abuse::HeadersTooLarge);
        }
        Ok(())
    }

    fn ping(&mut self, now: Instant) -> Result<(), Abuse> {
        let Some(policy) = self.rules.pings else {
            return Ok(());
        };
        let last = self.last_ping.replace(now);
        let begun = std::mem::take(&mut self.begun);
        if self.activity.take_answered() {
            self.strikes = 0;
            return Ok(());
        }
        let is_idle = !begun && self.activity.idle_since().is_some();
        let min_time = if is_idle && !policy.permit_without_stream {
            IDLE_PING_MIN
        } else {
            policy.min_time
        };
        if last.is_some_and(|last| now.duration_since(last) < min_time) {
            self.strikes += 1;
        }
        if self.strikes > STRIKES_MAX {
            return Err(Abuse::TooManyPings);
        }
        Ok(())
    }

    /// Looks at bytes that were sent to the client.
    pub(super) fn sent(&mut self, mut bytes: &[u8]) {
        self.has_sent |= !bytes.is_empty();
        while self.outgoing.next_head(&mut bytes).is_some() {}
    }

    /// Bytes until the frame being sent ends, as far as that is known; zero between two frames. A
    /// connection begins with one, whatever happens.
    pub(super) fn left_to_send(&self) -> usize {
        if self.has_sent {
            self.outgoing.left()
        } else {
            HEAD_BYTES
        }
    }

    /// The frame that ends the connection.
    pub(super) fn goaway(&self, abuse: Abuse) -> Vec<u8> {
        let text = abuse.text().as_bytes();
        let length = u8::try_from(8 + text.len()).unwrap_or(u8::MAX);
        let mut frame = vec![0, 0, length, GOAWAY, 0, 0, 0, 0, 0];
        frame.extend_from_slice(&self.last_stream.to_be_bytes());
        frame.extend_from_slice(&ENHANCE_YOUR_CALM.to_be_bytes());
        frame.extend_from_slice(text);
        frame
    }
}

/// The head of a frame, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

/// A place in a sequence of frames, of which only the heads are looked at.
#[derive(Debug)]
struct Cursor {
    /// Bytes to pass over before the next head.
    skip: usize,
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that have come.
    have: usize,
}

impl Cursor {
    fn after(skip: usize) -> Self {
        Self {
            skip,
            head: [0; HEAD_BYTES],
            have: 0,
        }
    }

    /// Bytes to the end of the payload, or of the head.
    fn left(&self) -> usize {
        match self.have {
            0 => self.skip,
            have => HEAD_BYTES - have,
        }
    }

    /// Moves on to the end of the next head; `None` when all bytes are used up before.
    #[inline]
    fn next_head(&mut self, bytes: &mut &[u8]) -> Option<Head> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        let rest = bytes.get(skipped..).unwrap_or_default();
        let wanted = self.head.get_mut(self.have..).unwrap_or_default();
        let count = wanted.len().min(rest.len());
        let (taken, rest) = rest.split_at_checked(count).unwrap_or_default();
        for (place, byte) in wanted.iter_mut().zip(taken) {
            *place = *byte;
        }
        *bytes = rest;
        self.have += count;
        if self.have < HEAD_BYTES {
            return None;
        }
        self.have = 0;
        let [a, b, c, kind, flags, d, e, f, g] = self.head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.skip = length;
        Some(Head {
            length,
            kind,
            flags,
            // The highest bit is reserved.
            stream: u32::from_be_bytes([d & 0x7f, e, f, g]),
        })
    }
}

/// Size of the header list of an HTTP/2 request as the protocol counts it (RFC 9113 §6.5.2); zero
/// for HTTP/1, whose heads the guard has measured.
pub(in crate::net) fn header_list_bytes<B>(request: &Request<B>) -> u64 {
    const PER_FIELD: usize = 32;
    const PSEUDO_FIELDS: usize = ":method:scheme:authority:path".len() + 4 * PER_FIELD;
    if request.version() != Version::HTTP_2 {
        return 0;
    }
    let uri = request.uri();
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let authority = uri.authority().map_or(0, |it| it.as_str().len());
    let scheme = uri.scheme_str().map_or(0, str::len);
    let pseudo = PSEUDO_FIELDS + request.method().as_str().len() + path + authority + scheme;
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + PER_FIELD);
    fields.fold(pseudo, usize::saturating_add) as u64
}

#[cfg(test)]
mod tests;
