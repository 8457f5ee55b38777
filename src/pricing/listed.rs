//! What the table says about a model, for people.

use super::compute::{Kind, Price, Rates, ServiceTier, valid_at};
use super::{BUILTIN, Known, Override, Table, find};

/// What a model costs, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Whether an entry of the configuration says so.
    pub is_configured: bool,
    /// Version of the prices, as rows have it.
    pub version: String,
    /// The model whose prices are taken, where the configuration names another.
    pub priced_as: Option<String>,
    /// Rates of the ordinary tier, oldest first; then those of other tiers.
    pub prices: Vec<ListedPrice>,
}

/// Rates, and when they are valid.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedPrice {
    /// Service tier; absent for the ordinary one. Other tiers have only the rates that differ.
    pub tier: Option<&'static str>,
    /// First day (UTC), `YYYY-MM-DD`; always when absent.
    pub from_date: Option<String>,
    /// First time of the day (UTC), `HH:MM`.
    pub from_hour: Option<String>,
    /// First time of the day (UTC) after it; may be the smaller one.
    pub to_hour: Option<String>,
    /// Whether they are the ones in use at the time asked for.
    pub in_use: bool,
    /// The rates.
    pub rates: Vec<ListedRate>,
}

/// One rate.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedRate {
    /// What it is for: `input`, `output`, `cache_read`, `cache_write`, `cache_write_1h`,
    /// `input_audio`, `output_audio`, `input_image`, `output_image`, `reasoning` or `requests`.
    pub kind: &'static str,
    /// For calls with more input tokens than this; for all when absent.
    pub above: Option<i64>,
    /// US dollars.
    pub usd: f64,
    /// For how many units.
    pub per: u32,
    /// `tokens` or `requests`.
    pub unit: &'static str,
}

impl Table {
    /// Whether costs are computed at all.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        !self.disabled
    }

    /// The entries of the configuration, in their order.
    #[must_use]
    pub fn overrides(&self) -> &[Override] {
        &self.overrides.listed
    }

    /// Version of the entries of the configuration.
    #[must_use]
    pub fn overrides_version(&self) -> &str {
        &self.overrides.version
    }

    /// What a provider's model costs at a time (ns since the Unix epoch); `None` without a price.
    #[must_use]
    pub fn look_up(&self, provider: Option<&str>, model: &str, unix_nano: u64) -> Option<Listed> {
        if self.disabled {
            return None;
        }
        let listed = |prices: &[Price]| {
            let used = valid_at(prices, unix_nano);
            let of = |price: &Price| {
                ListedPrice::new(
                    price,
                    None,
                    used.is_some_and(|used| std::ptr::eq(used, price)),
                )
            };
            prices.iter().map(of).collect::<Vec<_>>()
        };
        let found = match find(self, provider, model) {
            Known::Unknown => return None,
            Known::Configured(entry) => {
                return Some(Listed {
                    is_configured: true,
                    version: self.overrides.version.clone(),
                    priced_as: None,
                    prices: listed(entry.prices()),
                });
            }
            Known::Renamed(found) | Known::Listed(found) => found,
        };
        let renamed = self
            .overrides
            .find(provider, model)
            .and_then(|entry| entry.priced_as());
        let mut prices = listed(&found.model().prices);
        // Tiers are those of the provider itself.
        let variants = found.model().variants.iter().filter(|_| found.own);
        prices.extend(variants.map(|variant| {
            let in_use = variant.price.is_valid_at(unix_nano);
            ListedPrice::new(&variant.price, Some(variant.when), in_use)
        }));
        Some(Listed {
            is_configured: renamed.is_some(),
            version: if renamed.is_some() {
                self.overrides.version.clone()
            } else {
                BUILTIN.version.to_owned()
            },
            priced_as: renamed.map(str::to_owned),
            prices,
        })
    }
}

impl ListedPrice {
    fn new(price: &Price, tier: Option<ServiceTier>, in_use: bool) -> Self {
        let hour = |minute: u64| format!("{:02}:{:02}", minute / 60, minute % 60);
        Self {
            tier: tier.map(ServiceTier::as_str),
            from_date: price.from_day.map(date),
            from_hour: price.hours.map(|(from, _)| hour(from)),
            to_hour: price.hours.map(|(_, to)| hour(to)),
            in_use,
            rates: rates(&price.rates),
        }
    }
}

/// A day, counted from the Unix epoch, as `YYYY-MM-DD`.
fn date(day: u64) -> String {
    let epoch = jiff::civil::Date::constant(1970, 1, 1);
    let days = i32::try_from(day).unwrap_or(i32::MAX);
    let date = jiff::Span::new()
        .try_days(days)
        .and_then(|span| epoch.checked_add(span));
    // Every day of the table was read from such a date.
    date.map_or_else(|_| String::new(), |date| date.to_string())
}

fn rates(rates: &Rates) -> Vec<ListedRate> {
    let listed = rates.0.iter().map(|rate| {
        let (per, unit, scale) = match rate.kind {
            Kind::Request => (1_000, "requests", 1e9),
            _ => (1_000_000, "tokens", 1e6),
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate has fewer digits than a double"
        )]
        let usd = rate.pico as f64 / scale;
        ListedRate {
            kind: rate.kind.as_str(),
            above: (rate.above >= 0).then_some(rate.above),
            usd,
            per,
            unit,
        }
    });
    listed.collect()
}
