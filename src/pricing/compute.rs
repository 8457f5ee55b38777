//! Rates, when they are valid, and what they come to.

use super::Call;

/// Pico-USD per token in one USD per million tokens.
const PICO_PER_USD_PER_MILLION: f64 = 1e6;
/// Pico-USD per request in one USD per thousand requests.
const PICO_PER_USD_PER_THOUSAND: f64 = 1e9;
/// A rate beyond it is a mistake: 1 USD per token.
const PICO_MAX: f64 = 1e12;

const NS_PER_MINUTE: u64 = 60 * 1_000_000_000;
const MINUTES_PER_DAY: u64 = 24 * 60;

/// What a rate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Input,
    Output,
    CacheRead,
    CacheWrite,
    CacheWrite1h,
    InputAudio,
    OutputAudio,
    InputImage,
    OutputImage,
    Reasoning,
    Request,
}

impl Kind {
    /// As the configuration names it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::CacheRead => "cache_read",
            Self::CacheWrite => "cache_write",
            Self::CacheWrite1h => "cache_write_1h",
            Self::InputAudio => "input_audio",
            Self::OutputAudio => "output_audio",
            Self::InputImage => "input_image",
            Self::OutputImage => "output_image",
            Self::Reasoning => "reasoning",
            Self::Request => "requests",
        }
    }
}

/// One rate, for calls with more input tokens than `above`; the base rate is above -1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) kind: Kind,
    pub(super) above: i64,
    /// Pico-USD per token, or per request.
    pub(super) pico: u64,
}

/// The rates of a model at some time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rates(pub(super) Vec<Rate>);

/// Rates, and when they are valid.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Price {
    /// First day (UTC), days since the Unix epoch.
    pub(super) from_day: Option<u64>,
    /// Minutes of the day (UTC) between which they are valid; the second may be the smaller one.
    pub(super) hours: Option<(u64, u64)>,
    pub(super) rates: Rates,
}

/// How fast, or how cheaply, an answer was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceTier {
    /// In a batch, within hours.
    Batch,
    /// The ordinary tier, named as such.
    Default,
    /// Slower and cheaper.
    Flex,
    /// Faster and dearer.
    Priority,
    /// Faster and dearer, by another name.
    Fast,
}

impl ServiceTier {
    /// Reads what providers say.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let known = [
            ("batch", Self::Batch),
            ("default", Self::Default),
            ("flex", Self::Flex),
            ("priority", Self::Priority),
            ("fast", Self::Fast),
        ];
        known
            .into_iter()
            .find(|(name, _)| text.eq_ignore_ascii_case(name))
            .map(|(_, tier)| tier)
    }

    /// Lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Default => "default",
            Self::Flex => "flex",
            Self::Priority => "priority",
            Self::Fast => "fast",
        }
    }
}

/// A published rate as a rate of ours; `None` when it is negative, not finite or absurd.
pub(super) fn pico(kind: Kind, published: f64) -> Option<u64> {
    let scale = if kind == Kind::Request {
        PICO_PER_USD_PER_THOUSAND
    } else {
        PICO_PER_USD_PER_MILLION
    };
    let pico = (published * scale).round();
    if !(0.0..=PICO_MAX).contains(&pico) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, and within the bounds just checked"
    )]
    Some(pico as u64)
}

impl Rates {
    /// The rate for calls of this many input tokens.
    fn get(&self, kind: Kind, input: i64) -> Option<u64> {
        self.0
            .iter()
            .filter(|rate| rate.kind == kind && input > rate.above)
            .max_by_key(|rate| rate.above)
            .map(|rate| rate.pico)
    }

    /// These rates, with those of others in place of what both have.
    pub(super) fn replaced_by(mut self, others: &Self) -> Self {
        self.0
            .retain(|rate| !others.0.iter().any(|other| other.kind == rate.kind));
        self.0.extend(&others.0);
        self
    }
}

impl Price {
    pub(super) fn is_valid_at(&self, unix_nano: u64) -> bool {
        let minute = unix_nano / NS_PER_MINUTE;
        let of_day = minute % MINUTES_PER_DAY;
        self.from_day
            .is_none_or(|day| minute / MINUTES_PER_DAY >= day)
            && self.hours.is_none_or(|(from, to)| {
                if from <= to {
                    (from..to).contains(&of_day)
                } else {
                    of_day >= from || of_day < to
                }
            })
    }
}

/// The last of the prices that is valid, else the first.
pub(super) fn valid_at(prices: &[Price], unix_nano: u64) -> Option<&Price> {
    prices
        .iter()
        .rev()
        .find(|price| price.is_valid_at(unix_nano))
        .or_else(|| prices.first())
}

/// Amounts in nano-USD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amounts {
    /// Absent when the input is not known.
    pub(super) input: Option<i64>,
    /// Absent when the output is not known.
    pub(super) output: Option<i64>,
    /// Both, and what the request itself costs.
    pub(super) total: i64,
}

/// What usage comes to.
pub(super) fn amounts(rates: &Rates, call: &Call<'_>) -> Amounts {
    let (usage, cache_write_1h) = (&call.usage, call.cache_write_1h);
    // How long each of several calls was is not known; most are short.
    let size = usage.input.filter(|_| !call.is_sum).unwrap_or(0);
    let rate = |kind| rates.get(kind, size);
    let input = usage.input.map(|input| {
        let written = positive(usage.cache_write);
        let long = positive(cache_write_1h).min(written);
        let long_rate = rate(Kind::CacheWrite1h).or(rate(Kind::CacheWrite));
        sum(
            input,
            rate(Kind::Input),
            &[
                (positive(usage.cache_read), rate(Kind::CacheRead)),
                (written - long, rate(Kind::CacheWrite)),
                (long, long_rate),
                (positive(usage.audio_in), rate(Kind::InputAudio)),
                (positive(usage.image_in), rate(Kind::InputImage)),
            ],
        )
    });
    let output = usage.output.map(|output| {
        sum(
            output,
            rate(Kind::Output),
            &[
                (positive(usage.reasoning), rate(Kind::Reasoning)),
                (positive(usage.audio_out), rate(Kind::OutputAudio)),
                (positive(usage.image_out), rate(Kind::OutputImage)),
            ],
        )
    });
    let request = nano(rate(Kind::Request).map_or(0, i128::from));
    Amounts {
        input,
        output,
        total: input
            .unwrap_or(0)
            .saturating_add(output.unwrap_or(0))
            .saturating_add(request),
    }
}

fn positive(count: Option<i64>) -> i64 {
    count.unwrap_or(0).max(0)
}

/// Nano-USD of so many tokens, of which some have a rate of their own. Parts that overlap, or are
/// more than the whole, take no more than there is.
fn sum(tokens: i64, rate: Option<u64>, parts: &[(i64, Option<u64>)]) -> i64 {
    let mut plain = tokens.max(0);
    let mut pico = 0_i128;
    for (count, own) in parts {
        if let Some(own) = own {
            let count = (*count).min(plain);
            plain -= count;
            pico += i128::from(count) * i128::from(*own);
        }
    }
    pico += i128::from(plain) * i128::from(rate.unwrap_or(0));
    nano(pico)
}

/// Rounds half up.
fn nano(pico: i128) -> i64 {
    i64::try_from((pico + 500) / 1000).unwrap_or(i64::MAX)
}
