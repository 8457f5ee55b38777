//! What waits, for how long, and what is decided then.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::config::{ByteSize, Duration as Setting};
use crate::model::sampling::Reason;
use crate::model::{ProjectId, TraceId};
use crate::processors::limits;
use crate::processors::sampling::tail::TailConfig;
use crate::processors::sampling::{Config, Sampler};

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_700_000_000 * SECOND;

fn sampler(set: impl FnOnce(&mut TailConfig)) -> Sampler {
    let mut config = Config::default();
    config.tail.enabled = true;
    config.tail.percentage = 0.0;
    set(&mut config.tail);
    assert_eq!(config.problems(), []);
    config.compile().unwrap()
}

fn span(trace: u8, failed: bool) -> Span {
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![1; 8],
        start_time_unix_nano: START,
        end_time_unix_nano: START + 1,
        status: failed.then(|| Status {
            code: 2,
            message: String::new(),
        }),
        ..Span::default()
    }
}

/// A record that was received so many seconds after the start.
fn record(position: u64, seconds: u64, spans: Vec<Span>) -> Record {
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    Record {
        position: Position(position),
        project: ProjectId::DEFAULT,
        received_unix_nano: START + seconds * SECOND,
        kind: PayloadKind::OtlpTraces,
        payload: Bytes::from(request.encode_to_vec()),
    }
}

/// One partition, and what was handed on of it.
struct Stage {
    waiting: Waiting,
    limits: limits::Config,
    metrics: Metrics,
    verdicts: Verdicts,
    handed_on: Vec<u64>,
}

impl Stage {
    fn new(sampler: &Sampler, traces: &Arc<Traces>, partition: u32) -> Self {
        let tail = sampler.tail.as_ref().unwrap();
        let metrics = Metrics::new().unwrap();
        Self {
            waiting: Waiting::new(tail, Arc::clone(traces), metrics.clone(), (partition, 1)),
            limits: limits::Config::default(),
            metrics,
            verdicts: Verdicts::new(),
            handed_on: Vec::new(),
        }
    }

    fn alone(sampler: &Sampler) -> Self {
        Self::new(sampler, &traces(sampler), 0)
    }

    fn take(&mut self, record: Record) {
        let assembler = Assembler::new(0, &self.limits);
        self.waiting.take(record, &assembler);
        self.hand_on();
    }

    fn hand_on(&mut self) {
        while let Some(record) = self.waiting.hand_on(&mut self.verdicts) {
            self.handed_on.push(record.position.0);
        }
    }

    fn close(&mut self) {
        self.waiting.close();
        self.hand_on();
    }

    fn verdict(&self, trace: u8) -> Option<Option<Reason>> {
        let key = (ProjectId::DEFAULT, TraceId([trace; 16]));
        self.verdicts.get(&key).copied()
    }

    fn metric(&self, name: &str) -> String {
        let text = self.metrics.render();
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        line.unwrap().rsplit(' ').next().unwrap().to_owned()
    }
}

fn traces(sampler: &Sampler) -> Arc<Traces> {
    Arc::new(Traces::new(sampler.tail.as_ref().unwrap()))
}

const OUT: Option<Option<Reason>> = Some(Some(Reason::Tail));
const KEPT: Option<Option<Reason>> = Some(None);

// Scenario: records come one by one; then the log is quiet; then it is closed.
// Guarantees: each is handed on, in order, when what was received ten seconds later has been read, when
// the clock says so, or at the end.
#[test]
fn a_record_waits_for_what_comes_after_it() {
    let sampler = sampler(|_| {});
    let mut stage = Stage::alone(&sampler);
    for (position, seconds) in [(1, 0), (2, 4), (3, 9)] {
        stage.take(record(position, seconds, vec![span(1, false)]));
    }
    assert_eq!(stage.handed_on, [0_u64; 0]);
    assert_eq!(stage.waiting.position(), Some(Position(1)));
    assert_eq!(stage.metric("pulse_sampling_waiting_records"), "3");
    stage.take(record(4, 14, vec![span(1, false)]));
    assert_eq!(stage.handed_on, [1, 2]);
    assert_eq!(stage.waiting.position(), Some(Position(3)));
    let due = |now: u64| stage.waiting.due_in(now);
    assert_eq!(due(START + 15 * SECOND), LOOK_AGAIN);
    assert_eq!(due(START + 19 * SECOND - 1), Duration::from_nanos(1));
    stage.waiting.looked_until(START + 19 * SECOND);
    stage.hand_on();
    assert_eq!(stage.handed_on, [1, 2, 3]);
    stage.close();
    assert_eq!(stage.handed_on, [1, 2, 3, 4]);
    assert_eq!(stage.waiting.position(), None);
    assert_eq!(stage.metric("pulse_sampling_waiting_records"), "0");
    assert_eq!(stage.metric("pulse_sampling_waiting_bytes"), "0");
    // At the end: what would have come, nobody knows.
    assert_eq!(stage.metric("pulse_sampling_early_records_total"), "1");
}

// Scenario: the clock was an hour ahead, and is set right while records wait; the log is quiet then.
// Guarantees: they wait as long as any, not for an hour.
#[test]
fn a_clock_that_is_set_back_stalls_nothing() {
    let sampler = sampler(|_| {});
    let mut stage = Stage::alone(&sampler);
    stage.take(record(1, 3600, vec![span(1, false)]));
    stage.take(record(2, 3609, vec![span(1, true)]));
    stage.waiting.looked_until(START);
    stage.waiting.looked_until(START + 10 * SECOND - 1);
    stage.hand_on();
    assert_eq!(stage.handed_on, [0_u64; 0]);
    stage.waiting.looked_until(START + 10 * SECOND);
    stage.hand_on();
    assert_eq!(stage.handed_on, [1, 2]);
    assert_eq!(stage.verdict(1), KEPT);
    assert_eq!(stage.metric("pulse_sampling_early_records_total"), "0");
}

// Scenario: the clock is set back by an hour, or by less than records wait, while others come.
// Guarantees: what comes after that waits for what comes after it, as ever.
#[test]
fn a_clock_that_is_set_back_lets_nothing_through() {
    for ahead in [3600, 6] {
        let sampler = sampler(|_| {});
        let mut stage = Stage::alone(&sampler);
        stage.take(record(1, ahead, vec![span(1, false)]));
        stage.take(record(2, 1, vec![span(2, false)]));
        stage.take(record(3, 10, vec![span(2, true)]));
        assert_eq!(stage.handed_on, [0_u64; 0], "{ahead}");
        stage.take(record(4, 30, Vec::new()));
        assert_eq!(stage.handed_on, [1, 2, 3], "{ahead}");
        assert_eq!((stage.verdict(1), stage.verdict(2)), (OUT, KEPT));
    }
}

// Scenario: one partition has been looked through as far as another has not.
// Guarantees: it is waited for as long as it is looked through at all, and not when it is left.
#[test]
fn partitions_that_go_on_are_waited_for() {
    let traces = traces(&sampler(|_| {}));
    traces.expect(0);
    traces.looked_until(1, 20);
    let all = |patience| traces.all_looked_until(10, patience);
    assert!(!all(Duration::MAX));
    assert!(all(Duration::ZERO));
    traces.looked_until(0, 9);
    assert!(!all(Duration::MAX));
    traces.looked_until(0, 10);
    assert!(all(Duration::MAX));
    traces.looked_until(0, 5);
    assert!(!all(Duration::MAX));
    traces.expect_no_more(0);
    assert!(all(Duration::MAX));
}

// Scenario: a span of a trace fails while others of it wait; another trace has nothing of the kind.
// Guarantees: the first is kept whole, from its first record on; the second is left out.
#[test]
fn what_comes_later_speaks_for_what_waits() {
    let sampler = sampler(|_| {});
    let mut stage = Stage::alone(&sampler);
    stage.take(record(1, 0, vec![span(1, false), span(2, false)]));
    stage.take(record(2, 9, vec![span(1, true)]));
    stage.take(record(3, 10, Vec::new()));
    assert_eq!((stage.verdict(1), stage.verdict(2)), (KEPT, OUT));
    // What was known is forgotten with the last of it.
    stage.take(record(4, 30, Vec::new()));
    stage.verdicts.clear();
    stage.take(record(5, 31, vec![span(1, false)]));
    stage.close();
    assert_eq!(stage.verdict(1), OUT);
}

// Scenario: a trace goes on for longer than its records wait, and fails late; another fails early.
// Guarantees: the one is kept from then on; the other stays kept as long as something of it waits.
#[test]
fn a_decision_stays_unless_more_speaks_for_the_trace() {
    let sampler = sampler(|_| {});
    let mut stage = Stage::alone(&sampler);
    stage.take(record(1, 0, vec![span(1, false), span(2, true)]));
    stage.take(record(2, 8, vec![span(1, false), span(2, false)]));
    stage.take(record(3, 10, Vec::new()));
    assert_eq!((stage.verdict(1), stage.verdict(2)), (OUT, KEPT));
    stage.verdicts.clear();
    stage.take(record(4, 16, vec![span(1, true), span(2, false)]));
    stage.take(record(5, 18, Vec::new()));
    assert_eq!((stage.verdict(1), stage.verdict(2)), (KEPT, KEPT));
    stage.verdicts.clear();
    stage.close();
    assert_eq!((stage.verdict(1), stage.verdict(2)), (KEPT, KEPT));
}

// Scenario: spans of a trace are in two partitions of the log, one of them failed.
// Guarantees: nothing is decided before the other partition has been read as far; then the trace is kept.
#[test]
fn partitions_know_of_each_other() {
    let sampler = sampler(|_| {});
    let traces = traces(&sampler);
    let mut one = Stage::new(&sampler, &traces, 0);
    let mut other = Stage::new(&sampler, &traces, 1);
    one.take(record(1, 0, vec![span(1, false), span(2, false)]));
    one.take(record(2, 20, Vec::new()));
    // The other may still have something to say.
    assert_eq!(one.handed_on, [0_u64; 0]);
    other.take(record(1, 1, vec![span(1, true)]));
    one.hand_on();
    assert_eq!(one.handed_on, [0_u64; 0]);
    other.waiting.looked_until(START + 10 * SECOND);
    one.hand_on();
    assert_eq!(one.handed_on, [1]);
    assert_eq!((one.verdict(1), one.verdict(2)), (KEPT, OUT));
    // Whoever reads it from now on does not hold up what is read here.
    drop(other);
    one.close();
    assert_eq!(one.handed_on, [1, 2]);
}

// Scenario: another partition is not read any further.
// Guarantees: it is waited for as long as a record waits, or a few seconds, not for ever.
#[test]
fn a_partition_that_lags_is_not_waited_for_for_ever() {
    let sampler = sampler(|tail| tail.decision_wait = Setting::millis(1));
    let traces = traces(&sampler);
    traces.expect(1);
    let mut one = Stage::new(&sampler, &traces, 0);
    one.take(record(1, 0, vec![span(1, false)]));
    one.close();
    while one.handed_on.is_empty() {
        std::thread::sleep(Duration::from_millis(1));
        one.hand_on();
    }
    assert_eq!(one.verdict(1), OUT);
}

// Scenario: more comes at once than may wait.
// Guarantees: the oldest is decided about early, and counted; what waits stays within its bound.
#[test]
fn what_does_not_fit_is_decided_early() {
    let sampler = sampler(|tail| tail.decision_memory = ByteSize(4_000));
    let mut stage = Stage::alone(&sampler);
    for position in 1..=20 {
        stage.take(record(position, 0, vec![span(1, false)]));
        assert!(stage.waiting.bytes <= 4_000);
    }
    assert!(
        (10..20).contains(&stage.handed_on.len()),
        "{:?}",
        stage.handed_on
    );
    let early = stage.metric("pulse_sampling_early_records_total");
    assert_eq!(early, stage.handed_on.len().to_string());
    stage.close();
    assert_eq!(stage.handed_on, (1..=20).collect::<Vec<_>>());
}

// Scenario: the partition goes to another process while records wait.
// Guarantees: nothing is remembered of them.
#[test]
fn what_is_left_behind_is_forgotten() {
    let sampler = sampler(|_| {});
    let traces = traces(&sampler);
    let mut one = Stage::new(&sampler, &traces, 0);
    one.take(record(1, 0, vec![span(1, true)]));
    let metrics = one.metrics.clone();
    drop(one);
    assert!(metrics.render().contains("pulse_sampling_waiting_bytes 0"));
    let mut other = Stage::new(&sampler, &traces, 1);
    other.take(record(1, 0, vec![span(1, false)]));
    other.close();
    assert_eq!(other.verdict(1), OUT);
}

// Scenario: more traces than may be kept in a second; the same log is read again from the start.
// Guarantees: as many spans are kept as there is room for, the same ones both times.
#[test]
fn reading_again_decides_alike() {
    let sampler = sampler(|tail| {
        tail.percentage = 100.0;
        tail.max_spans_per_second = 2;
    });
    let read = || {
        let mut stage = Stage::alone(&sampler);
        for number in 1..=40 {
            let spans = vec![span(u8::try_from(number).unwrap(), false)];
            stage.take(record(number, number / 10, spans));
        }
        stage.close();
        (1..=40)
            .map(|trace| stage.verdict(trace))
            .collect::<Vec<_>>()
    };
    let once = read();
    let kept = once.iter().filter(|verdict| **verdict == KEPT).count();
    // Two at first, two in each of the seconds that follow, and what was left over.
    assert!((8..=11).contains(&kept), "{kept}");
    assert_eq!(read(), once);
}

fn call(trace: u8, number: u8) -> Span {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
    let attribute = |key: &str, value| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    };
    let text = |text: &str| Value::StringValue(text.to_owned());
    Span {
        span_id: vec![number; 8],
        attributes: vec![
            attribute("gen_ai.operation.name", text("chat")),
            attribute("gen_ai.request.model", text("m")),
            attribute("gen_ai.usage.input_tokens", Value::IntValue(10)),
            attribute("gen_ai.usage.cost", Value::DoubleValue(0.4)),
        ],
        ..span(trace, false)
    }
}

// Scenario: a record has many calls of a trace; a small one of the trace comes after it, and then, when the
// first has been handed on, a large one of another trace.
// Guarantees: the memory of the calls counts as long as it is taken, whichever record they came with.
#[test]
fn what_is_known_of_a_trace_counts_as_memory() {
    let stage_of = |memory| {
        let sampler = sampler(|tail| {
            tail.expensive_usd = 1e6;
            tail.decision_memory = ByteSize(memory);
        });
        let mut stage = Stage::alone(&sampler);
        let calls = (1..=200).map(|number| call(1, number));
        stage.take(record(1, 0, calls.collect()));
        stage.take(record(2, 9, vec![span(1, false)]));
        stage
    };
    let bytes = |stage: &Stage| -> u64 {
        let told = stage.metric("pulse_sampling_waiting_bytes");
        told.parse().unwrap()
    };
    let stage = stage_of(1 << 20);
    let enough = bytes(&stage);
    let list = stage.waiting.traces.bytes();
    assert_eq!(enough, stage.waiting.bytes + list);
    assert!(list > 5_000, "{list}");
    let mut stage = stage_of(enough);
    assert_eq!(stage.handed_on, [0_u64; 0]);
    stage.waiting.looked_until(START + 10 * SECOND);
    stage.hand_on();
    assert_eq!(stage.handed_on, [1]);
    assert_eq!(bytes(&stage), stage.waiting.bytes + list);
    let large = Span {
        name: "n".repeat(usize::try_from(enough - list).unwrap()),
        ..span(2, false)
    };
    stage.take(record(3, 11, vec![large]));
    assert_eq!(stage.handed_on, [1, 2]);
    assert_eq!(stage.waiting.traces.bytes(), 0);
    assert_eq!(bytes(&stage), stage.waiting.bytes);
}

// Scenario: a trace costs too little in any one record.
// Guarantees: what its calls cost together counts, each once.
#[test]
fn the_cost_of_a_trace_is_that_of_its_calls() {
    let sampler = sampler(|tail| tail.expensive_usd = 0.75);
    let mut stage = Stage::alone(&sampler);
    stage.take(record(1, 0, vec![call(1, 1), call(2, 1)]));
    stage.take(record(2, 1, vec![call(1, 2), call(2, 1)]));
    stage.close();
    assert_eq!((stage.verdict(1), stage.verdict(2)), (KEPT, OUT));
}

proptest! {
    // Scenario: records with spans of some traces, some failed, in two orders within the wait.
    // Guarantees: the same is decided about every trace.
    #[test]
    fn the_order_within_the_wait_does_not_matter(
        records in prop::collection::vec(
            prop::collection::vec((0_u8..12, prop::bool::weighted(0.1)), 0..6), 1..12,
        ),
        by in any::<prop::sample::Index>(),
        wait in 10_u64..60,
    ) {
        let sampler = sampler(|tail| {
            tail.percentage = 50.0;
            tail.decision_wait = Setting::seconds(wait);
        });
        let decide = |records: &[Vec<(u8, bool)>]| {
            let mut stage = Stage::alone(&sampler);
            for (place, spans) in (0..).zip(records) {
                // Far apart, so that about half are among the percentage.
                let spans = spans.iter().map(|(trace, failed)| span(1 + trace * 21, *failed));
                stage.take(record(1 + place, place * 9 / 11, spans.collect()));
            }
            stage.close();
            let mut verdicts: Vec<_> = stage.verdicts.into_iter().collect();
            verdicts.sort_by_key(|(key, _)| *key);
            verdicts
        };
        let mut turned = records.clone();
        turned.rotate_left(by.index(records.len()));
        turned.reverse();
        prop_assert_eq!(decide(&records), decide(&turned));
    }
}
