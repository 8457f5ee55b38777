//! What a model call costs. Pure: a property of provider, model, usage and start time alone, so
//! that a replay of the log gives the same amount.
//!
//! The built-in table (`config/prices.json`, dated, written by `config/prices.py` from the
//! genai-prices data) lists rates in USD per million tokens by provider and model. Entries of the
//! configuration come before it. Amounts are integer nano-USD: rates are kept in pico-USD per
//! token, sums are exact, and each of input and output is rounded once, half up.
//!
//! - *Model*: the one that answered, else the one asked for. Names are compared without case,
//!   resource paths, `models/` and, where nothing matches otherwise, with their date rewritten; the
//!   table lists date suffixes and aliases.
//! - *Provider*: canonical names of [`crate::semconv`]. Without one, the model's maker is taken. A
//!   provider that is not in the table has no prices, since the same open model costs something
//!   else everywhere. Clients of OpenAI's protocol often say `openai` whoever answers: models that
//!   only one maker sells are priced as that maker's.
//! - *Time*: the rates valid at the start of the span, by day and, where a provider has them, by
//!   hour (UTC).
//! - *Size*: where rates depend on the size of the prompt, all of the call's tokens have the rate
//!   of its input, cached tokens included.
//! - *Cached, audio and reasoning tokens* have their own rate where the table has one, and else
//!   count as plain input or output. Cache writes that live an hour have a rate of their own.
//! - *Service tier*: batch, flex, priority and fast, where the table has such rates.

mod book;
mod compute;
mod listed;
mod name;
mod overrides;
mod table;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

pub use book::Book;
pub use compute::ServiceTier;
use compute::{Price, Rates};
pub use listed::{Listed, ListedPrice, ListedRate};
pub use name::without_date;
pub use overrides::{Error, LongContext, Override};
use table::{Builtin, Found};

use crate::model::genai::{Cost, CostSource, Usage};

/// Lookups remembered by a [`Pricer`]; beyond it all are forgotten, so that a client that invents
/// model names can't fill the memory.
const REMEMBERED_MAX: usize = 1024;

static BUILTIN: LazyLock<Builtin> = LazyLock::new(Builtin::read);
static BUILTIN_ALONE: LazyLock<Table> = LazyLock::new(Table::default);

/// The prices: what is configured, then the built-in table. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Table {
    overrides: Arc<overrides::Compiled>,
    disabled: bool,
}

/// A model call, as far as its price goes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Call<'c> {
    /// Canonical name of the provider.
    pub provider: Option<&'c str>,
    /// The model that answered.
    pub response_model: Option<&'c str>,
    /// The model asked for.
    pub request_model: Option<&'c str>,
    /// Tokens.
    pub usage: Usage,
    /// Whether the tokens are those of several calls: rates for long inputs are for long calls, not
    /// for many.
    pub is_sum: bool,
    /// Of the tokens written to the cache, those kept for an hour.
    pub cache_write_1h: Option<i64>,
    /// Service tier of the answer.
    pub tier: Option<ServiceTier>,
    /// Start of the call, ns since the Unix epoch.
    pub start_unix_nano: u64,
}

impl Table {
    /// The built-in table with entries before it.
    ///
    /// # Errors
    /// An entry is not usable.
    pub fn new(overrides: &[Override]) -> Result<Self, Error> {
        Ok(Self {
            overrides: Arc::new(overrides::Compiled::new(overrides)?),
            disabled: false,
        })
    }

    /// This table with other entries before its own.
    ///
    /// # Errors
    /// An entry is not usable.
    pub fn before(&self, overrides: &[Override]) -> Result<Self, Error> {
        let all: Vec<_> = overrides.iter().chain(self.overrides()).cloned().collect();
        Ok(Self {
            disabled: self.disabled,
            ..Self::new(&all)?
        })
    }

    /// The built-in table alone.
    #[must_use]
    pub fn builtin() -> &'static Self {
        &BUILTIN_ALONE
    }

    /// A table that computes nothing: only what clients report is known.
    #[must_use]
    pub fn disabled() -> Self {
        Self {
            disabled: true,
            ..Self::default()
        }
    }

    /// Version of the built-in table.
    #[must_use]
    pub fn version() -> &'static str {
        BUILTIN.version
    }
}

/// What a name was found to cost.
#[derive(Debug, Clone, Copy)]
enum Known<'t> {
    Configured(&'t overrides::Entry),
    /// Priced by the built-in table under the version of the configuration, which named it.
    Renamed(Found),
    Listed(Found),
    Unknown,
}

/// Looks prices up and remembers what it found.
#[derive(Debug)]
pub struct Pricer<'t> {
    table: &'t Table,
    remembered: HashMap<String, Known<'t>>,
    key: String,
}

impl<'t> Pricer<'t> {
    /// Starts with nothing remembered.
    #[must_use]
    pub fn new(table: &'t Table) -> Self {
        Self {
            table,
            remembered: HashMap::new(),
            key: String::new(),
        }
    }

    /// The cost of a call: computed, or unpriced when there are tokens and no price; empty when
    /// there is nothing to price.
    pub fn price(&mut self, call: &Call<'_>) -> Cost {
        let counts = [call.usage.input, call.usage.output];
        if self.table.disabled || counts.iter().flatten().all(|count| *count <= 0) {
            return Cost::default();
        }
        let models = [call.response_model, call.request_model];
        let known = models
            .into_iter()
            .flatten()
            .map(|model| self.find(call.provider, model))
            .find(|known| !matches!(known, Known::Unknown));
        let configured = || Cow::Owned(self.table.overrides.version.clone());
        let listed = || Cow::Borrowed(BUILTIN.version);
        match known {
            None | Some(Known::Unknown) => unpriced(),
            Some(Known::Configured(entry)) => {
                let price = compute::valid_at(entry.prices(), call.start_unix_nano);
                cost(price.map(|price| price.rates.clone()), call, configured)
            }
            Some(Known::Renamed(found)) => cost(found.rates(call), call, configured),
            Some(Known::Listed(found)) => cost(found.rates(call), call, listed),
        }
    }

    fn find(&mut self, provider: Option<&str>, model: &str) -> Known<'t> {
        self.key.clear();
        self.key.push_str(provider.unwrap_or_default());
        self.key.push('\n');
        self.key.push_str(model);
        if let Some(known) = self.remembered.get(self.key.as_str()) {
            return *known;
        }
        let known = find(self.table, provider, model);
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.clear();
        }
        self.remembered.insert(self.key.clone(), known);
        known
    }
}

fn find<'t>(table: &'t Table, provider: Option<&str>, model: &str) -> Known<'t> {
    if let Some(entry) = table.overrides.find(provider, model) {
        let Some(other) = entry.priced_as() else {
            return Known::Configured(entry);
        };
        return BUILTIN
            .find(provider, other)
            .map_or(Known::Unknown, Known::Renamed);
    }
    BUILTIN
        .find(provider, model)
        .map_or(Known::Unknown, Known::Listed)
}

fn unpriced() -> Cost {
    Cost {
        source: Some(CostSource::Unpriced),
        ..Cost::default()
    }
}

fn cost(
    rates: Option<Rates>,
    call: &Call<'_>,
    version: impl FnOnce() -> Cow<'static, str>,
) -> Cost {
    let Some(rates) = rates else {
        return unpriced();
    };
    let amounts = compute::amounts(&rates, call);
    Cost {
        input: amounts.input,
        output: amounts.output,
        total: Some(amounts.total),
        source: Some(CostSource::Computed),
        price_version: Some(version()),
    }
}

impl Found {
    /// The rates valid at the start of the call, in its service tier.
    fn rates(&self, call: &Call<'_>) -> Option<Rates> {
        let model = self.model();
        let price: &Price = compute::valid_at(&model.prices, call.start_unix_nano)?;
        let mut rates = price.rates.clone();
        // Tiers are those of the provider itself, not of one that sells the same models.
        if let Some(tier) = call.tier.filter(|_| self.own) {
            for variant in &model.variants {
                if variant.when == tier && variant.price.is_valid_at(call.start_unix_nano) {
                    rates = rates.replaced_by(&variant.price.rates);
                    break;
                }
            }
        }
        Some(rates)
    }
}

#[cfg(test)]
mod tests;
