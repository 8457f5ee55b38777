//! Changes parts of an encoded message while it is walked, in one buffer that is begun at the first
//! change: what stays is copied as it is, and the lengths of the messages around a change are put
//! right when their end is reached.

use std::ops::Range;

use super::rewrite::put_varint;
use crate::otlp::Failure;

/// What a changed message may be longer than the multiple of its size; what is longer is refused.
const GROWTH_MIN: usize = 64 << 10;

/// Asked for the bytes that are about to be held.
pub(super) type Reserve<'r> = &'r mut dyn FnMut(usize) -> Result<(), Failure>;

/// A message being changed.
pub(super) struct Editor<'i, 'r> {
    input: &'i [u8],
    /// Input up to here is in `out`, or was left out.
    taken: usize,
    out: Vec<u8>,
    /// Changes made.
    changes: u64,
    bytes_max: usize,
    reserve: Reserve<'r>,
    failure: Option<Failure>,
}

/// Where a field of the input lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) number: u32,
    /// Its tag.
    pub(super) start: usize,
    /// Its content, behind the length.
    pub(super) content: usize,
    pub(super) end: usize,
}

/// The header of a field that is walked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// Where it is in the output, once it is written.
    at: usize,
    changes: u64,
}

impl<'i, 'r> Editor<'i, 'r> {
    /// For changes that make a message at most twice as large.
    pub(super) fn new(input: &'i [u8], reserve: Reserve<'r>) -> Self {
        Self::growing(input, 2, reserve)
    }

    /// For changes that make a message at most this many times as large.
    pub(super) fn growing(input: &'i [u8], times: usize, reserve: Reserve<'r>) -> Self {
        Self {
            input,
            taken: 0,
            out: Vec::new(),
            changes: 0,
            bytes_max: input.len().saturating_mul(times).saturating_add(GROWTH_MIN),
            reserve,
            failure: None,
        }
    }

    pub(super) fn input(&self) -> &'i [u8] {
        self.input
    }

    /// Whether it is of no use to go on.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Puts other bytes in the place of some of the input, which lie behind all changes so far.
    pub(super) fn replace(&mut self, range: Range<usize>, with: &[u8]) {
        self.copy_until(range.start);
        self.append(with);
        self.taken = self.taken.max(range.end);
        self.changes += 1;
    }

    /// Notes the header of a field before its content is walked.
    pub(super) fn open(&self, part: Part) -> Mark {
        Mark {
            at: self.out.len() + part.start.saturating_sub(self.taken),
            changes: self.changes,
        }
    }

    /// Puts the length of a field right if its content was changed.
    pub(super) fn close(&mut self, mark: Mark, part: Part) {
        if mark.changes == self.changes || self.has_failed() {
            return;
        }
        self.copy_until(part.end);
        let content_at = mark.at + (part.content - part.start);
        let length = self.out.len().saturating_sub(content_at);
        let mut header = Vec::with_capacity(8);
        put_varint(&mut header, u64::from(part.number << 3 | 2));
        put_varint(&mut header, length as u64);
        match self.make_room(header.len()) {
            // Moves what follows only if the length takes more or fewer bytes than before.
            Ok(()) => drop(self.out.splice(mark.at..content_at, header)),
            Err(failure) => self.fail(failure),
        }
    }

    /// The changed message; `None` when nothing was changed.
    ///
    /// # Errors
    /// What the reservation said; [`Failure::TooLarge`] when the message became larger than it may.
    pub(super) fn finish(mut self) -> Result<Option<Vec<u8>>, Failure> {
        if self.changes > 0 {
            self.copy_until(self.input.len());
        }
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok((self.changes > 0).then_some(self.out)),
        }
    }

    fn copy_until(&mut self, end: usize) {
        let input = self.input;
        if let Some(kept) = input.get(self.taken..end) {
            self.append(kept);
            self.taken = end;
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.has_failed() {
            return;
        }
        match self.make_room(bytes.len()) {
            Ok(()) => self.out.extend_from_slice(bytes),
            Err(failure) => self.fail(failure),
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.failure = Some(failure);
        self.out = Vec::new();
    }

    /// Grows to the size of the input, which nearly always suffices, and then by doubling up to the
    /// most it may become.
    fn make_room(&mut self, more: usize) -> Result<(), Failure> {
        let needed = self.out.len() + more;
        if needed <= self.out.capacity() {
            return Ok(());
        }
        if needed > self.bytes_max {
            let limit_bytes = self.bytes_max as u64;
            return Err(Failure::TooLarge { limit_bytes });
        }
        let usual = self.input.len() + self.input.len() / 8;
        let capacity = if needed <= usual {
            usual
        } else {
            needed.saturating_mul(2).min(self.bytes_max)
        };
        (self.reserve)(capacity - self.out.capacity())?;
        self.out.reserve_exact(capacity - self.out.len());
        Ok(())
    }
}

/// One text of the message, which may be changed from front to back.
pub struct TextEdits<'e, 'i, 'r> {
    editor: &'e mut Editor<'i, 'r>,
    base: usize,
}

impl<'e, 'i, 'r> TextEdits<'e, 'i, 'r> {
    pub(super) fn new(editor: &'e mut Editor<'i, 'r>, base: usize) -> Self {
        Self { editor, base }
    }

    /// Puts other bytes in the place of some of the text, which lie behind all changes so far.
    pub fn replace(&mut self, range: Range<usize>, with: &[u8]) {
        let range = self.base + range.start..self.base + range.end;
        self.editor.replace(range, with);
    }
}
