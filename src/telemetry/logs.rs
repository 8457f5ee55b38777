//! Our own log lines, on standard error: as text for people, or one JSON object a line. A line
//! that a client can cause is written through [`RateLimited`], so that nobody fills a disk by
//! sending garbage.

use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;

use super::{LogEncoding, LogsConfig};

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The level is neither a level nor a list of directives.
    #[error("service.telemetry.logs.level \"{level}\" is not a level or a list of directives")]
    Level {
        /// The offending text.
        level: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Logging was set up before.
    #[error("install the logger")]
    Install(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sets up logging for the process. Called once, first thing.
///
/// # Errors
/// [`Error::Level`], and [`Error::Install`] when called twice.
pub fn init(config: &LogsConfig) -> Result<(), Error> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&config.level)?)
        .with_writer(io::stderr);
    match config.encoding {
        LogEncoding::Text => builder.with_ansi(io::stderr().is_terminal()).try_init(),
        LogEncoding::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(Error::Install)
}

/// Parses `service.telemetry.logs.level`; also what `validate` checks.
///
/// # Errors
/// [`Error::Level`].
pub fn filter(level: &str) -> Result<EnvFilter, Error> {
    EnvFilter::builder()
        .parse(level)
        .map_err(|source| Error::Level {
            level: level.to_owned(),
            source,
        })
}

/// An error with everything that caused it, on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Lets a log line through a few times per window and counts the rest.
///
/// ```
/// use pulse_collector::telemetry::logs::RateLimited;
/// static REFUSED: RateLimited = RateLimited::new(5);
/// if let Some(suppressed) = REFUSED.pass() {
///     tracing::info!(suppressed, "request refused: the log is full");
/// }
/// ```
#[derive(Debug)]
pub struct RateLimited {
    lines_max: u32,
    state: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    started: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

/// Length of a [`RateLimited`] window.
pub const WINDOW: Duration = Duration::from_secs(10);

impl RateLimited {
    /// A gate that lets `lines_max` lines through per [`WINDOW`].
    #[must_use]
    pub const fn new(lines_max: u32) -> Self {
        let window = Window {
            started: None,
            lines: 0,
            suppressed: 0,
        };
        Self {
            lines_max,
            state: Mutex::new(window),
        }
    }

    /// `Some` when the line may be written, with the number of lines kept back since the last one
    /// that was; `None` when it must not.
    pub fn pass(&self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Option<u64> {
        let mut window = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = window
            .started
            .is_none_or(|started| now.duration_since(started) >= WINDOW);
        if ended {
            window.started = Some(now);
            window.lines = 0;
        }
        if window.lines >= self.lines_max {
            window.suppressed += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_over_the_limit_are_kept_back_and_counted() {
        let gate = RateLimited::new(2);
        let start = Instant::now();
        assert_eq!(gate.pass_at(start), Some(0));
        assert_eq!(gate.pass_at(start), Some(0));
        assert_eq!(gate.pass_at(start + Duration::from_secs(9)), None);
        assert_eq!(gate.pass_at(start + Duration::from_secs(9)), None);
        assert_eq!(gate.pass_at(start + WINDOW), Some(2));
        assert_eq!(gate.pass_at(start + WINDOW), Some(0));
        assert_eq!(gate.pass_at(start + WINDOW), None);
    }

    #[test]
    fn levels_and_directives_are_understood_and_nonsense_is_named() {
        assert!(filter("info").is_ok());
        assert!(filter("warn,pulse_collector::queue=debug").is_ok());
        let error = filter("info,pulse=loud").unwrap_err();
        assert!(error.to_string().contains("pulse=loud"), "{error}");
    }
}
