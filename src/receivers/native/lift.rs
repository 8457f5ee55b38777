//! A stored span as native clients have it: the attributes that `Span.gen_ai` has a field for, in that
//! field. Undoes what [`crate::otlp::protobuf::as_otlp`] does.

use super::proto::any_value::Value;
use super::proto::{GenAi, KeyValue, Span};

/// Takes out of the attributes what `gen_ai` has a field for. Sent again, the span has the same
/// attributes: what no field can hold exactly stays where it is. Of equal keys the last counts, so only
/// that one is taken.
pub fn lift(span: &mut Span) {
    let mut gen_ai = GenAi::default();
    let mut known: Vec<String> = Vec::new();
    let attributes = std::mem::take(&mut span.attributes);
    let mut kept = Vec::with_capacity(attributes.len());
    for attribute in attributes.into_iter().rev() {
        let Some(field) = field(&mut gen_ai, &attribute.key) else {
            kept.push(attribute);
            continue;
        };
        if known.contains(&attribute.key) {
            kept.push(attribute);
            continue;
        }
        known.push(attribute.key.clone());
        if let Err(value) = field.put(attribute.value.and_then(|value| value.value)) {
            kept.push(KeyValue {
                key: attribute.key,
                value: value.map(|value| super::proto::AnyValue { value: Some(value) }),
            });
        }
    }
    kept.reverse();
    span.attributes = kept;
    tidy(&mut gen_ai);
    span.gen_ai = (gen_ai != GenAi::default()).then_some(gen_ai);
}

/// Messages without anything in them are none.
pub fn tidy(gen_ai: &mut GenAi) {
    fn tidied<T: Default + PartialEq>(message: &mut Option<T>) {
        if message.as_ref() == Some(&T::default()) {
            *message = None;
        }
    }
    tidied(&mut gen_ai.usage);
    tidied(&mut gen_ai.cost);
    tidied(&mut gen_ai.agent);
    tidied(&mut gen_ai.tool);
}

/// A field that an attribute stands for.
enum Field<'a> {
    Text(&'a mut String),
    Texts(&'a mut Vec<String>),
    Flag(&'a mut Option<bool>),
    Count(&'a mut Option<u64>),
    /// In billionths; the attribute has the whole.
    Billionths(&'a mut Option<u64>),
}

/// The field of an attribute.
fn field<'a>(gen_ai: &'a mut GenAi, key: &str) -> Option<Field<'a>> {
    Some(match key {
        "gen_ai.operation.name" => Field::Text(&mut gen_ai.operation),
        "gen_ai.provider.name" => Field::Text(&mut gen_ai.provider),
        "gen_ai.request.model" => Field::Text(&mut gen_ai.request_model),
        "gen_ai.response.model" => Field::Text(&mut gen_ai.response_model),
        "gen_ai.response.id" => Field::Text(&mut gen_ai.response_id),
        "gen_ai.response.finish_reasons" => Field::Texts(&mut gen_ai.finish_reasons),
        "gen_ai.request.stream" => Field::Flag(&mut gen_ai.streaming),
        "gen_ai.response.time_to_first_chunk" => {
            Field::Billionths(&mut gen_ai.time_to_first_token_ns)
        }
        "session.id" => Field::Text(&mut gen_ai.session_id),
        "user.id" => Field::Text(&mut gen_ai.user_id),
        "pulse.tags" => Field::Texts(&mut gen_ai.tags),
        "gen_ai.input.messages" => Field::Text(&mut gen_ai.input_messages),
        "gen_ai.output.messages" => Field::Text(&mut gen_ai.output_messages),
        "gen_ai.system_instructions" => Field::Text(&mut gen_ai.system_instructions),
        "gen_ai.tool.definitions" => Field::Text(&mut gen_ai.tool_definitions),
        _ => return inner_field(gen_ai, key),
    })
}

/// The field of an attribute in one of the messages of `gen_ai`.
fn inner_field<'a>(gen_ai: &'a mut GenAi, key: &str) -> Option<Field<'a>> {
    if let Some(of_usage) = key.strip_prefix("gen_ai.usage.") {
        if let "cost" | "input_cost" | "output_cost" = of_usage {
            let cost = gen_ai.cost.get_or_insert_default();
            return Some(Field::Billionths(match of_usage {
                "cost" => &mut cost.total_nano_usd,
                "input_cost" => &mut cost.input_nano_usd,
                _ => &mut cost.output_nano_usd,
            }));
        }
        let usage = gen_ai.usage.get_or_insert_default();
        return Some(Field::Count(match of_usage {
            "input_tokens" => &mut usage.input_tokens,
            "output_tokens" => &mut usage.output_tokens,
            "cache_read.input_tokens" => &mut usage.cache_read_tokens,
            "cache_creation.input_tokens" => &mut usage.cache_write_tokens,
            "reasoning.output_tokens" => &mut usage.reasoning_tokens,
            "audio.input_tokens" => &mut usage.audio_input_tokens,
            "audio.output_tokens" => &mut usage.audio_output_tokens,
            "image.input_tokens" => &mut usage.image_input_tokens,
            "image.output_tokens" => &mut usage.image_output_tokens,
            _ => return None,
        }));
    }
    if let Some(of_agent) = key.strip_prefix("gen_ai.agent.") {
        let agent = gen_ai.agent.get_or_insert_default();
        return Some(Field::Text(match of_agent {
            "name" => &mut agent.name,
            "id" => &mut agent.id,
            _ => return None,
        }));
    }
    let of_tool = key.strip_prefix("gen_ai.tool.")?;
    let tool = gen_ai.tool.get_or_insert_default();
    Some(Field::Text(match of_tool {
        "name" => &mut tool.name,
        "call.id" => &mut tool.call_id,
        "call.arguments" => &mut tool.arguments,
        "call.result" => &mut tool.result,
        _ => return None,
    }))
}

impl Field<'_> {
    /// Puts a value into the field; gives it back where that can't hold it exactly.
    fn put(self, value: Option<Value>) -> Result<(), Option<Value>> {
        match (self, value) {
            // An empty text says the same as none.
            (Self::Text(field), Some(Value::StringValue(text))) if !text.is_empty() => {
                *field = text;
            }
            (Self::Texts(field), Some(Value::ArrayValue(array))) if !array.values.is_empty() => {
                let texts = array.values.iter().map(|value| match &value.value {
                    Some(Value::StringValue(text)) => Some(text.clone()),
                    _ => None,
                });
                match texts.collect() {
                    Some(texts) => *field = texts,
                    None => return Err(Some(Value::ArrayValue(array))),
                }
            }
            (Self::Flag(field), Some(Value::BoolValue(flag))) => *field = Some(flag),
            (Self::Count(field), Some(Value::IntValue(count))) if count >= 0 => {
                *field = Some(count.cast_unsigned());
            }
            (Self::Billionths(field), Some(Value::DoubleValue(number))) => {
                match billionths(number) {
                    Some(count) => *field = Some(count),
                    None => return Err(Some(Value::DoubleValue(number))),
                }
            }
            (_, value) => return Err(value),
        }
        Ok(())
    }
}

/// Billionths, where they become the same number again.
fn billionths(number: f64) -> Option<u64> {
    // Numbers up to here have all their digits before the point.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let billionths = (number * 1e9).round();
    let is_same = number.is_sign_positive() && billionths / 1e9 == number;
    if !is_same || billionths > EXACT_MAX {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number from zero to 2^53"
    )]
    Some(billionths as u64)
}

#[cfg(test)]
mod tests;
