//! The columns of a block's spans, column by column, as `pulse.storage.v1.BlockColumns`.
//!
//! A row of its own per span would cost more to write than everything else about it, and most of
//! its columns would be empty.

mod names;
mod read;
mod rebuild;

use std::borrow::Cow;
use std::collections::HashMap;

use prost::Message as _;

use crate::model::TraceId;
use crate::model::genai::GenAi;
use crate::storage::content::proto::{BlockColumns, IntColumn, ListColumn, TextColumn};
use crate::storage::summary::clamp_time;
use crate::storage::write::SpanRow;
use names::{Int, List, Text};

pub(super) use read::Columns;

/// Collects the columns of a block.
#[derive(Debug, Default)]
pub(super) struct ColumnsBuilder<'b> {
    block: BlockColumns,
    texts: HashMap<&'b str, u32>,
    resources: HashMap<i64, u32>,
    text_columns: Vec<Vec<u32>>,
    int_columns: Vec<IntColumn>,
    list_columns: Vec<ListColumn>,
    spans: u32,
}

impl<'b> ColumnsBuilder<'b> {
    /// Begins the spans of a trace.
    pub(super) fn begin_trace(&mut self, trace_key: i64, trace_id: TraceId) {
        self.block.trace_keys.push(trace_key.cast_unsigned());
        self.block.trace_ids.extend_from_slice(&trace_id.0);
        self.block.trace_spans.push(0);
    }

    /// Adds a span of the trace that was begun last.
    pub(super) fn push(&mut self, span: &'b SpanRow<'b>, resource_id: i64, service: &'b str) {
        if let Some(spans) = self.block.trace_spans.last_mut() {
            *spans += 1;
        }
        let start = clamp_time(span.start_unix_nano);
        let resource = self.resource(resource_id, service);
        let block = &mut self.block;
        // Absolute until the block is finished, when its earliest start is known.
        block.starts.push(start.cast_unsigned());
        block.durations_ns.push(span.duration_ns());
        block.span_ids.extend_from_slice(&span.span_id.0);
        let parent = span.parent_span_id.map_or([0; 8], |parent| parent.0);
        block.parent_span_ids.extend_from_slice(&parent);
        block.kinds.push(span.kind as u8);
        block.statuses.push(span.status as u8);
        block.time_marks.push(span.time_marks.0);
        block.resources.push(resource);
        let basics = &span.basics;
        self.text(Text::Name, Some(&span.name));
        self.text(Text::StatusMessage, Some(&span.status_message));
        self.text(Text::Operation, Some(basics.operation.as_str()));
        self.text(Text::Provider, basics.provider.as_deref());
        self.text(Text::RequestModel, basics.request_model.as_deref());
        self.text(Text::ResponseModel, basics.response_model.as_deref());
        self.text(Text::Session, basics.session_id.as_deref());
        self.text(Text::User, basics.user_id.as_deref());
        self.text(Text::ErrorType, basics.error_type.as_deref());
        self.text(Text::HttpMethod, basics.http_method.as_deref());
        self.text(Text::HttpRoute, basics.http_route.as_deref());
        self.text(Text::DbSystem, basics.db_system.as_deref());
        self.text(Text::DbOperation, basics.db_operation.as_deref());
        self.text(Text::RpcSystem, basics.rpc_system.as_deref());
        self.text(Text::RpcService, basics.rpc_service.as_deref());
        self.text(Text::RpcMethod, basics.rpc_method.as_deref());
        self.int(Int::HttpStatus, basics.http_status_code);
        let error_kind = basics.error_kind.map(|kind| i64::from(kind as u8));
        self.int(Int::ErrorKind, error_kind);
        if let Some(genai) = basics.genai.as_deref() {
            self.genai(genai);
        }
        self.spans += 1;
    }

    fn genai(&mut self, genai: &'b GenAi<'b>) {
        self.text(Text::Dialect, genai.dialect.as_deref());
        self.text(Text::ResponseId, genai.response_id.as_deref());
        self.text(Text::FinishReason, genai.finish_reason.as_deref());
        self.text(Text::AgentName, genai.agent_name.as_deref());
        self.text(Text::AgentId, genai.agent_id.as_deref());
        self.text(Text::ToolName, genai.tool_name.as_deref());
        self.text(Text::ToolCallId, genai.tool_call_id.as_deref());
        self.text(Text::PriceVersion, genai.cost.price_version.as_deref());
        self.int(Int::IsModelCall, Some(i64::from(genai.is_model_call)));
        self.int(Int::Streaming, genai.streaming.map(i64::from));
        self.int(Int::TimeToFirstToken, genai.time_to_first_token_ns);
        let usage = &genai.usage;
        self.int(Int::Input, usage.input);
        self.int(Int::Output, usage.output);
        self.int(Int::CacheRead, usage.cache_read);
        self.int(Int::CacheWrite, usage.cache_write);
        self.int(Int::Reasoning, usage.reasoning);
        self.int(Int::AudioIn, usage.audio_in);
        self.int(Int::AudioOut, usage.audio_out);
        self.int(Int::ImageIn, usage.image_in);
        self.int(Int::ImageOut, usage.image_out);
        self.int(Int::CostInput, genai.cost.input);
        self.int(Int::CostOutput, genai.cost.output);
        self.int(Int::CostTotal, genai.cost.total);
        let source = genai.cost.source.map(|source| i64::from(source as u8));
        self.int(Int::CostSource, source);
        self.list(List::Tags, &genai.tags);
    }

    fn resource(&mut self, resource_id: i64, service: &'b str) -> u32 {
        if let Some(place) = self.resources.get(&resource_id) {
            return *place;
        }
        let service = self.place_of(service);
        let place = u32::try_from(self.block.resource_ids.len()).unwrap_or(u32::MAX);
        self.block.resource_ids.push(resource_id.cast_unsigned());
        self.block.resource_services.push(service);
        self.resources.insert(resource_id, place);
        place
    }

    fn place_of(&mut self, text: &'b str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        // Place 0 stands for absent.
        let next = u32::try_from(self.texts.len() + 1).unwrap_or(u32::MAX);
        *self.texts.entry(text).or_insert(next)
    }

    fn text(&mut self, column: Text, text: Option<&'b str>) {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return;
        };
        let place = self.place_of(text);
        let index = column as usize;
        if self.text_columns.len() <= index {
            self.text_columns.resize_with(index + 1, Vec::new);
        }
        if let Some(values) = self.text_columns.get_mut(index) {
            // Spans before this one had no value.
            values.resize(self.spans as usize, 0);
            values.push(place);
        }
    }

    fn int(&mut self, column: Int, value: Option<i64>) {
        let Some(value) = value else { return };
        let index = column as usize;
        if self.int_columns.len() <= index {
            self.int_columns.resize_with(index + 1, IntColumn::default);
        }
        if let Some(values) = self.int_columns.get_mut(index) {
            values.places.push(self.spans);
            values.values.push(value);
        }
    }

    fn list(&mut self, column: List, texts: &'b [Cow<'b, str>]) {
        for text in texts {
            let value = self.place_of(text);
            let index = column as usize;
            if self.list_columns.len() <= index {
                self.list_columns
                    .resize_with(index + 1, ListColumn::default);
            }
            if let Some(lists) = self.list_columns.get_mut(index) {
                lists.places.push(self.spans);
                lists.values.push(value);
            }
        }
    }

    /// Ends the block and answers its encoded columns. The builder is as new then.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut done = std::mem::take(self);
        let block = &mut done.block;
        let start_min = block.starts.iter().copied().min().unwrap_or(0);
        block.start_min = start_min.cast_signed();
        for start in &mut block.starts {
            *start -= start_min;
        }
        let mut texts: Vec<(u32, &str)> = done
            .texts
            .iter()
            .map(|(text, place)| (*place, *text))
            .collect();
        texts.sort_unstable();
        block.texts.push(String::new());
        block
            .texts
            .extend(texts.into_iter().map(|(_, text)| text.to_owned()));
        block.text_columns = (0..)
            .zip(done.text_columns)
            .filter(|(_, values)| !values.is_empty())
            .map(|(column, values)| TextColumn { column, values })
            .collect();
        block.int_columns = (0..)
            .zip(done.int_columns)
            .filter(|(_, values)| !values.places.is_empty())
            .map(|(column, values)| IntColumn { column, ..values })
            .collect();
        block.list_columns = (0..)
            .zip(done.list_columns)
            .filter(|(_, lists)| !lists.places.is_empty())
            .map(|(column, lists)| ListColumn { column, ..lists })
            .collect();
        block.encode_to_vec()
    }
}
