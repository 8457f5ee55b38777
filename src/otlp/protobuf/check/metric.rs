//! Metrics and their data points.

use super::{
    DecodeError, FIXED64_4, FIXED64_7, InvalidId, LEN_1, LEN_2, LEN_3, LEN_5, LEN_6, LEN_7, LEN_9,
    LEN_11, Reader, SpanIds, VARINT_2, VARINT_3, VARINT_8, VARINT_10, Walk,
};
use crate::otlp::protobuf::metric::{Metric, Point, RejectedPoint};
use crate::otlp::protobuf::wire::fields;

const VARINT_1: u32 = 1 << 3;
const VARINT_6: u32 = 6 << 3;
const FIXED64_1: u32 = 1 << 3 | 1;
const FIXED64_2: u32 = 2 << 3 | 1;
const FIXED64_3: u32 = 3 << 3 | 1;
const FIXED64_5: u32 = 5 << 3 | 1;
const FIXED64_6: u32 = 6 << 3 | 1;
const LEN_4: u32 = 4 << 3 | 2;
const LEN_8: u32 = 8 << 3 | 2;
const LEN_10: u32 = 10 << 3 | 2;
const FIXED64_11: u32 = 11 << 3 | 1;
const LEN_12: u32 = 12 << 3 | 2;
const FIXED64_12: u32 = 12 << 3 | 1;
const FIXED64_13: u32 = 13 << 3 | 1;
const FIXED64_14: u32 = 14 << 3 | 1;

const METRIC_FIELDS: [&str; 13] = [
    "",
    "name",
    "description",
    "unit",
    "",
    "gauge",
    "",
    "sum",
    "",
    "histogram",
    "exponential_histogram",
    "summary",
    "metadata",
];
const POINTS_FIELDS: [&str; 2] = ["", "data_points"];
const HISTOGRAM_FIELDS: [&str; 3] = ["", "data_points", "aggregation_temporality"];
const SUM_FIELDS: [&str; 4] = ["", "data_points", "aggregation_temporality", "is_monotonic"];
const NUMBER_POINT_FIELDS: [&str; 9] = [
    "",
    "",
    "start_time_unix_nano",
    "time_unix_nano",
    "as_double",
    "exemplars",
    "as_int",
    "attributes",
    "flags",
];
const HISTOGRAM_POINT_FIELDS: [&str; 13] = [
    "",
    "",
    "start_time_unix_nano",
    "time_unix_nano",
    "count",
    "sum",
    "bucket_counts",
    "explicit_bounds",
    "exemplars",
    "attributes",
    "flags",
    "min",
    "max",
];
const EXPONENTIAL_POINT_FIELDS: [&str; 15] = [
    "",
    "attributes",
    "start_time_unix_nano",
    "time_unix_nano",
    "count",
    "sum",
    "scale",
    "zero_count",
    "positive",
    "negative",
    "flags",
    "exemplars",
    "min",
    "max",
    "zero_threshold",
];
const BUCKETS_FIELDS: [&str; 3] = ["", "offset", "bucket_counts"];
const SUMMARY_POINT_FIELDS: [&str; 9] = [
    "",
    "",
    "start_time_unix_nano",
    "time_unix_nano",
    "count",
    "sum",
    "quantile_values",
    "attributes",
    "flags",
];
const QUANTILE_FIELDS: [&str; 3] = ["", "quantile", "value"];
const EXEMPLAR_FIELDS: [&str; 8] = [
    "",
    "",
    "time_unix_nano",
    "as_double",
    "span_id",
    "trace_id",
    "as_int",
    "filtered_attributes",
];

impl<F: FnMut(Result<SpanIds, InvalidId>)> Walk<F> {
    /// Answers the metric's bytes, which are whole then.
    pub(super) fn metric<'a>(&mut self, mut reader: Reader<'a>) -> Result<&'a [u8], DecodeError> {
        let bytes = reader.rest();
        while let Some(key) = reader.next_key()? {
            match key {
                LEN_1 => reader.skip_text("name")?,
                LEN_2 => reader.skip_text("description")?,
                LEN_3 => reader.skip_text("unit")?,
                LEN_5 => reader.message("gauge", |it| {
                    self.points(it, &POINTS_FIELDS, Self::number_point)
                })?,
                LEN_7 => {
                    reader.message("sum", |it| self.points(it, &SUM_FIELDS, Self::number_point))?
                }
                LEN_9 => reader.message("histogram", |it| {
                    self.points(it, &HISTOGRAM_FIELDS, Self::histogram_point)
                })?,
                LEN_10 => reader.message("exponential_histogram", |it| {
                    self.points(it, &HISTOGRAM_FIELDS, Self::exponential_point)
                })?,
                LEN_11 => reader.message("summary", |it| {
                    self.points(it, &POINTS_FIELDS, Self::summary_point)
                })?,
                LEN_12 => reader.message("metadata", |it| self.key_value(it))?,
                _ => reader.other(key, &METRIC_FIELDS)?,
            }
        }
        Ok(bytes)
    }

    /// The data of a metric. Which fields it has besides its points, `known` says.
    fn points(
        &mut self,
        mut reader: Reader<'_>,
        known: &'static [&'static str],
        point: fn(&mut Self, Reader<'_>) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        while let Some(key) = reader.next_key()? {
            match key {
                LEN_1 => reader.message("data_points", |it| point(self, it))?,
                VARINT_2 if known.len() > 2 => reader.skip_varint("aggregation_temporality")?,
                VARINT_3 if known.len() > 3 => reader.skip_varint("is_monotonic")?,
                _ => reader.other(key, known)?,
            }
        }
        Ok(())
    }

    fn number_point(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(key) = reader.next_key()? {
            match key {
                FIXED64_2 => reader.skip_fixed::<8>("start_time_unix_nano")?,
                FIXED64_3 => reader.skip_fixed::<8>("time_unix_nano")?,
                FIXED64_4 => reader.skip_fixed::<8>("as_double")?,
                LEN_5 => reader.message("exemplars", |it| self.exemplar(it))?,
                FIXED64_6 => reader.skip_fixed::<8>("as_int")?,
                LEN_7 => reader.message("attributes", |it| self.key_value(it))?,
                VARINT_8 => reader.skip_varint("flags")?,
                _ => reader.other(key, &NUMBER_POINT_FIELDS)?,
            }
        }
        Ok(())
    }

    fn histogram_point(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(key) = reader.next_key()? {
            match key {
                FIXED64_2 => reader.skip_fixed::<8>("start_time_unix_nano")?,
                FIXED64_3 => reader.skip_fixed::<8>("time_unix_nano")?,
                FIXED64_4 => reader.skip_fixed::<8>("count")?,
                FIXED64_5 => reader.skip_fixed::<8>("sum")?,
                LEN_6 => reader.skip_packed_fixed64("bucket_counts")?,
                FIXED64_6 => reader.skip_fixed::<8>("bucket_counts")?,
                LEN_7 => reader.skip_packed_fixed64("explicit_bounds")?,
                FIXED64_7 => reader.skip_fixed::<8>("explicit_bounds")?,
                LEN_8 => reader.message("exemplars", |it| self.exemplar(it))?,
                LEN_9 => reader.message("attributes", |it| self.key_value(it))?,
                VARINT_10 => reader.skip_varint("flags")?,
                FIXED64_11 => reader.skip_fixed::<8>("min")?,
                FIXED64_12 => reader.skip_fixed::<8>("max")?,
                _ => reader.other(key, &HISTOGRAM_POINT_FIELDS)?,
            }
        }
        Ok(())
    }

    fn exponential_point(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(key) = reader.next_key()? {
            match key {
                LEN_1 => reader.message("attributes", |it| self.key_value(it))?,
                FIXED64_2 => reader.skip_fixed::<8>("start_time_unix_nano")?,
                FIXED64_3 => reader.skip_fixed::<8>("time_unix_nano")?,
                FIXED64_4 => reader.skip_fixed::<8>("count")?,
                FIXED64_5 => reader.skip_fixed::<8>("sum")?,
                VARINT_6 => reader.skip_varint("scale")?,
                FIXED64_7 => reader.skip_fixed::<8>("zero_count")?,
                LEN_8 => reader.message("positive", buckets)?,
                LEN_9 => reader.message("negative", buckets)?,
                VARINT_10 => reader.skip_varint("flags")?,
                LEN_11 => reader.message("exemplars", |it| self.exemplar(it))?,
                FIXED64_12 => reader.skip_fixed::<8>("min")?,
                FIXED64_13 => reader.skip_fixed::<8>("max")?,
                FIXED64_14 => reader.skip_fixed::<8>("zero_threshold")?,
                _ => reader.other(key, &EXPONENTIAL_POINT_FIELDS)?,
            }
        }
        Ok(())
    }

    fn summary_point(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(key) = reader.next_key()? {
            match key {
                FIXED64_2 => reader.skip_fixed::<8>("start_time_unix_nano")?,
                FIXED64_3 => reader.skip_fixed::<8>("time_unix_nano")?,
                FIXED64_4 => reader.skip_fixed::<8>("count")?,
                FIXED64_5 => reader.skip_fixed::<8>("sum")?,
                LEN_6 => reader.message("quantile_values", quantile)?,
                LEN_7 => reader.message("attributes", |it| self.key_value(it))?,
                VARINT_8 => reader.skip_varint("flags")?,
                _ => reader.other(key, &SUMMARY_POINT_FIELDS)?,
            }
        }
        Ok(())
    }

    fn exemplar(&mut self, mut reader: Reader<'_>) -> Result<(), DecodeError> {
        while let Some(key) = reader.next_key()? {
            match key {
                FIXED64_2 => reader.skip_fixed::<8>("time_unix_nano")?,
                FIXED64_3 => reader.skip_fixed::<8>("as_double")?,
                LEN_4 => _ = reader.bytes("span_id")?,
                LEN_5 => _ = reader.bytes("trace_id")?,
                FIXED64_6 => reader.skip_fixed::<8>("as_int")?,
                LEN_7 => reader.message("filtered_attributes", |it| self.key_value(it))?,
                _ => reader.other(key, &EXEMPLAR_FIELDS)?,
            }
        }
        Ok(())
    }

    /// Judges the points of a metric that was walked.
    pub(super) fn report_points(&mut self, metric: &[u8]) {
        let Ok(metric) = Metric::parse(metric) else {
            return;
        };
        let header = metric.check();
        for point in metric.points() {
            self.checked.items += 1;
            let judged = header.and_then(|()| metric.judge(Point::parse(&metric, point)));
            if let Err(reason) = judged {
                self.checked.rejected += 1;
                let first = &mut self.checked.first_point;
                first.get_or_insert_with(|| RejectedPoint::new(metric.name, reason));
            }
        }
    }
}

fn buckets(mut reader: Reader<'_>) -> Result<(), DecodeError> {
    while let Some(key) = reader.next_key()? {
        match key {
            VARINT_1 => reader.skip_varint("offset")?,
            LEN_2 => {
                let mut packed = fields(reader.bytes("bucket_counts")?);
                while !packed.rest().is_empty() {
                    packed.skip_varint("bucket_counts")?;
                }
            }
            VARINT_2 => reader.skip_varint("bucket_counts")?,
            _ => reader.other(key, &BUCKETS_FIELDS)?,
        }
    }
    Ok(())
}

fn quantile(mut reader: Reader<'_>) -> Result<(), DecodeError> {
    while let Some(key) = reader.next_key()? {
        match key {
            FIXED64_1 => reader.skip_fixed::<8>("quantile")?,
            FIXED64_2 => reader.skip_fixed::<8>("value")?,
            _ => reader.other(key, &QUANTILE_FIELDS)?,
        }
    }
    Ok(())
}
