//! Built-in detectors: what they look for, and how it is told from what only looks like it.

mod digits;
mod email;
mod iban;
mod phone;
#[cfg(test)]
mod tests;
mod token;

use std::ops::Range;

use serde::{Deserialize, Serialize};

pub(super) use token::Tokens;

/// What a rule can look for without an expression of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Detector {
    /// Email addresses.
    Email,
    /// Telephone numbers: with `+` and a country code, and North American ones in their usual forms.
    Phone,
    /// Numbers of payment cards: of a known scheme and with a right check digit (Luhn).
    PaymentCard,
    /// International bank account numbers with right length and check digits (mod 97).
    Iban,
    /// Keys of known vendors by their prefixes: OpenAI, Anthropic, AWS, GitHub, GitLab, Google, Slack,
    /// Stripe, Hugging Face, Groq, xAI, Perplexity, our own.
    ApiKey,
    /// JSON web tokens.
    Jwt,
    /// Private keys in PEM, cut off ones included.
    PrivateKey,
}

/// Number of detectors.
pub(super) const DETECTORS: usize = 7;

impl Detector {
    /// All of them; each is at its own number.
    pub const ALL: [Self; DETECTORS] = [
        Self::Email,
        Self::Phone,
        Self::PaymentCard,
        Self::Iban,
        Self::ApiKey,
        Self::Jwt,
        Self::PrivateKey,
    ];

    /// What stands in for what it finds, unless the rule says otherwise.
    #[must_use]
    pub const fn mask(self) -> &'static str {
        match self {
            Self::Email => "[email]",
            Self::Phone => "[phone]",
            Self::PaymentCard => "[payment_card]",
            Self::Iban => "[iban]",
            Self::ApiKey => "[api_key]",
            Self::Jwt => "[jwt]",
            Self::PrivateKey => "[private_key]",
        }
    }
}

/// A set of detectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Detectors(u8);

impl Detectors {
    const NUMERIC: Self = Self(
        1 << Detector::Phone as u8 | 1 << Detector::PaymentCard as u8 | 1 << Detector::Iban as u8,
    );
    const TOKENS: Self = Self(
        1 << Detector::ApiKey as u8 | 1 << Detector::Jwt as u8 | 1 << Detector::PrivateKey as u8,
    );

    pub(super) fn add(&mut self, detector: Detector) {
        self.0 |= 1 << detector as u8;
    }

    pub(super) fn has(self, detector: Detector) -> bool {
        self.0 & 1 << detector as u8 != 0
    }

    fn has_any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Detection {
    pub(super) range: Range<usize>,
    pub(super) detector: Detector,
}

/// One of the passes over a text. Each finds what does not overlap, from front to back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    Emails,
    Numbers,
    Tokens,
}

impl Pass {
    pub(super) const ALL: [Self; 3] = [Self::Emails, Self::Numbers, Self::Tokens];

    /// The first that begins at `from` or behind it.
    pub(super) fn find(
        self,
        text: &Text<'_>,
        wanted: Detectors,
        tokens: &Tokens,
        from: usize,
    ) -> Option<Detection> {
        match self {
            Self::Emails if wanted.has(Detector::Email) => {
                let range = email::find(text, from)?;
                let detector = Detector::Email;
                Some(Detection { range, detector })
            }
            Self::Numbers if wanted.has_any(Detectors::NUMERIC) => digits::find(text, wanted, from),
            Self::Tokens if wanted.has_any(Detectors::TOKENS) => tokens.find(text, wanted, from),
            _ => None,
        }
    }
}

/// A text that is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'t> {
    pub(super) bytes: &'t [u8],
    /// Whether it is probably JSON, so that escapes are no part of what is found.
    pub(super) is_json: bool,
}

impl<'t> Text<'t> {
    pub(super) fn new(bytes: &'t [u8]) -> Self {
        let is_json = super::escape::is_json(bytes);
        Self { bytes, is_json }
    }

    fn at(&self, position: usize) -> Option<u8> {
        self.bytes.get(position).copied()
    }

    fn before(&self, position: usize) -> Option<u8> {
        self.at(position.checked_sub(1)?)
    }

    /// A position, or the end of the escape that it is in.
    fn behind_escape(&self, position: usize) -> usize {
        if self.is_json {
            super::escape::after_escape(self.bytes, position)
        } else {
            position
        }
    }

    /// Whether something may begin here: not within a word.
    fn begins_at(&self, position: usize) -> bool {
        !super::escape::continues_word(self.bytes, position)
    }

    /// Whether something may end here: not within a word.
    fn ends_at(&self, position: usize) -> bool {
        self.at(position)
            .is_none_or(|byte| !byte.is_ascii_alphanumeric())
    }
}
