//! What makes a series one: its resource, scope, metric and attributes, whatever their order and
//! however they were encoded. What a metric's description says does not.

use sha2::{Digest as _, Sha256};

use crate::model::metric::{MetricKind, SeriesId, Temporality};
use crate::otlp::protobuf::{AnyValue, KeyValue, KeyValues, Scope};

/// Attribute of the series that takes points of series beyond the limit, as OpenTelemetry's SDKs name
/// theirs ("Cardinality limits").
pub const OVERFLOW: &str = "otel.metric.overflow";

/// What an instrument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instrument<'a> {
    /// Name of the metric.
    pub name: &'a str,
    /// Its unit.
    pub unit: &'a str,
    /// What it is.
    pub kind: MetricKind,
    /// What its totals are of.
    pub temporality: Temporality,
    /// Whether its sum never falls.
    pub is_monotonic: bool,
}

/// A digest in the making.
#[derive(Debug, Clone, Default)]
pub struct Identity(Sha256);

impl Identity {
    /// Begins with the attributes of a resource.
    #[must_use]
    pub fn of_resource(resource: &[u8]) -> Self {
        let mut identity = Self::default();
        identity.attributes(&KeyValues::of_resource(resource).unwrap_or_default());
        identity
    }

    /// Goes on with a scope.
    #[must_use]
    pub fn scope(&self, scope: &Scope<'_>) -> Self {
        let mut identity = self.clone();
        identity.text(scope.name);
        identity.text(scope.version);
        identity.attributes(&scope.attributes);
        identity
    }

    /// Goes on with an instrument.
    #[must_use]
    pub fn instrument(&self, instrument: &Instrument<'_>) -> Self {
        let mut identity = self.clone();
        identity.text(instrument.name);
        identity.text(instrument.unit);
        let numbers = [
            instrument.kind as u8,
            instrument.temporality as u8,
            u8::from(instrument.is_monotonic),
        ];
        identity.0.update(numbers);
        identity
    }

    /// Ends with the attributes of a point.
    #[must_use]
    pub fn series(&self, attributes: &KeyValues<'_>) -> SeriesId {
        let mut identity = self.clone();
        identity.attributes(attributes);
        let digest: [u8; 32] = identity.0.finalize().into();
        SeriesId(digest.first_chunk().copied().unwrap_or_default())
    }

    fn text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text);
    }

    fn attributes(&mut self, attributes: &KeyValues<'_>) {
        let sorted = sorted(attributes);
        self.0.update((sorted.len() as u64).to_le_bytes());
        for KeyValue { key, value } in sorted {
            self.text(key);
            self.0.update([kind_of(&value)]);
            self.text(&value.text());
        }
    }
}

/// Attributes by key; of several with one key the first.
pub(super) fn sorted<'a>(attributes: &KeyValues<'a>) -> Vec<KeyValue<'a>> {
    let mut sorted: Vec<_> = attributes.iter().collect();
    sorted.sort_by_key(|attribute| attribute.key);
    sorted.dedup_by_key(|attribute| attribute.key);
    sorted
}

/// Tells values of one text and another kind apart.
const fn kind_of(value: &AnyValue<'_>) -> u8 {
    match value {
        AnyValue::Empty => 0,
        AnyValue::Str(_) => 1,
        AnyValue::Bool(_) => 2,
        AnyValue::Int(_) => 3,
        AnyValue::Double(_) => 4,
        AnyValue::Bytes(_) => 5,
        AnyValue::Array(_) => 6,
        AnyValue::KvList(_) => 7,
    }
}

/// What stands for a metric's name in keys: points of one metric lie together by it. Two names with
/// one number cost time, nothing else, since points belong to series.
#[must_use]
pub fn metric_id(name: &str) -> i64 {
    let digest: [u8; 32] = Sha256::digest(name).into();
    i64::from_be_bytes(digest.first_chunk().copied().unwrap_or_default())
}

/// The series of an instrument that takes the points of series beyond the limit.
#[must_use]
pub fn overflow(instrument: &Instrument<'_>) -> SeriesId {
    let mut identity = Identity::default();
    identity.text(OVERFLOW);
    identity
        .instrument(instrument)
        .series(&KeyValues::default())
}

/// The instrument that takes the points of instruments beyond the limit of those.
#[must_use]
pub const fn catch_all<'a>(instrument: &Instrument<'_>) -> Instrument<'a> {
    Instrument {
        name: OVERFLOW,
        unit: "",
        kind: instrument.kind,
        temporality: instrument.temporality,
        is_monotonic: instrument.is_monotonic,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1 as common;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use prost::Message as _;

    use super::*;

    fn resource(attributes: &[(&str, Value)]) -> Vec<u8> {
        let attributes = attributes.iter().map(|(key, value)| common::KeyValue {
            key: (*key).to_owned(),
            value: Some(common::AnyValue {
                value: Some(value.clone()),
            }),
            ..common::KeyValue::default()
        });
        Resource {
            attributes: attributes.collect(),
            ..Resource::default()
        }
        .encode_to_vec()
    }

    const INSTRUMENT: Instrument<'_> = Instrument {
        name: "m",
        unit: "s",
        kind: MetricKind::Sum,
        temporality: Temporality::Delta,
        is_monotonic: true,
    };

    fn id(attributes: &[(&str, Value)]) -> SeriesId {
        let identity = Identity::of_resource(&resource(attributes));
        let identity = identity.scope(&Scope::default());
        let identity = identity.instrument(&INSTRUMENT);
        identity.series(&KeyValues::default())
    }

    // Guarantees: the order of attributes is no part of the identity, their kinds and values are.
    #[test]
    fn a_series_is_what_it_says() {
        let text = |text: &str| Value::StringValue(text.to_owned());
        let one = id(&[("a", text("1")), ("b", text("2"))]);
        assert_eq!(one, id(&[("b", text("2")), ("a", text("1"))]));
        for other in [
            id(&[("a", Value::IntValue(1)), ("b", text("2"))]),
            id(&[("a", text("12")), ("b", text(""))]),
            id(&[("a", text("1"))]),
        ] {
            assert_ne!(one, other);
        }
        let overflow_of = overflow(&INSTRUMENT);
        assert_ne!(overflow_of, overflow(&catch_all(&INSTRUMENT)));
        assert_ne!(overflow_of, id(&[]));
    }
}
