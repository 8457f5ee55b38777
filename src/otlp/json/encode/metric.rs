//! Metrics and their data points.

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, exemplar, number_data_point,
};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Double, Json, Members, Shown, object};

impl<S: SerializeMap> Members<S> {
    fn longs(&mut self, key: &'static str, values: &[u64]) -> Result<(), S::Error> {
        if values.is_empty() {
            return Ok(());
        }
        let values: Vec<_> = values.iter().map(Shown).collect();
        self.0.serialize_entry(key, &values)
    }

    fn doubles(&mut self, key: &'static str, values: &[f64]) -> Result<(), S::Error> {
        if values.is_empty() {
            return Ok(());
        }
        let values: Vec<_> = values.iter().copied().map(Double).collect();
        self.0.serialize_entry(key, &values)
    }

    /// The data of a metric, which is written though it is empty.
    fn data(&mut self, data: Option<&Data>) -> Result<(), S::Error> {
        match data {
            None => Ok(()),
            Some(Data::Gauge(it)) => self.0.serialize_entry("gauge", &Json(it)),
            Some(Data::Sum(it)) => self.0.serialize_entry("sum", &Json(it)),
            Some(Data::Histogram(it)) => self.0.serialize_entry("histogram", &Json(it)),
            Some(Data::ExponentialHistogram(it)) => {
                self.0.serialize_entry("exponentialHistogram", &Json(it))
            }
            Some(Data::Summary(it)) => self.0.serialize_entry("summary", &Json(it)),
        }
    }

    fn as_double(&mut self, value: f64) -> Result<(), S::Error> {
        self.some_double("asDouble", Some(value))
    }

    fn as_int(&mut self, value: i64) -> Result<(), S::Error> {
        self.0.serialize_entry("asInt", &Shown(value))
    }
}

object!(it: [ResourceMetrics] {
    list "resourceMetrics" it;
});

object!(it: ResourceMetrics {
    message "resource" it.resource.as_ref();
    list "scopeMetrics" &it.scope_metrics;
    text "schemaUrl" &it.schema_url;
});

object!(it: ScopeMetrics {
    message "scope" it.scope.as_ref();
    list "metrics" &it.metrics;
    text "schemaUrl" &it.schema_url;
});

impl Serialize for Json<'_, Metric> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = Members(serializer.serialize_map(None)?);
        members.text("name", &self.0.name)?;
        members.text("description", &self.0.description)?;
        members.text("unit", &self.0.unit)?;
        members.data(self.0.data.as_ref())?;
        members.list("metadata", &self.0.metadata)?;
        members.0.end()
    }
}

object!(it: Gauge {
    list "dataPoints" &it.data_points;
});

object!(it: Sum {
    list "dataPoints" &it.data_points;
    number "aggregationTemporality" &it.aggregation_temporality;
    number "isMonotonic" &it.is_monotonic;
});

object!(it: Histogram {
    list "dataPoints" &it.data_points;
    number "aggregationTemporality" &it.aggregation_temporality;
});

object!(it: ExponentialHistogram {
    list "dataPoints" &it.data_points;
    number "aggregationTemporality" &it.aggregation_temporality;
});

object!(it: Summary {
    list "dataPoints" &it.data_points;
});

impl Serialize for Json<'_, NumberDataPoint> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = Members(serializer.serialize_map(None)?);
        members.list("attributes", &self.0.attributes)?;
        members.long("startTimeUnixNano", self.0.start_time_unix_nano)?;
        members.long("timeUnixNano", self.0.time_unix_nano)?;
        match self.0.value {
            None => {}
            Some(number_data_point::Value::AsDouble(value)) => members.as_double(value)?,
            Some(number_data_point::Value::AsInt(value)) => members.as_int(value)?,
        }
        members.list("exemplars", &self.0.exemplars)?;
        members.number("flags", &self.0.flags)?;
        members.0.end()
    }
}

object!(it: HistogramDataPoint {
    list "attributes" &it.attributes;
    long "startTimeUnixNano" it.start_time_unix_nano;
    long "timeUnixNano" it.time_unix_nano;
    long "count" it.count;
    some_double "sum" it.sum;
    longs "bucketCounts" &it.bucket_counts;
    doubles "explicitBounds" &it.explicit_bounds;
    list "exemplars" &it.exemplars;
    number "flags" &it.flags;
    some_double "min" it.min;
    some_double "max" it.max;
});

object!(it: ExponentialHistogramDataPoint {
    list "attributes" &it.attributes;
    long "startTimeUnixNano" it.start_time_unix_nano;
    long "timeUnixNano" it.time_unix_nano;
    long "count" it.count;
    some_double "sum" it.sum;
    number "scale" &it.scale;
    long "zeroCount" it.zero_count;
    message "positive" it.positive.as_ref();
    message "negative" it.negative.as_ref();
    number "flags" &it.flags;
    list "exemplars" &it.exemplars;
    some_double "min" it.min;
    some_double "max" it.max;
    double "zeroThreshold" it.zero_threshold;
});

object!(it: Buckets {
    number "offset" &it.offset;
    longs "bucketCounts" &it.bucket_counts;
});

object!(it: SummaryDataPoint {
    list "attributes" &it.attributes;
    long "startTimeUnixNano" it.start_time_unix_nano;
    long "timeUnixNano" it.time_unix_nano;
    long "count" it.count;
    double "sum" it.sum;
    list "quantileValues" &it.quantile_values;
    number "flags" &it.flags;
});

object!(it: ValueAtQuantile {
    double "quantile" it.quantile;
    double "value" it.value;
});

impl Serialize for Json<'_, Exemplar> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = Members(serializer.serialize_map(None)?);
        members.list("filteredAttributes", &self.0.filtered_attributes)?;
        members.long("timeUnixNano", self.0.time_unix_nano)?;
        match self.0.value {
            None => {}
            Some(exemplar::Value::AsDouble(value)) => members.as_double(value)?,
            Some(exemplar::Value::AsInt(value)) => members.as_int(value)?,
        }
        members.hex("spanId", &self.0.span_id)?;
        members.hex("traceId", &self.0.trace_id)?;
        members.0.end()
    }
}
