//! `pulse-collector import`: moves what older Pulse servers stored, or what a file of NDJSON
//! holds, to a running daemon.
//!
//! # Over the wire, not into the store
//!
//! What is read becomes the OTLP request that the Pulse routes would have made of it, and is sent to
//! the daemon's OTLP/HTTP listener. So the daemon stays the only writer and keeps serving: people
//! switch their clients over first and import the past behind them, from whichever machine
//! reaches both. What is imported passes admission, quotas, redaction, the durable log and its sync
//! like any other telemetry, and costs no second way of writing that could be wrong.
//!
//! # Once
//!
//! Ids follow from what is read, so that a second import of the same thing changes nothing. How
//! far an import got is noted after each acknowledged request ([`Notes`]); killed and started
//! again it goes on there, unless the file is another one by now. Losing the note costs time, never
//! a span.

mod client;
mod note;
mod progress;
mod report;
mod source;
mod text;
mod unit;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use prost::Message as _;
use tokio::time::Instant;

use crate::service::tasks::Tasks;
use client::{Answer, Client};
use note::Note;
pub use note::Notes;
use progress::Progress;
pub use report::Report;
pub use source::{Source, SourceKind, open_database, project};
pub(crate) use text::shown;
use unit::{Bad, Unit};

/// Most of what one request holds, in bytes of its source.
const REQUEST_BYTES: usize = 4 << 20;
/// Pauses between two tries, the first and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// The longest pause that a server is granted when it asks for one.
const PAUSE_ASKED_MAX: Duration = Duration::from_mins(5);

/// Where to send.
#[derive(Debug)]
pub struct Target {
    /// URL of an OTLP/HTTP listener.
    pub endpoint: String,
    /// The key of the project; none where the listener takes anybody.
    pub key: Option<String>,
    /// PEM file with the authorities of its certificate; those of the system by default.
    pub authorities: Option<PathBuf>,
    /// How long a daemon that takes nothing is waited for.
    pub patience: Duration,
}

/// Reads everything and sends it, or only reads it where there is no target.
///
/// # Errors
/// The source can't be read, or the daemon takes nothing for too long or ever. Started again with
/// the same notes, an import goes on where it was.
pub async fn run(
    source: &mut Source,
    target: Option<Target>,
    mut notes: Option<Notes>,
) -> anyhow::Result<Report> {
    let (tasks, _panics) = Tasks::new();
    let mut sender = target
        .map(|target| Sender::new(target, tasks))
        .transpose()?;
    let noted = notes.as_ref().and_then(Notes::read);
    let was_noted = noted.is_some();
    let noted = noted.filter(|note| source.is_same(note.file.as_ref()));
    let (at, mut report) = noted.map_or((None, Report::default()), |note| {
        (Some(note.at), note.report)
    });
    let progress = Progress::new(source.length().await?, report.read);
    let goes_on = at.is_some();
    if goes_on {
        progress.remark(&format!("going on after {} items", report.items));
    } else if was_noted {
        progress.say("the file changed since the import was interrupted: beginning anew");
    }
    source.begin(at).await?;
    while let Some(page) = source.page().await? {
        let mut units = Vec::new();
        for unit in page.units {
            report.items += 1;
            match unit {
                Ok(unit) => units.push(unit),
                Err(bad) => report.bad(&bad),
            }
        }
        match &mut sender {
            Some(sender) => sender.send_all(units, &mut report, &progress).await?,
            None => report.spans += units.iter().map(|unit| unit.spans).sum::<u64>(),
        }
        report.read += page.read;
        if let Some(notes) = &mut notes {
            notes.write(&Note {
                at: page.at,
                report: report.clone(),
                file: source.file().cloned(),
            });
        }
        progress.show(&report);
    }
    progress.end();
    if goes_on && source.is_database() {
        progress.say(
            "this import was interrupted: rows that came or changed meanwhile are taken by the \
             same command once more, which reads everything",
        );
    }
    if let Some(notes) = notes {
        notes.remove();
    }
    Ok(report)
}

/// Sends, and sends again.
struct Sender {
    client: Client,
    patience: Duration,
    endpoint: String,
}

impl Sender {
    fn new(target: Target, tasks: Tasks) -> anyhow::Result<Self> {
        let authorities = target.authorities.as_deref();
        Ok(Self {
            client: Client::new(&target.endpoint, target.key.as_deref(), authorities, tasks)?,
            patience: target.patience,
            endpoint: target.endpoint,
        })
    }

    /// Sends units in requests of bounded size. What a request is refused for is looked for by
    /// halving it, so that it costs no other unit.
    async fn send_all(
        &mut self,
        units: Vec<Unit>,
        report: &mut Report,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        let mut waiting = batches(units);
        waiting.reverse();
        while let Some(mut batch) = waiting.pop() {
            let spans: u64 = batch.iter().map(|unit| unit.spans).sum();
            let (rejected, reason) = match self.send(&batch, progress).await? {
                Outcome::Taken => {
                    report.spans += spans;
                    continue;
                }
                Outcome::Rejected(count, reason) => (count, reason),
                Outcome::Refused(reason) => (spans, reason),
            };
            if batch.len() > 1 {
                let rest = batch.split_off(batch.len() / 2);
                waiting.extend([rest, batch]);
            } else if let Some(unit) = batch.pop() {
                report.spans += spans.saturating_sub(rejected);
                report.bad(&Bad {
                    spans: rejected,
                    ..Bad::new(&unit.label, reason)
                });
            }
        }
        Ok(())
    }

    async fn send(&mut self, batch: &[Unit], progress: &Progress) -> anyhow::Result<Outcome> {
        let payload = Bytes::from(unit::request(batch).encode_to_vec());
        let began = Instant::now();
        let mut pause = PAUSE_MIN;
        loop {
            let (reason, after) = match self.client.send(payload.clone()).await {
                Answer::Taken { rejected: 0, .. } => return Ok(Outcome::Taken),
                Answer::Taken { rejected, message } => {
                    return Ok(Outcome::Rejected(rejected, message));
                }
                Answer::Refused(reason) => return Ok(Outcome::Refused(reason)),
                Answer::Impossible(reason) => {
                    bail!("{} does not take telemetry: {reason}", self.endpoint)
                }
                Answer::Later { reason, after } => (reason, after),
            };
            let pause_now = after.unwrap_or(pause).max(pause).min(PAUSE_ASKED_MAX);
            if began.elapsed().saturating_add(pause_now) > self.patience {
                let waited = self.patience.as_secs();
                return Err(anyhow::anyhow!(reason)).with_context(|| {
                    format!(
                        "{} took nothing for {waited} s; the same command goes on from here",
                        self.endpoint
                    )
                });
            }
            progress.remark(&format!("waiting for {}: {reason}", self.endpoint));
            tokio::time::sleep(pause_now).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// What became of a request in the end.
enum Outcome {
    Taken,
    /// All was taken but for this many spans.
    Rejected(u64, String),
    Refused(String),
}

/// Units in requests of bounded size.
fn batches(units: Vec<Unit>) -> Vec<Vec<Unit>> {
    let (mut batches, mut last, mut bytes) = (Vec::new(), Vec::new(), 0);
    for unit in units {
        if bytes > 0 && bytes + unit.bytes > REQUEST_BYTES {
            batches.push(std::mem::take(&mut last));
            bytes = 0;
        }
        bytes += unit.bytes;
        last.push(unit);
    }
    if !last.is_empty() {
        batches.push(last);
    }
    batches
}
