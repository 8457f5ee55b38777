//! Events: what logs tell, with or without a trace.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::genai::Usage;
use super::ids::ParseIdError;

/// Identity of an event within its project: when it happened and a digest of all that was sent.
///
/// Log records have no id of their own. Ordered by time; the text form is 48 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct EventId {
    /// When it happened, ns since the Unix epoch, clamped to 63 bits; zero when the sender gave no
    /// time.
    pub unix_nano: u64,
    /// First half of a SHA-256 over resource, scope, record, and how many equal ones were before it
    /// in its request.
    pub digest: [u8; 16],
}

impl EventId {
    const DIGITS: usize = 48;
}

impl fmt::Display for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = u128::from_be_bytes(self.digest);
        write!(formatter, "{:016x}{digest:032x}", self.unix_nano)
    }
}

impl FromStr for EventId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let wrong = text.bytes().position(|byte| !byte.is_ascii_hexdigit());
        if let Some(position) = wrong {
            return Err(ParseIdError::Digit { position });
        }
        let length = ParseIdError::Length {
            expected: Self::DIGITS,
            actual: text.len(),
        };
        let (time, digest) = text.split_at_checked(16).ok_or(length)?;
        if digest.len() != Self::DIGITS - 16 {
            return Err(length);
        }
        let unix_nano = u64::from_str_radix(time, 16).map_err(|_| length)?;
        let digest = u128::from_str_radix(digest, 16).map_err(|_| length)?;
        Ok(Self {
            unix_nano,
            digest: digest.to_be_bytes(),
        })
    }
}

/// Where an event comes from. The numbers lie on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EventSource {
    /// An OTLP log record.
    Otlp = 0,
    /// An SDK of PulseKit.
    PulseKit = 1,
    /// An SDK of PulseBoard.
    PulseBoard = 2,
    /// A client of TracePulse, such as DebugQueue.
    TracePulse = 3,
    /// What PulseBoard's mobile SDK tells of crashes, sessions, screens and calls.
    PulseBoardAnalytics = 4,
}

impl EventSource {
    /// Reads the number stored.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::Otlp),
            1 => Some(Self::PulseKit),
            2 => Some(Self::PulseBoard),
            3 => Some(Self::TracePulse),
            4 => Some(Self::PulseBoardAnalytics),
            _ => None,
        }
    }

    /// Lower-case name used in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Otlp => "otlp",
            Self::PulseKit => "pulsekit",
            Self::PulseBoard => "pulseboard",
            Self::TracePulse => "tracepulse",
            Self::PulseBoardAnalytics => "pulseboard_analytics",
        }
    }

    /// The instrumentation scope by which a record is known as one that we made of what this source
    /// sent; empty for what came as OTLP.
    #[must_use]
    pub const fn scope(self) -> &'static str {
        match self {
            Self::Otlp => "",
            Self::PulseKit => "pulse.pulsekit",
            Self::PulseBoard => "pulse.pulseboard",
            Self::TracePulse => "pulse.tracepulse",
            Self::PulseBoardAnalytics => "pulse.pulseboard.analytics",
        }
    }

    /// The source of the records of a scope.
    #[must_use]
    pub fn of_scope(name: &str) -> Self {
        let others = [
            Self::PulseKit,
            Self::PulseBoard,
            Self::TracePulse,
            Self::PulseBoardAnalytics,
        ];
        let mut others = others.into_iter();
        others
            .find(|source| source.scope() == name)
            .unwrap_or(Self::Otlp)
    }
}

/// What an event is about, as issues show it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outline<'a> {
    /// Type of the exception, else name of the event; may be empty.
    pub kind: Cow<'a, str>,
    /// What it says; may be empty.
    pub message: Cow<'a, str>,
}

/// Columns that are taken from what an event says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFacts<'a> {
    /// Name, which is the type of the event; absent for a plain log line.
    pub name: Option<Cow<'a, str>>,
    /// Session or conversation.
    pub session_id: Option<Cow<'a, str>>,
    /// Model that answered, else the one asked for.
    pub model: Option<Cow<'a, str>>,
    /// Tokens of the model call that it tells of.
    pub usage: Usage,
    /// What the sender says that the call cost, nano-USD.
    pub cost_nano_usd: Option<i64>,
    /// How long it took, ns.
    pub duration_ns: Option<i64>,
    /// The same for errors that are alike; absent for what is no error.
    pub fingerprint: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_known_by_number_and_scope() {
        for number in 0..5 {
            let source = EventSource::from_number(number).unwrap();
            assert_eq!(i64::from(source as u8), number);
            assert_eq!(EventSource::of_scope(source.scope()), source);
        }
        assert_eq!(EventSource::from_number(5), None);
        assert_eq!(EventSource::of_scope("app"), EventSource::Otlp);
    }

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = EventId {
            unix_nano: 1_800_000_000_000_000_000,
            digest: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255],
        };
        let text = id.to_string();
        assert_eq!(text.len(), EventId::DIGITS);
        assert_eq!(text.parse(), Ok(id));
        assert!(text.get(..47).unwrap().parse::<EventId>().is_err());
        assert!(format!("{text}0").parse::<EventId>().is_err());
        for wrong in ["", "+", "é"] {
            assert!(wrong.parse::<EventId>().is_err());
        }
        let signed = text.replacen('1', "+", 1);
        assert!(signed.parse::<EventId>().is_err());
    }
}
