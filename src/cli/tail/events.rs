//! Reading server-sent events (WHATWG HTML §9.2). Pure.

/// Bytes of one event at most.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Event {
    /// Its name; empty where only the id moved on.
    pub(super) name: String,
    /// What came with it.
    pub(super) data: String,
}

/// What is not a stream of events.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {EVENT_BYTES_MAX} bytes")]
pub(super) struct TooLarge;

/// Reads events from bytes as they come.
#[derive(Debug, Default)]
pub(super) struct Reader {
    bytes: Vec<u8>,
    /// Up to where there is no end of a line.
    looked: usize,
    event: Event,
    /// The id that counts once its event is whole.
    next_id: Option<String>,
    last_id: Option<String>,
}

impl Reader {
    /// The id from which to go on.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Forgets what came of an event whose connection broke.
    pub(super) fn restart(&mut self) {
        *self = Self {
            last_id: self.last_id.take(),
            ..Self::default()
        };
    }

    /// Adds bytes; answers the events that are whole.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLarge> {
        self.bytes.extend_from_slice(bytes);
        let mut events = Vec::new();
        let mut taken = 0;
        while let Some(end) = self.line_end() {
            let line = self.bytes.get(taken..end).unwrap_or_default();
            let line = String::from_utf8_lossy(line).into_owned();
            taken = end + 1;
            self.line(line.trim_end_matches('\r'), &mut events);
        }
        self.bytes.drain(..taken);
        self.looked = self.bytes.len();
        if self.bytes.len() + self.event.data.len() > EVENT_BYTES_MAX {
            return Err(TooLarge);
        }
        Ok(events)
    }

    /// The end of the next line.
    fn line_end(&mut self) -> Option<usize> {
        let rest = self.bytes.get(self.looked..)?;
        let end = rest.iter().position(|byte| *byte == b'\n')? + self.looked;
        self.looked = end + 1;
        Some(end)
    }

    fn line(&mut self, line: &str, events: &mut Vec<Event>) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            self.last_id = self.next_id.take().or(self.last_id.take());
            if !event.data.is_empty() {
                events.push(event);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "id" if !value.contains('\0') => self.next_id = Some(value.to_owned()),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = "retry: 2000\nid: 1.2.3\n: following\n\nevent: span\nid: 1.2.4\n\
        data: {\"name\":\"Zürich\"}\n\nid: 1.2.5\n: alive\n\nevent: missed\r\ndata: a\r\ndata: b\r\n\r\n";

    fn event(name: &str, data: &str) -> Event {
        Event {
            name: name.to_owned(),
            data: data.to_owned(),
        }
    }

    proptest! {
        // Guarantees: events are the same however their bytes are cut.
        #[test]
        fn any_cuts_give_the_same_events(cuts in prop::collection::vec(0..STREAM.len(), 0..8)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let mut reader = Reader::default();
            let mut events = Vec::new();
            for cut in cuts.windows(2) {
                events.extend(reader.add(&STREAM.as_bytes()[cut[0]..cut[1]]).unwrap());
            }
            let expected = [event("span", "{\"name\":\"Zürich\"}"), event("missed", "a\nb")];
            prop_assert_eq!(events, expected);
            prop_assert_eq!(reader.last_id(), Some("1.2.5"));
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::default();
            prop_assert!(reader.add(&bytes).is_ok());
        }
    }

    // Scenario: the connection breaks after the id of an event, and within its data.
    // Guarantees: the id before it is the one to go on from; nothing of it mixes with what comes next.
    #[test]
    fn a_broken_event_is_forgotten() {
        for half in ["event: span\nid: 8\n", "event: span\nid: 8\ndata: {\"na"] {
            let mut reader = Reader::default();
            assert_eq!(reader.add(b"id: 7\ndata: a\n\n"), Ok(vec![event("", "a")]));
            assert_eq!(reader.add(half.as_bytes()), Ok(Vec::new()));
            reader.restart();
            assert_eq!(reader.last_id(), Some("7"));
            let next = reader.add(b"retry: 1\nid: 7\n\nevent: span\nid: 8\ndata: b\n\n");
            assert_eq!(next, Ok(vec![event("span", "b")]));
            assert_eq!(reader.last_id(), Some("8"));
        }
    }

    #[test]
    fn an_event_without_an_end_is_too_large() {
        let mut reader = Reader::default();
        let line = vec![b'x'; EVENT_BYTES_MAX / 2 + 1];
        assert_eq!(reader.add(&line), Ok(Vec::new()));
        assert_eq!(reader.add(&line), Err(TooLarge));
    }
}
