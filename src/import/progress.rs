//! How far an import is, on standard error: a bar on a terminal, elsewhere a line now and then.

use std::cell::Cell;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::Report;

const BAR_CHARS: u64 = 24;
/// Between two pictures on a terminal, and between two lines elsewhere.
const DRAWN_EVERY: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Progress {
    /// Rows or bytes of the source, if that is known.
    length: Option<u64>,
    /// What was read before this run.
    before: u64,
    began: Instant,
    shown: Cell<Option<Instant>>,
    remarked: Cell<Option<Instant>>,
    is_terminal: bool,
}

impl Progress {
    pub(super) fn new(length: Option<u64>, before: u64) -> Self {
        Self {
            length,
            before,
            began: Instant::now(),
            shown: Cell::new(None),
            remarked: Cell::new(None),
            is_terminal: std::io::stderr().is_terminal(),
        }
    }

    pub(super) fn show(&self, report: &Report) {
        let every = if self.is_terminal {
            DRAWN_EVERY
        } else {
            LINE_EVERY
        };
        if self.shown.get().is_some_and(|at| at.elapsed() < every) {
            return;
        }
        self.shown.set(Some(Instant::now()));
        let fresh = report.read.saturating_sub(self.before);
        let left = self.length.map(|length| length.saturating_sub(report.read));
        let remaining = left.map(|left| remaining(self.began.elapsed(), fresh, left));
        self.line(&picture(
            self.length,
            report,
            &remaining.unwrap_or_default(),
        ));
    }

    /// Says something now and then.
    pub(super) fn remark(&self, text: &str) {
        if self
            .remarked
            .get()
            .is_none_or(|at| at.elapsed() >= LINE_EVERY)
        {
            self.remarked.set(Some(Instant::now()));
            self.line(text);
        }
    }

    /// Says something that stays there.
    pub(super) fn say(&self, text: &str) {
        let end = if self.is_terminal { "\n" } else { "" };
        self.line(&format!("{text}{end}"));
    }

    pub(super) fn end(&self) {
        if self.is_terminal {
            self.line("");
        }
    }

    /// When nobody reads standard error there is nobody to tell.
    fn line(&self, text: &str) {
        let line = if self.is_terminal {
            format!("\r\x1b[K{text}")
        } else {
            format!("{text}\n")
        };
        drop(std::io::stderr().write_all(line.as_bytes()));
    }
}

fn picture(length: Option<u64>, report: &Report, remaining: &str) -> String {
    let counts = format!("{} spans, {} not imported", report.spans, report.lost);
    let Some(length) = length else {
        return counts;
    };
    let share = |of: u64| {
        let share = report.read.saturating_mul(of).checked_div(length);
        share.unwrap_or(of).min(of)
    };
    let full = share(BAR_CHARS);
    let bar: String = (0..BAR_CHARS)
        .map(|at| if at < full { '#' } else { '-' })
        .collect();
    format!("[{bar}] {:>3} %  {counts}{remaining}", share(100))
}

fn remaining(elapsed: Duration, done: u64, left: u64) -> String {
    let ms = elapsed.as_millis().saturating_mul(u128::from(left));
    let Some(ms) = ms.checked_div(u128::from(done)) else {
        return String::new();
    };
    let seconds = ms / 1000;
    format!(", about {} min {} s left", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_says_how_much_there_is_and_what_is_known() {
        let report = |read| Report {
            read,
            spans: 7,
            ..Report::default()
        };
        let counts = "7 spans, 0 not imported";
        assert_eq!(picture(None, &report(5), ""), counts);
        let half = format!("[############------------]  50 %  {counts}, soon");
        assert_eq!(picture(Some(10), &report(5), ", soon"), half);
        let full = format!("[########################] 100 %  {counts}");
        assert_eq!(picture(Some(10), &report(11), ""), full);
        assert_eq!(picture(Some(0), &report(0), ""), full);
        let left = remaining(Duration::from_secs(60), 10, 15);
        assert_eq!(left, ", about 1 min 30 s left");
        assert_eq!(remaining(Duration::from_secs(60), 0, 15), "");
    }
}
