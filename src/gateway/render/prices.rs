//! What model calls cost.

use serde::Serialize;

use crate::pricing::{Listed, ListedPrice, Override, Table};

/// The prices in use.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct Prices<'t> {
    enabled: bool,
    builtin_version: &'static str,
    overrides_version: Option<&'t str>,
    overrides: &'t [Override],
    project_overrides: &'t [Override],
    /// What was looked up; `null` when nothing was.
    found: Option<Found>,
}

/// The entries of a project.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct PriceOverrides {
    pub(in crate::gateway) overrides: Vec<Override>,
}

/// What a model costs.
#[derive(Debug, Serialize)]
struct Found {
    provider: Option<String>,
    model: String,
    /// `configured` or `builtin`; `null` when the model has no price.
    source: Option<&'static str>,
    version: Option<String>,
    priced_as: Option<String>,
    prices: Vec<Price>,
    tiers: Vec<Price>,
}

/// Rates, and when they are valid.
#[derive(Debug, Serialize)]
struct Price {
    tier: Option<&'static str>,
    from_date: Option<String>,
    from_hour: Option<String>,
    to_hour: Option<String>,
    in_use: bool,
    rates: Vec<Rate>,
}

/// One rate.
#[derive(Debug, Serialize)]
struct Rate {
    kind: &'static str,
    above_input_tokens: Option<i64>,
    usd: f64,
    per: u32,
    unit: &'static str,
}

impl<'t> Prices<'t> {
    /// The table, the entries of the configuration and those of the project before them, and what
    /// was found for a provider and a model.
    pub(in crate::gateway) fn new(
        table: &'t Table,
        configured: &'t [Override],
        own: &'t [Override],
        asked: Option<(Option<String>, String, Option<Listed>)>,
    ) -> Self {
        Self {
            enabled: table.is_enabled(),
            builtin_version: Table::version(),
            overrides_version: (!table.overrides().is_empty()).then(|| table.overrides_version()),
            overrides: configured,
            project_overrides: own,
            found: asked.map(|(provider, model, listed)| Found::new(provider, model, listed)),
        }
    }
}

impl Found {
    fn new(provider: Option<String>, model: String, listed: Option<Listed>) -> Self {
        let Some(listed) = listed else {
            return Self {
                provider,
                model,
                source: None,
                version: None,
                priced_as: None,
                prices: Vec::new(),
                tiers: Vec::new(),
            };
        };
        let prices = listed.prices.into_iter();
        let (prices, tiers) = prices
            .map(Price::from)
            .partition(|price: &Price| price.tier.is_none());
        Self {
            provider,
            model,
            source: Some(if listed.is_configured {
                "configured"
            } else {
                "builtin"
            }),
            version: Some(listed.version),
            priced_as: listed.priced_as,
            prices,
            tiers,
        }
    }
}

impl From<ListedPrice> for Price {
    fn from(price: ListedPrice) -> Self {
        let rates = price.rates.into_iter().map(|rate| Rate {
            kind: rate.kind,
            above_input_tokens: rate.above,
            usd: rate.usd,
            per: rate.per,
            unit: rate.unit,
        });
        Self {
            tier: price.tier,
            from_date: price.from_date,
            from_hour: price.from_hour,
            to_hour: price.to_hour,
            in_use: price.in_use,
            rates: rates.collect(),
        }
    }
}
