//! The protobuf wire format: tags, varints, lengths and groups.

use super::error::{DecodeError, Fault};

/// Deepest nesting of messages, the same as prost's.
pub const RECURSION_LIMIT: u32 = 100;

/// Reads the fields of one encoded message in order.
///
/// As an [`Iterator`] it ends after the first error.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Levels that may still be entered from here.
    depth: u32,
}

/// One field as it is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Field number.
    pub number: u32,
    /// Its value.
    pub value: Value<'a>,
}

/// A value by wire type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2: a string, bytes or a message.
    Bytes(&'a [u8]),
    /// Wire types 3 and 4: a group. No OTLP message has one, so it is only skipped.
    Group,
    /// Wire type 5.
    Fixed32(u32),
}

/// Reads the fields of an encoded message.
#[must_use]
pub fn fields(bytes: &[u8]) -> Reader<'_> {
    Reader {
        rest: bytes,
        depth: RECURSION_LIMIT,
    }
}

impl<'a> Reader<'a> {
    /// The bytes that were not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads one field.
    ///
    /// # Errors
    /// The bytes are not a field.
    #[inline]
    pub fn next_field(&mut self) -> Result<Option<Field<'a>>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = self.tag()?;
        let value = self.value(number, wire_type)?;
        Ok(Some(Field { number, value }))
    }

    #[inline]
    fn value(&mut self, number: u32, wire_type: u32) -> Result<Value<'a>, DecodeError> {
        Ok(match wire_type {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => Value::Bytes(self.length_delimited()?),
            3 => {
                self.skip_group(number, self.depth)?;
                Value::Group
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(DecodeError::new(Fault::Group)),
        })
    }

    /// Reads a field's key, number and wire type in one, for a reader that knows what to expect
    /// behind it: one comparison instead of two. [`Reader::other`] takes all other keys.
    #[inline]
    pub(super) fn next_key(&mut self) -> Result<Option<u32>, DecodeError> {
        match self.rest.split_first() {
            None => Ok(None),
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(Some(u32::from(byte)))
            }
            Some(_) => {
                let (number, wire_type) = self.tag()?;
                Ok(Some(number << 3 | wire_type))
            }
        }
    }

    /// Takes a field whose key is not one that the message defines: passes over it if its number
    /// is unknown. `known` are the names of the message's fields by number, empty where none is.
    ///
    /// # Errors
    /// A known field has the wrong wire type, or the bytes are not a field. At the deepest level
    /// prost does not accept unknown fields, so neither does this.
    #[inline(never)]
    pub(super) fn other(
        &mut self,
        key: u32,
        known: &'static [&'static str],
    ) -> Result<(), DecodeError> {
        let (number, wire_type) = check_tag(key)?;
        let name = usize::try_from(number).ok().and_then(|it| known.get(it));
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            return Err(wrong_wire_type(name));
        }
        if self.depth == 0 {
            return Err(DecodeError::new(Fault::Depth));
        }
        self.value(number, wire_type).map(drop)
    }

    /// Reads a message with `read`, which gets a reader one level deeper. Errors are located in
    /// the field of this `name`.
    #[inline]
    pub(super) fn message<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let rest = self.bytes(name)?;
        let Some(depth) = self.depth.checked_sub(1) else {
            return Err(DecodeError::new(Fault::Depth).within(name));
        };
        read(Self { rest, depth }).map_err(|error| error.within(name))
    }

    #[inline]
    pub(super) fn bytes(&mut self, name: &'static str) -> Result<&'a [u8], DecodeError> {
        self.length_delimited().map_err(|error| error.within(name))
    }

    /// Passes over a string after checking that it is UTF-8.
    #[inline]
    pub(super) fn skip_text(&mut self, name: &'static str) -> Result<(), DecodeError> {
        self.text_length(name).map(drop)
    }

    /// As [`Reader::skip_text`]; tells the bytes it has.
    #[inline]
    pub(super) fn text_length(&mut self, name: &'static str) -> Result<usize, DecodeError> {
        let bytes = self.bytes(name)?;
        if is_ascii(bytes) || std::str::from_utf8(bytes).is_ok() {
            return Ok(bytes.len());
        }
        Err(DecodeError::new(Fault::Utf8).within(name))
    }

    #[inline]
    pub(super) fn skip_varint(&mut self, name: &'static str) -> Result<(), DecodeError> {
        self.varint().map(drop).map_err(|error| error.within(name))
    }

    #[inline]
    pub(super) fn skip_fixed<const LENGTH: usize>(
        &mut self,
        name: &'static str,
    ) -> Result<(), DecodeError> {
        self.array::<LENGTH>()
            .map(drop)
            .map_err(|error| error.within(name))
    }

    /// Passes over packed numbers of eight bytes each.
    #[inline]
    pub(super) fn skip_packed_fixed64(&mut self, name: &'static str) -> Result<(), DecodeError> {
        if self.bytes(name)?.len().is_multiple_of(8) {
            return Ok(());
        }
        Err(DecodeError::new(Fault::Truncated).within(name))
    }

    #[inline]
    fn tag(&mut self) -> Result<(u32, u32), DecodeError> {
        let key = self.varint()?;
        check_tag(u32::try_from(key).map_err(|_| DecodeError::new(Fault::Tag))?)
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, DecodeError> {
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (index * 7);
            if byte < 0x80 {
                // The tenth byte has room for one bit only.
                if index == 9 && byte > 1 {
                    return Err(DecodeError::new(Fault::Varint));
                }
                self.rest = self.rest.get(index + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(DecodeError::new(if self.rest.len() < 10 {
            Fault::Truncated
        } else {
            Fault::Varint
        }))
    }

    #[inline]
    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], DecodeError> {
        let (array, rest) = self
            .rest
            .split_first_chunk::<LENGTH>()
            .ok_or_else(|| DecodeError::new(Fault::Truncated))?;
        self.rest = rest;
        Ok(*array)
    }

    #[inline]
    fn length_delimited(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        let (bytes, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| DecodeError::new(Fault::Truncated))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Skips to the end of group `number`; recursion is bounded by `depth`.
    fn skip_group(&mut self, number: u32, depth: u32) -> Result<(), DecodeError> {
        let Some(inner_depth) = depth.checked_sub(1) else {
            return Err(DecodeError::new(Fault::Depth));
        };
        loop {
            let (inner, wire_type) = self.tag()?;
            if wire_type == 4 {
                if inner == number {
                    return Ok(());
                }
                return Err(DecodeError::new(Fault::Group));
            }
            if inner_depth == 0 {
                return Err(DecodeError::new(Fault::Depth));
            }
            match wire_type {
                0 => _ = self.varint()?,
                1 => _ = self.array::<8>()?,
                2 => _ = self.length_delimited()?,
                3 => self.skip_group(inner, inner_depth)?,
                _ => _ = self.array::<4>()?,
            }
        }
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Field<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let item = self.next_field().transpose();
        if matches!(item, Some(Err(_))) {
            self.rest = &[];
        }
        item
    }
}

impl<'a> Field<'a> {
    #[inline]
    pub(super) fn bytes(&self, name: &'static str) -> Result<&'a [u8], DecodeError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(wrong_wire_type(name)),
        }
    }

    #[inline]
    pub(super) fn text(&self, name: &'static str) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes(name)?)
            .map_err(|_| DecodeError::new(Fault::Utf8).within(name))
    }

    #[inline]
    pub(super) fn varint(&self, name: &'static str) -> Result<u64, DecodeError> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(wrong_wire_type(name)),
        }
    }

    /// A 32-bit varint: the high half is ignored, as the protobuf encoding guide says.
    #[inline]
    pub(super) fn uint32(&self, name: &'static str) -> Result<u32, DecodeError> {
        let [a, b, c, d, ..] = self.varint(name)?.to_le_bytes();
        Ok(u32::from_le_bytes([a, b, c, d]))
    }

    #[inline]
    pub(super) fn int32(&self, name: &'static str) -> Result<i32, DecodeError> {
        self.uint32(name).map(u32::cast_signed)
    }

    #[inline]
    pub(super) fn fixed64(&self, name: &'static str) -> Result<u64, DecodeError> {
        match self.value {
            Value::Fixed64(value) => Ok(value),
            _ => Err(wrong_wire_type(name)),
        }
    }

    #[inline]
    pub(super) fn fixed32(&self, name: &'static str) -> Result<u32, DecodeError> {
        match self.value {
            Value::Fixed32(value) => Ok(value),
            _ => Err(wrong_wire_type(name)),
        }
    }
}

/// Splits a key into number and wire type.
#[inline]
fn check_tag(key: u32) -> Result<(u32, u32), DecodeError> {
    let (number, wire_type) = (key >> 3, key & 7);
    if number == 0 || wire_type > 5 {
        return Err(DecodeError::new(Fault::Tag));
    }
    Ok((number, wire_type))
}

/// Attribute keys and values are short, and for those the standard library goes byte by byte; a
/// word at a time, the last one overlapping, costs a fraction.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes.iter().fold(0, |all, byte| all | byte) < 0x80;
    };
    let (words, _) = bytes.as_chunks::<8>();
    let all = words.iter().fold(u64::from_ne_bytes(*last), |all, word| {
        all | u64::from_ne_bytes(*word)
    });
    all & HIGH_BITS == 0
}

#[cold]
fn wrong_wire_type(name: &'static str) -> DecodeError {
    DecodeError::new(Fault::WireType).within(name)
}
