//! Lists of numbers, packed or one by one, read in place.

use crate::otlp::protobuf::wire::{Value, fields};

/// Numbers of eight bytes in a field of a message.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fixed64s<'a> {
    message: &'a [u8],
    number: u32,
    /// How many there are.
    pub(super) count: usize,
}

impl<'a> Fixed64s<'a> {
    pub(super) fn new(message: &'a [u8], number: u32) -> Self {
        Self {
            message,
            number,
            count: 0,
        }
    }

    /// Counts the numbers of one field.
    pub(super) fn add(&mut self, value: Value<'_>) {
        self.count += match value {
            Value::Fixed64(_) => 1,
            Value::Bytes(packed) => packed.len() / 8,
            _ => 0,
        };
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u64> + Clone + use<'a> {
        let number = self.number;
        let lists = fields(self.message).map_while(Result::ok);
        let lists = lists.filter(move |field| field.number == number);
        lists.flat_map(|field| {
            let (one, packed): (_, &[u8]) = match field.value {
                Value::Fixed64(value) => (Some(value), &[]),
                Value::Bytes(packed) => (None, packed),
                _ => (None, &[]),
            };
            let (words, _) = packed.as_chunks::<8>();
            let words = words.iter().map(|word| u64::from_le_bytes(*word));
            one.into_iter().chain(words)
        })
    }
}

/// Varints in a field of a message.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Varints<'a> {
    message: &'a [u8],
    number: u32,
}

impl<'a> Varints<'a> {
    pub(super) fn new(message: &'a [u8], number: u32) -> Self {
        Self { message, number }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u64> + Clone + use<'a> {
        let number = self.number;
        let lists = fields(self.message).map_while(Result::ok);
        let lists = lists.filter(move |field| field.number == number);
        lists.flat_map(|field| {
            let (one, packed): (_, &[u8]) = match field.value {
                Value::Varint(value) => (Some(value), &[]),
                Value::Bytes(packed) => (None, packed),
                _ => (None, &[]),
            };
            let mut packed = fields(packed);
            let more = std::iter::from_fn(move || {
                if packed.rest().is_empty() {
                    return None;
                }
                packed.varint().ok()
            });
            one.into_iter().chain(more)
        })
    }
}
