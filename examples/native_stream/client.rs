//! A client that sends batches over `TraceIngest/Stream` until each is acknowledged, whatever happens to
//! the connection or the server meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures_util::StreamExt as _;
use pulse_collector::receivers::native::proto::stream_response::Event;
use pulse_collector::receivers::native::proto::trace_ingest_client::TraceIngestClient;
use pulse_collector::receivers::native::proto::{Batch, ResourceSpans, StreamRequest};
use tokio::sync::mpsc;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};

/// Pauses before a stream is opened again: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a stream may be quiet while batches are on the way.
const PATIENCE: Duration = Duration::from_secs(20);

/// What became of the batches.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Batches that are durable.
    pub(crate) acknowledged: u64,
    /// Spans among them that can never be stored.
    pub(crate) rejected_spans: i64,
    /// Batches that can never be taken, and why.
    pub(crate) refused: Vec<(u64, String)>,
    /// Streams that were opened.
    pub(crate) streams: u64,
}

/// Batches, and where they are.
struct Sender {
    /// Not sent, or to be sent again.
    unsent: VecDeque<(u64, Vec<ResourceSpans>)>,
    /// Sent on this stream, and not answered.
    on_the_way: BTreeMap<u64, Vec<ResourceSpans>>,
    report: Report,
}

/// How a stream ended.
enum End {
    /// Every batch has its answer.
    Done,
    /// Open another one.
    Again(Status),
}

/// Sends batches with an API key, or without one, until each has its answer. `acknowledged` hears of
/// each that is durable.
///
/// # Errors
/// A status that it is no use to try again after, as for a wrong key.
pub(crate) async fn send(
    endpoint: &str,
    key: Option<&str>,
    batches: Vec<Vec<ResourceSpans>>,
    mut acknowledged: impl FnMut(u64),
) -> Result<Report, Status> {
    let mut sender = Sender {
        unsent: (1..).zip(batches).collect(),
        on_the_way: BTreeMap::new(),
        report: Report::default(),
    };
    let mut pause = PAUSE_MIN;
    loop {
        let before = sender.report.acknowledged;
        match sender.stream(endpoint, key, &mut acknowledged).await {
            End::Done => return Ok(sender.report),
            End::Again(status) if is_final(&status) => return Err(status),
            End::Again(_) => {}
        }
        // What was on the way may be stored; sent again, it is recognised.
        for batch in std::mem::take(&mut sender.on_the_way).into_iter().rev() {
            sender.unsent.push_front(batch);
        }
        let went_on = sender.report.acknowledged > before;
        pause = if went_on {
            PAUSE_MIN
        } else {
            (pause * 2).min(PAUSE_MAX)
        };
        tokio::time::sleep(pause).await;
    }
}

fn is_final(status: &Status) -> bool {
    let wrong = [
        Code::Unauthenticated,
        Code::PermissionDenied,
        Code::InvalidArgument,
    ];
    // Without a hint when to come back, a limit stays one.
    wrong.contains(&status.code())
        || [Code::ResourceExhausted, Code::Unimplemented].contains(&status.code())
}

impl Sender {
    /// Opens one stream and uses it as long as it lasts.
    async fn stream(
        &mut self,
        endpoint: &str,
        key: Option<&str>,
        acknowledged: &mut impl FnMut(u64),
    ) -> End {
        let connected = TraceIngestClient::connect(endpoint.to_owned()).await;
        let mut client = match connected {
            Ok(client) => client,
            Err(error) => return End::Again(Status::unavailable(error.to_string())),
        };
        let (requests, receiver) = mpsc::unbounded_channel();
        let messages = futures_util::stream::unfold(receiver, async |mut receiver| {
            let request: StreamRequest = receiver.recv().await?;
            Some((request, receiver))
        });
        let mut request = Request::new(messages.boxed());
        if let Some(key) = key {
            match MetadataValue::try_from(key) {
                Ok(key) => drop(request.metadata_mut().insert("x-api-key", key)),
                Err(_) => return End::Again(Status::unauthenticated("not a key")),
            }
        }
        let mut answers = match client.stream(request).await {
            Ok(opened) => opened.into_inner(),
            Err(status) => return End::Again(status),
        };
        self.report.streams += 1;
        let (mut credit, mut may_send) = (0, true);
        loop {
            while may_send && self.on_the_way.len() < credit {
                let Some((sequence, resource_spans)) = self.unsent.pop_front() else {
                    break;
                };
                let batch = Some(Batch {
                    resource_spans: resource_spans.clone(),
                    sequence,
                });
                self.on_the_way.insert(sequence, resource_spans);
                if requests.send(StreamRequest { batch }).is_err() {
                    break;
                }
            }
            if credit > 0 && self.unsent.is_empty() && self.on_the_way.is_empty() {
                return End::Done;
            }
            let answer = match tokio::time::timeout(PATIENCE, answers.message()).await {
                Ok(Ok(Some(answer))) => answer,
                Ok(Ok(None)) => return End::Again(Status::unavailable("the stream ended")),
                Ok(Err(status)) => return End::Again(status),
                Err(_) => return End::Again(Status::unavailable("the stream is quiet")),
            };
            match answer.event {
                Some(Event::Opened(opened)) => credit = opened.credit as usize,
                Some(Event::GoAway(_)) => may_send = false,
                Some(event) => self.answered(event, acknowledged).await,
                None => {}
            }
        }
    }

    /// Notes what became of a batch.
    async fn answered(&mut self, event: Event, acknowledged: &mut impl FnMut(u64)) {
        match event {
            Event::Acknowledged(answer) => {
                if self.on_the_way.remove(&answer.sequence).is_some() {
                    self.report.acknowledged += 1;
                    acknowledged(answer.sequence);
                }
                let partial = answer.partial_success;
                self.report.rejected_spans += partial.map_or(0, |partial| partial.rejected_spans);
            }
            Event::Refused(answer) => {
                let Some(batch) = self.on_the_way.remove(&answer.sequence) else {
                    return;
                };
                match answer.retry_after_ms {
                    Some(after) => {
                        self.unsent.push_front((answer.sequence, batch));
                        tokio::time::sleep(Duration::from_millis(after)).await;
                    }
                    None => self.report.refused.push((answer.sequence, answer.message)),
                }
            }
            Event::Busy(_) | Event::Opened(_) | Event::GoAway(_) => {}
        }
    }
}
