//! Prices of the configuration.

use serde::{Deserialize, Serialize};

use super::compute::{Kind, Price, Rate, Rates, pico};
use super::table::day_of;

/// One entry of `processors.pricing.overrides`: what calls of some model cost, in USD per million
/// tokens, or which model of the built-in table they are priced as. Of entries for one model the
/// last that is valid at the start of the call counts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Canonical name of the provider; any when absent.
    #[serde(default)]
    pub provider: Option<String>,
    /// Name of the model as spans have it, without case; a `*` at the end stands for any rest.
    pub model: String,
    /// First day (UTC, `YYYY-MM-DD`) it is valid; always when absent.
    #[serde(default)]
    pub from: Option<String>,
    /// The model of the built-in table whose prices are taken, as `model` or `provider/model`.
    #[serde(default)]
    pub priced_as: Option<String>,
    /// Input.
    #[serde(default)]
    pub input: Option<f64>,
    /// Output.
    #[serde(default)]
    pub output: Option<f64>,
    /// Input read from a cache; as input when absent.
    #[serde(default)]
    pub cache_read: Option<f64>,
    /// Input written to a cache; as input when absent.
    #[serde(default)]
    pub cache_write: Option<f64>,
    /// Input written to a cache for an hour; as other writes when absent.
    #[serde(default)]
    pub cache_write_1h: Option<f64>,
    /// Audio input; as input when absent.
    #[serde(default)]
    pub input_audio: Option<f64>,
    /// Audio output; as output when absent.
    #[serde(default)]
    pub output_audio: Option<f64>,
    /// Image input; as input when absent.
    #[serde(default)]
    pub input_image: Option<f64>,
    /// Image output; as output when absent.
    #[serde(default)]
    pub output_image: Option<f64>,
    /// Reasoning; as output when absent.
    #[serde(default)]
    pub reasoning: Option<f64>,
    /// Each request, in USD per thousand.
    #[serde(default)]
    pub requests: Option<f64>,
    /// Rates of calls with a large input.
    #[serde(default)]
    pub long_context: Option<LongContext>,
}

/// Rates of all tokens of calls with a large input, in USD per million tokens.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongContext {
    /// Input tokens, cached ones included, above which they are valid.
    pub above: u32,
    /// Input.
    #[serde(default)]
    pub input: Option<f64>,
    /// Output.
    #[serde(default)]
    pub output: Option<f64>,
    /// Input read from a cache.
    #[serde(default)]
    pub cache_read: Option<f64>,
    /// Input written to a cache.
    #[serde(default)]
    pub cache_write: Option<f64>,
}

/// Why an entry is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It names no model.
    #[error("a price needs the name of a model")]
    NoModel,
    /// It says nothing about the price.
    #[error("\"{0}\" has neither rates nor priced_as")]
    NoRates(String),
    /// It has rates beside `priced_as`.
    #[error("\"{0}\" has rates and priced_as; one of them is meant")]
    Both(String),
    /// A rate is negative, not a number or above 1 USD per token.
    #[error("\"{model}\": {rate} is not a price in USD per million tokens")]
    Rate {
        /// The model.
        model: String,
        /// The rate, as it was written.
        rate: String,
    },
    /// The date is none.
    #[error("\"{model}\": from is \"{date}\", expected YYYY-MM-DD")]
    Date {
        /// The model.
        model: String,
        /// The date, as it was written.
        date: String,
    },
}

/// The entries, checked.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    entries: Vec<Entry>,
    /// Names the entries, so that a row tells which it was priced with.
    pub(super) version: String,
    /// As configured.
    pub(super) listed: Vec<Override>,
}

/// Entries for one model of one provider.
#[derive(Debug)]
pub(super) struct Entry {
    provider: Option<String>,
    model: String,
    is_prefix: bool,
    priced_as: Option<String>,
    prices: Vec<Price>,
}

impl Compiled {
    pub(super) fn new(overrides: &[Override]) -> Result<Self, Error> {
        let mut entries: Vec<Entry> = Vec::new();
        for one in overrides {
            let price = one.price()?;
            let (model, is_prefix) = match one.model.strip_suffix('*') {
                Some(prefix) => (prefix, true),
                None => (one.model.as_str(), false),
            };
            let entry = Entry {
                provider: one.provider.clone(),
                model: model.to_ascii_lowercase(),
                is_prefix,
                priced_as: one.priced_as.clone(),
                prices: vec![price],
            };
            match entries.iter_mut().find(|known| known.continues(&entry)) {
                Some(known) => known.prices.extend(entry.prices),
                None => entries.push(entry),
            }
        }
        let text = serde_json::to_vec(overrides).unwrap_or_default();
        Ok(Self {
            entries,
            version: format!("config-{:08x}", crc32fast::hash(&text)),
            listed: overrides.to_vec(),
        })
    }

    pub(super) fn find(&self, provider: Option<&str>, model: &str) -> Option<&Entry> {
        let is_meant = |entry: &&Entry| {
            let head = if entry.is_prefix {
                model.get(..entry.model.len())
            } else {
                Some(model)
            };
            entry
                .provider
                .as_deref()
                .is_none_or(|named| provider == Some(named))
                && head.is_some_and(|head| head.eq_ignore_ascii_case(&entry.model))
        };
        self.entries.iter().find(is_meant)
    }
}

impl Entry {
    /// Whether another entry is the same model's at another time.
    fn continues(&self, other: &Self) -> bool {
        self.priced_as.is_none()
            && other.priced_as.is_none()
            && (&self.provider, &self.model, self.is_prefix)
                == (&other.provider, &other.model, other.is_prefix)
    }

    pub(super) fn priced_as(&self) -> Option<&str> {
        self.priced_as.as_deref()
    }

    pub(super) fn prices(&self) -> &[Price] {
        &self.prices
    }
}

impl Override {
    fn price(&self) -> Result<Price, Error> {
        let model = || self.model.clone();
        if self.model.trim_end_matches('*').trim().is_empty() {
            return Err(Error::NoModel);
        }
        let mut rates = Vec::new();
        for (kind, above, rate) in self.listed() {
            let Some(rate) = rate else { continue };
            let pico = pico(kind, rate).ok_or_else(|| Error::Rate {
                model: model(),
                rate: rate.to_string(),
            })?;
            rates.push(Rate { kind, above, pico });
        }
        match (&self.priced_as, rates.is_empty()) {
            (None, true) => return Err(Error::NoRates(model())),
            (Some(_), false) => return Err(Error::Both(model())),
            _ => {}
        }
        let day = |date: &String| {
            day_of(date).ok_or_else(|| Error::Date {
                model: model(),
                date: date.clone(),
            })
        };
        Ok(Price {
            from_day: self.from.as_ref().map(day).transpose()?,
            hours: None,
            rates: Rates(rates),
        })
    }

    fn listed(&self) -> impl Iterator<Item = (Kind, i64, Option<f64>)> {
        let base = [
            (Kind::Input, self.input),
            (Kind::Output, self.output),
            (Kind::CacheRead, self.cache_read),
            (Kind::CacheWrite, self.cache_write),
            (Kind::CacheWrite1h, self.cache_write_1h),
            (Kind::InputAudio, self.input_audio),
            (Kind::OutputAudio, self.output_audio),
            (Kind::InputImage, self.input_image),
            (Kind::OutputImage, self.output_image),
            (Kind::Reasoning, self.reasoning),
            (Kind::Request, self.requests),
        ];
        let long = self.long_context.iter().flat_map(|long| {
            let above = i64::from(long.above);
            [
                (Kind::Input, above, long.input),
                (Kind::Output, above, long.output),
                (Kind::CacheRead, above, long.cache_read),
                (Kind::CacheWrite, above, long.cache_write),
            ]
        });
        base.into_iter()
            .map(|(kind, rate)| (kind, -1, rate))
            .chain(long)
    }
}
