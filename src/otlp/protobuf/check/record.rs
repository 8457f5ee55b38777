//! Log records.

use super::names::LOG_RECORD_FIELDS;
use super::{
    DecodeError, FIXED64_1, InvalidId, LEN_3, LEN_5, LEN_6, LEN_9, RawIds, Reader, SpanIds,
    VARINT_2, Walk,
};

const VARINT_7: u32 = 7 << 3;
const FIXED32_8: u32 = 8 << 3 | 5;
const LEN_10: u32 = 10 << 3 | 2;
const FIXED64_11: u32 = 11 << 3 | 1;
const LEN_12: u32 = 12 << 3 | 2;

impl<F: FnMut(Result<SpanIds, InvalidId>)> Walk<F> {
    pub(super) fn log_record<'a>(
        &mut self,
        mut reader: Reader<'a>,
    ) -> Result<RawIds<'a>, DecodeError> {
        let mut ids = RawIds::default();
        while let Some(key) = reader.next_key()? {
            match key {
                FIXED64_1 => reader.skip_fixed::<8>("time_unix_nano")?,
                VARINT_2 => reader.skip_varint("severity_number")?,
                LEN_3 => reader.skip_text("severity_text")?,
                LEN_5 => reader.message("body", |it| self.any_value(it))?,
                LEN_6 => reader.message("attributes", |it| self.key_value(it))?,
                VARINT_7 => reader.skip_varint("dropped_attributes_count")?,
                FIXED32_8 => reader.skip_fixed::<4>("flags")?,
                LEN_9 => ids.trace_id = reader.bytes("trace_id")?,
                LEN_10 => ids.span_id = reader.bytes("span_id")?,
                FIXED64_11 => reader.skip_fixed::<8>("observed_time_unix_nano")?,
                LEN_12 => reader.skip_text("event_name")?,
                _ => reader.other(key, &LOG_RECORD_FIELDS)?,
            }
        }
        Ok(ids)
    }

    pub(super) fn report_record(&mut self, ids: &RawIds<'_>) {
        self.checked.items += 1;
        if let Err(reason) = ids.link() {
            self.checked.unlinked += 1;
            self.checked
                .first_rejection
                .get_or_insert_with(|| ids.rejection(reason));
        }
    }
}
