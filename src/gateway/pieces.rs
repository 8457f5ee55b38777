//! Long texts in pieces: what many clients are told is in memory once, however long it is and however
//! slowly each of them takes it.

use std::collections::VecDeque;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};

/// Bytes of a piece at most.
pub(super) const PIECE_MAX: usize = 256 << 10;

/// A text with what a protocol puts around it. The middle may be shared with others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text {
    head: Bytes,
    middle: Bytes,
    tail: &'static str,
}

impl Text {
    /// Of these parts.
    pub(super) fn new(head: impl Into<Bytes>, middle: Bytes, tail: &'static str) -> Self {
        Self {
            head: head.into(),
            middle,
            tail,
        }
    }

    /// Bytes of it.
    pub(super) fn len(&self) -> usize {
        self.head
            .len()
            .saturating_add(self.middle.len())
            .saturating_add(self.tail.len())
    }

    /// Adds it to a buffer.
    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_slice(&self.head);
        out.put_slice(&self.middle);
        out.put_slice(self.tail.as_bytes());
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::new(text, Bytes::new(), "")
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self::new(text, Bytes::new(), "")
    }
}

/// Texts cut into pieces: short ones together, long ones without a copy.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    parts: VecDeque<Bytes>,
    bytes: usize,
}

impl Pieces {
    /// Adds a text.
    pub(super) fn add(&mut self, text: Text) {
        self.bytes = self.bytes.saturating_add(text.len());
        let tail = Bytes::from_static(text.tail.as_bytes());
        let parts = [text.head, text.middle, tail].into_iter();
        self.parts.extend(parts.filter(|part| !part.is_empty()));
    }

    /// Bytes that are left.
    pub(super) const fn len(&self) -> usize {
        self.bytes
    }

    /// The next piece.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let piece = self.cut()?;
        self.bytes = self.bytes.saturating_sub(piece.len());
        Some(piece)
    }

    fn cut(&mut self) -> Option<Bytes> {
        let first = self.parts.front_mut()?;
        if first.len() > PIECE_MAX {
            return Some(first.split_to(PIECE_MAX));
        }
        let first = self.parts.pop_front()?;
        if first.len() == PIECE_MAX || self.parts.is_empty() {
            return Some(first);
        }
        let mut piece = BytesMut::from(first);
        while let Some(part) = self.parts.front_mut() {
            let room = PIECE_MAX.saturating_sub(piece.len());
            if part.len() > room {
                piece.put(part.split_to(room));
                break;
            }
            piece.put_slice(part);
            self.parts.pop_front();
        }
        Some(piece.freeze())
    }
}

/// What is told, as `say` says it, in pieces. One is made when it is asked for.
pub(super) fn told_in<T, E, S, F>(told: S, say: F) -> impl Stream<Item = Result<Bytes, E>>
where
    S: Stream<Item = Result<Vec<T>, E>>,
    F: FnMut(T) -> Text,
{
    let begun = (
        Box::pin(told),
        Vec::new().into_iter(),
        Pieces::default(),
        say,
    );
    stream::unfold(begun, |(mut told, mut said, mut pieces, mut say)| async {
        loop {
            while pieces.len() < PIECE_MAX
                && let Some(next) = said.next()
            {
                pieces.add(say(next));
            }
            if let Some(piece) = pieces.next() {
                return Some((Ok(piece), (told, said, pieces, say)));
            }
            match told.next().await? {
                Ok(more) => said = more.into_iter(),
                Err(error) => return Some((Err(error), (told, said, pieces, say))),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn text(length: usize) -> Text {
        let middle: Vec<u8> = (b'a'..=b'w').cycle().take(length).collect();
        Text::new(format!("<{length} "), middle.into(), ">")
    }

    // Scenario: texts of all lengths around that of a piece are told, in two batches.
    // Guarantees: the pieces are those texts, none too long, short ones together, and what is shared is
    // not copied.
    #[test]
    fn texts_come_whole_in_pieces() {
        let lengths = [
            0,
            5,
            PIECE_MAX,
            1,
            3 * PIECE_MAX,
            PIECE_MAX - 20,
            40,
            2 * PIECE_MAX + 1,
        ];
        let texts: Vec<Text> = lengths.into_iter().map(text).collect();
        let mut expected = BytesMut::new();
        texts.iter().for_each(|text| text.put(&mut expected));
        let long = texts[4].middle.clone();
        let (first, second) = texts.split_at(3);
        let batches = [first.to_vec(), Vec::new(), second.to_vec()];
        let batches = batches.map(Ok::<_, ()>);
        let told = told_in(stream::iter(batches), |text| text);
        let pieces: Vec<_> = told.collect().now_or_never().unwrap();
        let pieces: Vec<Bytes> = pieces.into_iter().map(Result::unwrap).collect();
        assert!(pieces.iter().all(|it| (1..=PIECE_MAX).contains(&it.len())));
        assert!(pieces.concat() == expected);
        assert!(pieces.len() <= expected.len() / PIECE_MAX + 4);
        let shared = long.as_ptr_range();
        assert!(pieces.iter().any(|it| shared.contains(&it.as_ptr())));
        let few = told_in(stream::iter([Ok::<_, ()>(vec![text(3), text(4)])]), |it| it);
        let few: Vec<_> = few.collect().now_or_never().unwrap();
        assert_eq!(few, [Ok(Bytes::from_static(b"<3 abc><4 abcd>"))]);
    }
}
