//! serde's view of the tree.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::Error;
use super::{UnknownKey, UnknownKeys};
use crate::config::tree::{Entry, Node, Path, Scalar, ScalarKind, Step, Value};

/// Deserializes one value of the tree.
pub(super) struct NodeDeserializer<'tree> {
    node: &'tree Node,
    path: Path,
    unknown_keys: &'tree UnknownKeys,
}

impl<'tree> NodeDeserializer<'tree> {
    pub(super) fn new(node: &'tree Node, path: Path, unknown_keys: &'tree UnknownKeys) -> Self {
        Self {
            node,
            path,
            unknown_keys,
        }
    }

    /// Deserializes a map whose keys are `known`, or any when there are none to compare with.
    fn map<'de, V: Visitor<'de>>(
        self,
        entries: &'tree [Entry],
        known: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let access = Entries {
            entries: entries.iter(),
            value: None,
            known,
            path: self.path.clone(),
            unknown_keys: self.unknown_keys,
        };
        visitor
            .visit_map(access)
            .map_err(|error| error.located(&self.path))
    }

    fn any<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Null => Err(Error::no_value()),
            Value::Scalar(scalar) => scalar.visit(visitor),
            Value::Sequence(items) => {
                let access = Items {
                    items: items.iter().enumerate(),
                    path: self.path,
                    unknown_keys: self.unknown_keys,
                };
                visitor.visit_seq(access)
            }
            Value::Mapping(entries) => self.map(entries, None, visitor),
        }
    }

    /// Deserializes text: numbers are taken as they were written.
    fn text<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Scalar(scalar) if !matches!(scalar.kind, ScalarKind::Bool(_)) => {
                visitor.visit_str(&scalar.text)
            }
            _ => self.any(visitor),
        }
    }
}

impl Scalar {
    fn visit<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Error> {
        match self.kind {
            ScalarKind::Bool(flag) => visitor.visit_bool(flag),
            ScalarKind::Float(number) => visitor.visit_f64(number),
            ScalarKind::Text => visitor.visit_str(&self.text),
            ScalarKind::Integer(number) => {
                if let Ok(number) = u64::try_from(number) {
                    visitor.visit_u64(number)
                } else if let Ok(number) = i64::try_from(number) {
                    visitor.visit_i64(number)
                } else {
                    visitor.visit_i128(number)
                }
            }
        }
    }
}

impl<'de> Deserializer<'de> for NodeDeserializer<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let path = self.path.clone();
        self.any(visitor).map_err(|error| error.located(&path))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let path = self.path.clone();
        self.text(visitor).map_err(|error| error.located(&path))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Mapping(entries) => self.map(entries, Some(fields), visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let result = match &self.node.value {
            Value::Null => Err(Error::no_value()),
            Value::Scalar(scalar) => visitor.visit_enum(VariantName(&scalar.text)),
            other => {
                let unexpected = match other {
                    Value::Sequence(_) => Unexpected::Seq,
                    _ => Unexpected::Map,
                };
                let expected = format!("one of: {}", variants.join(", "));
                Err(Error::invalid_type(unexpected, &expected.as_str()))
            }
        };
        result.map_err(|error| error.located(&self.path))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        seq tuple tuple_struct map identifier ignored_any
    }
}

/// The entries of a map, without the refused ones.
struct Entries<'tree> {
    entries: std::slice::Iter<'tree, Entry>,
    /// The value of the key handed out last.
    value: Option<(&'tree Node, Path)>,
    known: Option<&'static [&'static str]>,
    path: Path,
    unknown_keys: &'tree UnknownKeys,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        for entry in self.entries.by_ref() {
            let path = self.path.child(&entry.key);
            match self.known {
                Some(known) if !known.contains(&entry.key.as_str()) => {
                    let unknown = UnknownKey {
                        path: path.clone(),
                        key: entry.key.clone(),
                        known,
                    };
                    self.unknown_keys
                        .borrow_mut()
                        .insert(path.to_string(), unknown);
                }
                _ if entry.node.refused => {}
                _ => {
                    self.value = Some((&entry.node, path));
                    let key: StrDeserializer<'_, Error> = entry.key.as_str().into_deserializer();
                    return seed.deserialize(key).map(Some);
                }
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some((node, path)) = self.value.take() else {
            return Err(Error::custom("value asked for before its key"));
        };
        // What a field makes of its value can fail after the value was read.
        let at = path.clone();
        let deserializer = NodeDeserializer::new(node, path, self.unknown_keys);
        seed.deserialize(deserializer)
            .map_err(|error| error.located(&at))
    }
}

/// The items of a list, without the refused ones.
struct Items<'tree> {
    items: std::iter::Enumerate<std::slice::Iter<'tree, Node>>,
    path: Path,
    unknown_keys: &'tree UnknownKeys,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some((index, node)) = self.items.by_ref().find(|(_, node)| !node.refused) else {
            return Ok(None);
        };
        let mut path = self.path.clone();
        path.0.push(Step::Index(index));
        let at = path.clone();
        let deserializer = NodeDeserializer::new(node, path, self.unknown_keys);
        let item = seed.deserialize(deserializer);
        item.map(Some).map_err(|error| error.located(&at))
    }
}

/// A scalar that names the variant of an enum.
struct VariantName<'text>(&'text str);

impl<'de> EnumAccess<'de> for VariantName<'_> {
    type Error = Error;
    type Variant = UnitVariant;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, UnitVariant), Error> {
        let name: StrDeserializer<'_, Error> = self.0.into_deserializer();
        seed.deserialize(name).map(|variant| (variant, UnitVariant))
    }
}

/// The content of a variant that is only a name.
struct UnitVariant;

impl<'de> VariantAccess<'de> for UnitVariant {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _seed: T) -> Result<T::Value, Error> {
        Err(Error::custom("expected a map of keys, got a name"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::custom("expected a list, got a name"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Error> {
        Err(Error::custom("expected a map of keys, got a name"))
    }
}
