use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::testing::{Keys, Mood};
use super::*;
use crate::storage::access::Change;

const ONE: ProjectId = ProjectId(7);
const TWO: ProjectId = ProjectId(8);

fn rate(items: u32) -> Quota {
    Quota {
        items_per_second: Some(items),
        bytes_per_day: None,
    }
}

fn day(bytes: u64) -> Quota {
    Quota {
        items_per_second: None,
        bytes_per_day: Some(bytes),
    }
}

fn send(quotas: &Quotas, project: ProjectId, items: u64, bytes: u64) -> Result<(), Exceeded> {
    quotas.check(project)?;
    quotas.charge(project, "traces", items, bytes)?.keep();
    Ok(())
}

fn pass(keys: &Keys, seconds: u64) {
    keys.uptime_seconds.fetch_add(seconds, Ordering::SeqCst);
}

// Scenario: a project sends batches larger than a second's worth for ten minutes, whenever it may;
// another one sends a little.
// Guarantees: every batch is taken whole sooner or later, the rate is kept over time, the other
// project is never held up, and who is refused is told to come back when that helps.
#[tokio::test]
async fn a_rate_is_kept_over_time() {
    let keys = Arc::new(Keys::default());
    let quotas = keys.quotas(rate(100));
    let mut sent = 0;
    for _ in 0..600 {
        while send(&quotas, ONE, 350, 0).is_ok() {
            sent += 350;
        }
        send(&quotas, TWO, 100, 0).unwrap();
        pass(&keys, 1);
    }
    // What was not used in five seconds, and the request that goes beyond, come on top.
    assert!((60_000..=60_000 + 500 + 350).contains(&sent), "{sent}");

    send(&quotas, TWO, 10_000, 0).unwrap();
    let Err(Exceeded::Rate { limit, retry_after }) = send(&quotas, TWO, 1, 0) else {
        panic!("far over its rate");
    };
    assert_eq!(limit, 100);
    pass(&keys, retry_after.as_secs());
    assert!(send(&quotas, TWO, 1, 0).is_ok(), "came back when told");
}

// Scenario: requests are let in together by a project that may send one more.
// Guarantees: one is taken; the others are refused when they are charged.
#[tokio::test]
async fn requests_read_at_the_same_time_are_charged_one_by_one() {
    let quotas = Arc::new(Keys::default()).quotas(rate(10));
    quotas.check(ONE).unwrap();
    quotas.check(ONE).unwrap();
    quotas.charge(ONE, "logs", 1000, 1).unwrap().keep();
    assert!(quotas.charge(ONE, "traces", 1, 1).is_err());
}

// Scenario: what was charged for could not be taken.
// Guarantees: it is as if it had never come.
#[tokio::test]
async fn what_was_not_taken_is_not_charged() {
    let keys = Arc::new(Keys::default());
    let quotas = keys.quotas(Quota {
        bytes_per_day: Some(100),
        ..rate(10)
    });
    drop(quotas.charge(ONE, "traces", 1_000_000, 1_000_000).unwrap());
    send(&quotas, ONE, 1, 99).unwrap();
    quotas.write_usage().await;
    let usage = keys.usage.lock().unwrap().clone();
    assert_eq!(usage.len(), 1);
    assert_eq!((usage[0].items, usage[0].bytes), (1, 99));
}

// Scenario: two collectors take what a project may send in a day, and the day ends.
// Guarantees: they stop together once they have told each other; the store is told all of it once,
// also after it was away; the next day begins anew.
#[tokio::test]
async fn bytes_of_a_day_are_of_all_collectors() {
    let keys = Arc::new(Keys::default());
    keys.now.store(5 * Day::NS, Ordering::SeqCst);
    let [a, b] = [keys.quotas(day(1000)), keys.quotas(day(1000))];
    send(&a, ONE, 3, 600).unwrap();
    keys.set(Mood::Away);
    a.write_usage().await;
    assert!(keys.usage.lock().unwrap().is_empty());
    keys.set(Mood::Well);
    send(&b, ONE, 3, 300).unwrap();
    a.write_usage().await;
    b.write_usage().await;
    assert!(send(&b, ONE, 1, 50).is_ok(), "950 of 1000");
    assert!(
        send(&b, ONE, 1, 50).is_ok(),
        "1000 of 1000, this one included"
    );
    let refused = send(&b, ONE, 1, 1).unwrap_err();
    assert_eq!(refused, Exceeded::Day { limit: 1000 });
    assert_eq!(refused.retry_after(), None);
    assert!(send(&b, TWO, 1, 1).is_ok());
    b.write_usage().await;
    assert!(a.check(ONE).is_ok(), "not told yet");
    a.write_usage().await;
    assert!(a.check(ONE).is_err());

    keys.now.store(6 * Day::NS, Ordering::SeqCst);
    send(&a, ONE, 1, 7).unwrap();
    a.write_usage().await;
    let usage = keys.usage.lock().unwrap().clone();
    let sum = |project, day| -> u64 {
        let of_it = usage
            .iter()
            .filter(|usage| (usage.project, usage.day) == (project, Day(day)));
        of_it.map(|usage| usage.bytes).sum()
    };
    assert_eq!((sum(ONE, 5), sum(TWO, 5), sum(ONE, 6)), (1000, 1, 7));
}

// Scenario: a project gets limits of its own, and loses them; the store is away in between.
// Guarantees: they count from the next look on; what was known before stays known; the limits that
// all have are not those of a project that has its own.
#[tokio::test]
async fn limits_of_a_project_go_before_those_of_all() {
    let keys = Arc::new(Keys::default());
    let quotas = keys.quotas(rate(1));
    let change = || Change {
        by: "a test".to_owned(),
        at_unix_nano: 0,
    };
    let set = |quota| keys.set_quota(ONE, quota, change());
    set(Some(Quota::default())).await.unwrap().unwrap();
    quotas.refresh(1).await;
    for _ in 0..3 {
        send(&quotas, ONE, 1_000_000, 0).unwrap();
    }
    keys.set(Mood::Away);
    quotas.refresh(2).await;
    send(&quotas, ONE, 1_000_000, 0).unwrap();
    keys.set(Mood::Well);
    set(None).await.unwrap().unwrap();
    quotas.refresh(2).await;
    send(&quotas, ONE, 1_000_000, 0).unwrap();
    assert!(send(&quotas, ONE, 1, 0).is_err());
}

// Scenario: many projects send something on one day and nothing on the next.
// Guarantees: they are forgotten, with one exception: those that still owe time.
#[tokio::test]
async fn projects_that_send_nothing_are_forgotten() {
    let keys = Arc::new(Keys::default());
    let quotas = keys.quotas(rate(10));
    for project in 1..=100 {
        send(&quotas, ProjectId(project), 1, 1).unwrap();
    }
    send(&quotas, ONE, 1_000_000, 1).unwrap();
    pass(&keys, 60);
    keys.now.store(Day::NS, Ordering::SeqCst);
    quotas.write_usage().await;
    let known: Vec<_> = quotas.counts().projects.keys().copied().collect();
    assert_eq!(known, [ONE]);
}
