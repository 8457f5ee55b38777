//! The messages of a trace export, which those of others share, and the names of their fields in JSON.

use std::fmt;
use std::marker::PhantomData;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Memory;
use super::scalar::{Base64, Boolean, Double, HexId, Integer, Named, Text};

/// How a type of field is written in JSON.
pub(super) trait Codec {
    /// What it decodes into.
    type Value: Default;

    /// Decodes a value that is not null.
    fn decode<'de, D: Deserializer<'de>>(
        deserializer: D,
        memory: &Memory,
    ) -> Result<Self::Value, D::Error>;
}

/// A message that is an object in JSON.
pub(super) trait Message: Default {
    /// What to do with the member of this name.
    fn member<'de, A: MapAccess<'de>>(name: &[u8]) -> Member<'de, Self, A>;
}

/// Reads a member's value into its message.
pub(super) type Member<'de, M, A> =
    fn(&mut M, &mut A, &Memory) -> Result<(), <A as MapAccess<'de>>::Error>;

/// A value that may be null, which is as good as absent.
struct Nullable<'m, C> {
    memory: &'m Memory,
    codec: PhantomData<C>,
}

impl<'m, C> Nullable<'m, C> {
    fn new(memory: &'m Memory) -> Self {
        Self {
            memory,
            codec: PhantomData,
        }
    }
}

impl<'de, C: Codec> DeserializeSeed<'de> for Nullable<'_, C> {
    type Value = Option<C::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, C: Codec> Visitor<'de> for Nullable<'_, C> {
    type Value = Option<C::Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value or null")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        C::decode(deserializer, self.memory).map(Some)
    }
}

pub(super) fn read<'de, C: Codec, A: MapAccess<'de>>(
    map: &mut A,
    memory: &Memory,
) -> Result<Option<C::Value>, A::Error> {
    map.next_value_seed(Nullable::<C>::new(memory))
}

/// Replaces a field that has a default.
pub(super) fn set<'de, C: Codec, A: MapAccess<'de>>(
    field: &mut C::Value,
    map: &mut A,
    memory: &Memory,
) -> Result<(), A::Error> {
    if let Some(value) = read::<C, A>(map, memory)? {
        *field = value;
    }
    Ok(())
}

/// Replaces a field that may be absent.
pub(super) fn set_some<'de, C: Codec, A: MapAccess<'de>>(
    field: &mut Option<C::Value>,
    map: &mut A,
    memory: &Memory,
) -> Result<(), A::Error> {
    if let Some(value) = read::<C, A>(map, memory)? {
        *field = Some(value);
    }
    Ok(())
}

/// Replaces the one value that an `AnyValue` has.
fn set_value<'de, C: Codec, A: MapAccess<'de>>(
    any: &mut AnyValue,
    map: &mut A,
    memory: &Memory,
    variant: fn(C::Value) -> Value,
) -> Result<(), A::Error> {
    if let Some(value) = read::<C, A>(map, memory)? {
        any.value = Some(variant(value));
    }
    Ok(())
}

/// The codec of messages.
pub(super) struct Object<M>(PhantomData<M>);

impl<M: Message> Codec for Object<M> {
    type Value = M;

    fn decode<'de, D: Deserializer<'de>>(deserializer: D, memory: &Memory) -> Result<M, D::Error> {
        deserializer.deserialize_map(ObjectVisitor {
            memory,
            message: PhantomData,
        })
    }
}

struct ObjectVisitor<'m, M> {
    memory: &'m Memory,
    message: PhantomData<M>,
}

impl<'de, M: Message> Visitor<'de> for ObjectVisitor<'_, M> {
    type Value = M;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<M, A::Error> {
        let mut message = M::default();
        while let Some(member) = map.next_key_seed(Name::<M, A>(PhantomData))? {
            member(&mut message, &mut map, self.memory)?;
        }
        Ok(message)
    }
}

/// Reads a member's name and finds what to do with its value. Names are taken as bytes, since text
/// with a lone surrogate would fail, and an unknown name must not.
struct Name<M, A>(PhantomData<(M, A)>);

impl<'de, M: Message, A: MapAccess<'de>> DeserializeSeed<'de> for Name<M, A> {
    type Value = Member<'de, M, A>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<'de, M: Message, A: MapAccess<'de>> Visitor<'de> for Name<M, A> {
    type Value = Member<'de, M, A>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<Self::Value, E> {
        Ok(M::member(name))
    }
}

/// The codec of repeated fields. A null in the list is an element with nothing in it.
pub(super) struct List<C>(PhantomData<C>);

impl<C: Codec> Codec for List<C> {
    type Value = Vec<C::Value>;

    fn decode<'de, D: Deserializer<'de>>(
        deserializer: D,
        memory: &Memory,
    ) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(ListVisitor::<C> {
            memory,
            codec: PhantomData,
        })
    }
}

struct ListVisitor<'m, C> {
    memory: &'m Memory,
    codec: PhantomData<C>,
}

impl<'de, C: Codec> Visitor<'de> for ListVisitor<'_, C> {
    type Value = Vec<C::Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = sequence.next_element_seed(Nullable::<C>::new(self.memory))? {
            self.memory.take(size_of::<C::Value>())?;
            list.push(element.unwrap_or_default());
        }
        Ok(list)
    }
}

pub(super) fn ignore<'de, M, A: MapAccess<'de>>(
    _: &mut M,
    map: &mut A,
    _: &Memory,
) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(drop)
}

/// Lists the members of a message: JSON name, field, how it is set and read.
macro_rules! message {
    ($message:ident { $($name:literal => $field:ident: $set:ident $codec:ty,)* }) => {
        impl Message for $message {
            fn member<'de, A: MapAccess<'de>>(name: &[u8]) -> Member<'de, Self, A> {
                match name {
                    $($name => |it, map, memory| $set::<$codec, A>(&mut it.$field, map, memory),)*
                    _ => ignore,
                }
            }
        }
    };
}

pub(super) use message;

message!(ExportTraceServiceRequest {
    b"resourceSpans" => resource_spans: set List<Object<ResourceSpans>>,
});

message!(ResourceSpans {
    b"resource" => resource: set_some Object<Resource>,
    b"scopeSpans" => scope_spans: set List<Object<ScopeSpans>>,
    b"schemaUrl" => schema_url: set Text,
});

message!(Resource {
    b"attributes" => attributes: set List<Object<KeyValue>>,
    b"droppedAttributesCount" => dropped_attributes_count: set Integer<u32>,
    b"entityRefs" => entity_refs: set List<Object<EntityRef>>,
});

message!(EntityRef {
    b"schemaUrl" => schema_url: set Text,
    b"type" => r#type: set Text,
    b"idKeys" => id_keys: set List<Text>,
    b"descriptionKeys" => description_keys: set List<Text>,
});

message!(ScopeSpans {
    b"scope" => scope: set_some Object<InstrumentationScope>,
    b"spans" => spans: set List<Object<Span>>,
    b"schemaUrl" => schema_url: set Text,
});

message!(InstrumentationScope {
    b"name" => name: set Text,
    b"version" => version: set Text,
    b"attributes" => attributes: set List<Object<KeyValue>>,
    b"droppedAttributesCount" => dropped_attributes_count: set Integer<u32>,
});

message!(Span {
    b"traceId" => trace_id: set HexId,
    b"spanId" => span_id: set HexId,
    b"traceState" => trace_state: set Text,
    b"parentSpanId" => parent_span_id: set HexId,
    b"flags" => flags: set Integer<u32>,
    b"name" => name: set Text,
    b"kind" => kind: set Named<SpanKind>,
    b"startTimeUnixNano" => start_time_unix_nano: set Integer<u64>,
    b"endTimeUnixNano" => end_time_unix_nano: set Integer<u64>,
    b"attributes" => attributes: set List<Object<KeyValue>>,
    b"droppedAttributesCount" => dropped_attributes_count: set Integer<u32>,
    b"events" => events: set List<Object<Event>>,
    b"droppedEventsCount" => dropped_events_count: set Integer<u32>,
    b"links" => links: set List<Object<Link>>,
    b"droppedLinksCount" => dropped_links_count: set Integer<u32>,
    b"status" => status: set_some Object<Status>,
});

message!(Event {
    b"timeUnixNano" => time_unix_nano: set Integer<u64>,
    b"name" => name: set Text,
    b"attributes" => attributes: set List<Object<KeyValue>>,
    b"droppedAttributesCount" => dropped_attributes_count: set Integer<u32>,
});

message!(Link {
    b"traceId" => trace_id: set HexId,
    b"spanId" => span_id: set HexId,
    b"traceState" => trace_state: set Text,
    b"attributes" => attributes: set List<Object<KeyValue>>,
    b"droppedAttributesCount" => dropped_attributes_count: set Integer<u32>,
    b"flags" => flags: set Integer<u32>,
});

message!(Status {
    b"message" => message: set Text,
    b"code" => code: set Named<StatusCode>,
});

message!(KeyValue {
    b"key" => key: set Text,
    b"value" => value: set_some Object<AnyValue>,
    b"keyStrindex" => key_strindex: set Integer<i32>,
});

message!(ArrayValue {
    b"values" => values: set List<Object<AnyValue>>,
});

message!(KeyValueList {
    b"values" => values: set List<Object<KeyValue>>,
});

impl Message for AnyValue {
    fn member<'de, A: MapAccess<'de>>(name: &[u8]) -> Member<'de, Self, A> {
        use Value as V;
        match name {
            b"stringValue" => {
                |it, map, memory| set_value::<Text, A>(it, map, memory, V::StringValue)
            }
            b"boolValue" => {
                |it, map, memory| set_value::<Boolean, A>(it, map, memory, V::BoolValue)
            }
            b"intValue" => {
                |it, map, memory| set_value::<Integer<i64>, A>(it, map, memory, V::IntValue)
            }
            b"doubleValue" => {
                |it, map, memory| set_value::<Double, A>(it, map, memory, V::DoubleValue)
            }
            b"bytesValue" => {
                |it, map, memory| set_value::<Base64, A>(it, map, memory, V::BytesValue)
            }
            b"arrayValue" => {
                |it, map, memory| set_value::<Object<_>, A>(it, map, memory, V::ArrayValue)
            }
            b"kvlistValue" => {
                |it, map, memory| set_value::<Object<_>, A>(it, map, memory, V::KvlistValue)
            }
            b"stringValueStrindex" => |it, map, memory| {
                set_value::<Integer<i32>, A>(it, map, memory, V::StringValueStrindex)
            },
            _ => ignore,
        }
    }
}
