//! The built-in table.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};

use super::compute::{Kind, Price, Rate, Rates, ServiceTier, pico};
use super::name::{self, Alternative};

const TEXT: &str = include_str!("../../config/prices.json");

/// Makers whose models nobody else serves under their own name, so that the model tells the price
/// whatever client library was used.
const CLOSED_MAKERS: [&str; 3] = ["anthropic", "google", "x-ai"];

/// The table.
#[derive(Debug, Default)]
pub(super) struct Builtin {
    pub(super) version: &'static str,
    providers: Vec<Provider>,
}

#[derive(Debug)]
struct Provider {
    id: &'static str,
    /// Names of the provider itself.
    named: Vec<Alternative>,
    /// Names of models that are its own.
    makes: Vec<Alternative>,
    /// Providers whose models it sells at their prices.
    also: Vec<&'static str>,
    models: Vec<Model>,
}

/// A model of a provider.
#[derive(Debug)]
pub(super) struct Model {
    named: Vec<Alternative>,
    pub(super) prices: Vec<Price>,
    pub(super) variants: Vec<Variant>,
}

/// Rates of a service tier, in place of those it has.
#[derive(Debug)]
pub(super) struct Variant {
    pub(super) when: ServiceTier,
    pub(super) price: Price,
}

/// Where a model is in the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    model: &'static Model,
    /// Whether the provider lists the model itself.
    pub(super) own: bool,
}

impl Found {
    pub(super) fn model(&self) -> &'static Model {
        self.model
    }
}

impl Builtin {
    /// Reads the table that was built in; a test has read it before.
    pub(super) fn read() -> Self {
        Self::parse(TEXT).unwrap_or_default()
    }

    pub(super) fn parse(text: &'static str) -> Result<Self, serde_json::Error> {
        let file: File<'static> = serde_json::from_str(text)?;
        let providers: Result<_, _> = file.providers.into_iter().map(Provider::new).collect();
        Ok(Self {
            version: file.version,
            providers: providers?,
        })
    }

    /// Number of models.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.providers.iter().map(|it| it.models.len()).sum()
    }

    /// Finds what a provider, whose canonical name is given, takes for a model.
    pub(super) fn find(&'static self, provider: Option<&str>, model: &str) -> Option<Found> {
        let model = name::reference(model);
        let Some(named) = provider else {
            let maker = || {
                let mut makers = self.providers.iter();
                let maker = makers.find(|it| name::is_named(&it.makes, &model))?;
                self.find_at(maker, &model)
            };
            // Some of its models have names of no pattern.
            let openai = || self.find_at(self.provider("openai")?, &model);
            return self.find_prefixed(&model).or_else(maker).or_else(openai);
        };
        let provider = self.provider(named)?;
        self.find_at(provider, &model)
            .or_else(|| self.find_prefixed(&model))
            .or_else(|| {
                let makers = self.providers.iter();
                let maker = makers
                    .filter(|it| named == "openai" && CLOSED_MAKERS.contains(&it.id))
                    .find(|it| name::is_named(&it.makes, &model))?;
                self.find_at(maker, &model)
            })
    }

    fn provider(&'static self, named: &str) -> Option<&'static Provider> {
        let id = name::provider_id(named);
        let by_id = self.providers.iter().find(|it| it.id == id);
        by_id.or_else(|| {
            let mut all = self.providers.iter();
            all.find(|it| name::is_named(&it.named, named))
        })
    }

    /// `provider/model`, as routers name models. The owner of an open model on Hugging Face is
    /// written the same way, so that only the very names of providers are taken.
    fn find_prefixed(&'static self, model: &str) -> Option<Found> {
        let (prefix, rest) = model.split_once('/')?;
        let id = name::provider_id(prefix);
        let provider = self.providers.iter().find(|it| it.id == id)?;
        self.find_at(provider, rest)
    }

    fn find_at(&'static self, provider: &'static Provider, model: &str) -> Option<Found> {
        let dashed = || self.find_named(provider, &name::dashed_date(model)?);
        let undated = || {
            let undated = name::without_date(model);
            (undated.len() < model.len()).then(|| self.find_named(provider, undated))?
        };
        self.find_named(provider, model)
            .or_else(dashed)
            .or_else(undated)
    }

    fn find_named(&'static self, provider: &'static Provider, model: &str) -> Option<Found> {
        let of = |provider: &'static Provider| {
            let mut models = provider.models.iter();
            models.find(|it| name::is_named(&it.named, model))
        };
        if let Some(model) = of(provider) {
            return Some(Found { model, own: true });
        }
        let others = provider.also.iter();
        others
            .filter_map(|id| self.providers.iter().find(|it| it.id == *id))
            .find_map(of)
            .map(|model| Found { model, own: false })
    }
}

/// The file.
#[derive(Deserialize)]
struct File<'t> {
    version: &'t str,
    #[serde(borrow)]
    providers: Vec<FileProvider<'t>>,
}

#[derive(Deserialize)]
struct FileProvider<'t> {
    id: &'t str,
    #[serde(borrow, default)]
    named: Vec<OneOrMany<'t>>,
    #[serde(borrow, default)]
    makes: Vec<OneOrMany<'t>>,
    #[serde(borrow, default)]
    also: Vec<&'t str>,
    #[serde(borrow)]
    models: Vec<FileModel<'t>>,
}

#[derive(Deserialize)]
struct FileModel<'t> {
    #[serde(borrow, rename = "match")]
    named: Vec<OneOrMany<'t>>,
    prices: Vec<FilePrice>,
    #[serde(default)]
    variants: Vec<FileVariant>,
}

#[derive(Deserialize)]
struct FileVariant {
    when: String,
    #[serde(flatten)]
    price: FilePrice,
}

#[derive(Deserialize)]
struct FilePrice {
    from: Option<String>,
    hours: Option<(String, String)>,
    input: Option<FileRate>,
    output: Option<FileRate>,
    cache_read: Option<FileRate>,
    cache_write: Option<FileRate>,
    cache_write_1h: Option<FileRate>,
    input_audio: Option<FileRate>,
    output_audio: Option<FileRate>,
    input_image: Option<FileRate>,
    output_image: Option<FileRate>,
    reasoning: Option<FileRate>,
    requests: Option<FileRate>,
}

fn malformed(what: &str) -> serde_json::Error {
    serde_json::Error::custom(format!("malformed {what}"))
}

impl Provider {
    fn new(file: FileProvider<'static>) -> Result<Self, serde_json::Error> {
        let models: Result<_, _> = file.models.into_iter().map(Model::new).collect();
        Ok(Self {
            id: file.id,
            named: alternatives(&file.named)?,
            makes: alternatives(&file.makes)?,
            also: file.also,
            models: models?,
        })
    }
}

impl Model {
    fn new(file: FileModel<'static>) -> Result<Self, serde_json::Error> {
        let prices: Result<_, _> = file.prices.into_iter().map(price).collect();
        let variants: Result<_, _> = file.variants.into_iter().map(variant).collect();
        Ok(Self {
            named: alternatives(&file.named)?,
            prices: prices?,
            variants: variants?,
        })
    }
}

fn alternatives(file: &[OneOrMany<'static>]) -> Result<Vec<Alternative>, serde_json::Error> {
    let parsed: Option<_> = file.iter().map(|all| Alternative::parse(&all.0)).collect();
    parsed.ok_or_else(|| malformed("name"))
}

fn variant(file: FileVariant) -> Result<Variant, serde_json::Error> {
    Ok(Variant {
        when: ServiceTier::parse(&file.when).ok_or_else(|| malformed("tier"))?,
        price: price(file.price)?,
    })
}

fn price(file: FilePrice) -> Result<Price, serde_json::Error> {
    let listed = [
        (Kind::Input, file.input),
        (Kind::Output, file.output),
        (Kind::CacheRead, file.cache_read),
        (Kind::CacheWrite, file.cache_write),
        (Kind::CacheWrite1h, file.cache_write_1h),
        (Kind::InputAudio, file.input_audio),
        (Kind::OutputAudio, file.output_audio),
        (Kind::InputImage, file.input_image),
        (Kind::OutputImage, file.output_image),
        (Kind::Reasoning, file.reasoning),
        (Kind::Request, file.requests),
    ];
    let mut rates = Vec::new();
    for (kind, steps) in listed {
        for (above, published) in steps.map(|rate| rate.0).unwrap_or_default() {
            let pico = pico(kind, published).ok_or_else(|| malformed("rate"))?;
            rates.push(Rate { kind, above, pico });
        }
    }
    let from_day = file
        .from
        .map(|date| day_of(&date).ok_or_else(|| malformed("date")))
        .transpose()?;
    let hours = file
        .hours
        .map(|(from, to)| minute_of(&from).zip(minute_of(&to)))
        .map(|hours| hours.ok_or_else(|| malformed("time")))
        .transpose()?;
    Ok(Price {
        from_day,
        hours,
        rates: Rates(rates),
    })
}

/// Days from the Unix epoch to a date written `YYYY-MM-DD`.
pub(super) fn day_of(date: &str) -> Option<u64> {
    let date: jiff::civil::Date = date.parse().ok()?;
    let epoch = jiff::civil::Date::constant(1970, 1, 1);
    let days = date.since(epoch).ok()?.get_days();
    u64::try_from(days).ok()
}

/// Minutes from midnight to a time written `HH:MM`.
fn minute_of(time: &str) -> Option<u64> {
    let (hour, minute) = time.split_once(':')?;
    let (hour, minute): (u64, u64) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

/// A text, or a list of texts.
struct OneOrMany<'t>(Vec<&'t str>);

impl<'de: 't, 't> Deserialize<'de> for OneOrMany<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = OneOrMany<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name or a list of names")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<OneOrMany<'de>, E> {
                Ok(OneOrMany(vec![text]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany<'de>, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                Ok(OneOrMany(names))
            }
        }
        deserializer.deserialize_any(Names)
    }
}

/// A rate, or a list of the base rate and of `[above tokens, rate]`.
struct FileRate(Vec<(i64, f64)>);

impl<'de> Deserialize<'de> for FileRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Steps;
        impl<'de> Visitor<'de> for Steps {
            type Value = FileRate;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a rate or a list of rates")
            }

            fn visit_f64<E>(self, rate: f64) -> Result<FileRate, E> {
                Ok(FileRate(vec![(-1, rate)]))
            }

            fn visit_u64<E>(self, rate: u64) -> Result<FileRate, E> {
                let rate = u32::try_from(rate).map_or(f64::INFINITY, f64::from);
                Ok(FileRate(vec![(-1, rate)]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<FileRate, A::Error> {
                let base = list
                    .next_element()?
                    .ok_or_else(|| A::Error::invalid_length(0, &self))?;
                let mut steps = vec![(-1, base)];
                while let Some(step) = list.next_element()? {
                    steps.push(step);
                }
                Ok(FileRate(steps))
            }
        }
        deserializer.deserialize_any(Steps)
    }
}
