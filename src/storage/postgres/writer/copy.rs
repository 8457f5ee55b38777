//! Rows in the binary format of `COPY`, written straight into the buffers that are sent.

use std::borrow::Cow;
use std::pin::Pin;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::SinkExt as _;
use tokio_postgres::CopyInSink;
use tokio_postgres::types::Type;

use super::super::transaction::Transaction;
use crate::storage::Error;

/// What begins a binary copy: signature, flags, length of an extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: i16 = -1;
const NULL: i32 = -1;

/// A buffer is sent when it holds this much.
const SEND_BYTES: usize = 128 * 1024;

/// Seconds from the Unix epoch to 2000-01-01, which Postgres counts from.
const EPOCH_SECONDS: i64 = 946_684_800;

/// A `timestamptz`, microseconds since 2000-01-01, of ns since the Unix epoch.
pub(in super::super) const fn timestamptz(unix_nano: i64) -> i64 {
    unix_nano.div_euclid(1000) - EPOCH_SECONDS * 1_000_000
}

/// A length as it is written. One of 2 GiB is far beyond what a request may hold; the server refuses
/// it as damaged.
fn length_of(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// Rows in the making.
#[derive(Debug, Default)]
pub(super) struct Rows {
    bytes: BytesMut,
}

impl Rows {
    /// Begins a row of this many fields.
    pub(super) fn row(&mut self, fields: u16) {
        self.bytes.put_u16(fields);
    }

    pub(super) fn null(&mut self) {
        self.bytes.put_i32(NULL);
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.bytes.put_i32(8);
        self.bytes.put_i64(value);
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.bytes.put_i32(4);
        self.bytes.put_i32(value);
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.bytes.put_i32(2);
        self.bytes.put_i16(value);
    }

    pub(super) fn boolean(&mut self, value: bool) {
        self.bytes.put_i32(1);
        self.bytes.put_u8(u8::from(value));
    }

    pub(super) fn bytes(&mut self, value: &[u8]) {
        self.bytes.put_i32(length_of(value.len()));
        self.bytes.put_slice(value);
    }

    pub(super) fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    pub(super) fn optional_i64(&mut self, value: Option<i64>) {
        match value {
            Some(value) => self.i64(value),
            None => self.null(),
        }
    }

    pub(super) fn optional_boolean(&mut self, value: Option<bool>) {
        match value {
            Some(value) => self.boolean(value),
            None => self.null(),
        }
    }

    pub(super) fn optional_text(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.text(value),
            None => self.null(),
        }
    }

    /// A `text[]`; NULL when it is empty.
    pub(super) fn optional_texts(&mut self, values: &[Cow<'_, str>]) {
        if values.is_empty() {
            self.null();
        } else {
            self.texts(values);
        }
    }

    /// A `text[]`.
    pub(super) fn texts(&mut self, values: &[Cow<'_, str>]) {
        self.written(|out| {
            // No dimension when it is empty, else one; no NULLs in it, numbered from 1.
            out.put_i32(i32::from(!values.is_empty()));
            out.put_i32(0);
            out.put_u32(Type::TEXT.oid());
            if values.is_empty() {
                return true;
            }
            out.put_i32(length_of(values.len()));
            out.put_i32(1);
            for value in values {
                out.put_i32(length_of(value.len()));
                out.put_slice(value.as_bytes());
            }
            true
        });
    }

    /// A field that is written in place; NULL when `write` answers that there is nothing.
    pub(super) fn written(&mut self, write: impl FnOnce(&mut BytesMut) -> bool) {
        let start = self.bytes.len();
        self.bytes.put_i32(NULL);
        if !write(&mut self.bytes) {
            self.bytes.truncate(start + 4);
            return;
        }
        let length = length_of(self.bytes.len() - start - 4);
        if let Some(place) = self.bytes.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= SEND_BYTES
    }

    fn take(&mut self) -> Bytes {
        let taken = self.bytes.split().freeze();
        self.bytes.reserve(SEND_BYTES + SEND_BYTES / 4);
        taken
    }
}

/// A copy that is under way.
pub(super) struct Copy<'t> {
    transaction: &'t Transaction,
    sink: Pin<Box<CopyInSink<Bytes>>>,
    context: &'static str,
    pub(super) rows: Rows,
}

impl<'t> Copy<'t> {
    /// Begins a copy. `sql` must ask for the binary format.
    ///
    /// # Errors
    /// As the store's.
    pub(super) async fn begin(
        transaction: &'t Transaction,
        sql: &str,
        context: &'static str,
    ) -> Result<Self, Error> {
        let sink = Box::pin(transaction.copy_in(sql, context).await?);
        let mut rows = Rows::default();
        rows.bytes.reserve(SEND_BYTES + SEND_BYTES / 4);
        rows.bytes.put_slice(HEADER);
        Ok(Self {
            transaction,
            sink,
            context,
            rows,
        })
    }

    /// Sends what was written, if that is worth it.
    ///
    /// # Errors
    /// As the store's.
    pub(super) async fn send_if_full(&mut self) -> Result<(), Error> {
        if self.rows.is_full() {
            self.send().await?;
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), Error> {
        let bytes = self.rows.take();
        self.transaction
            .within(self.sink.feed(bytes), self.context)
            .await
    }

    /// Ends the copy.
    ///
    /// # Errors
    /// As the store's: most of what is wrong with rows is told here.
    pub(super) async fn finish(mut self) -> Result<u64, Error> {
        self.rows.bytes.put_i16(TRAILER);
        self.send().await?;
        self.transaction
            .within(self.sink.as_mut().finish(), self.context)
            .await
    }
}
