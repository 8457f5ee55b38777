//! What projects may send and what they sent: what every store must do.

use super::NOW;
use super::fixture::OTHER;
use crate::model::ProjectId;
use crate::model::quota::{Day, Quota};
use crate::storage::access::{AccessStore, Change, Refusal};
use crate::storage::quota::{USAGE_DAYS_MAX, Usage};
use crate::storage::{Page, PageRequest};

fn change() -> Change {
    Change {
        by: "a test".to_owned(),
        at_unix_nano: NOW,
    }
}

async fn other(store: &dyn AccessStore) -> ProjectId {
    let made = store.create_project("one".to_owned(), change()).await;
    let made = made.unwrap().unwrap();
    assert_eq!(made.id, OTHER);
    made.id
}

// Scenario: two projects get limits, one of them others, one loses them, one is deleted.
// Guarantees: every change counts as one and is in the audit log; what is gone has no limits; a
// limit of zero items or bytes differs from none.
pub(super) async fn quotas_are_of_one_project(store: &dyn AccessStore) {
    let other = other(store).await;
    assert_eq!(store.quotas().await.unwrap(), []);
    let quota = |items_per_second, bytes_per_day| Quota {
        items_per_second,
        bytes_per_day,
    };
    let (rate, both) = (quota(Some(u32::MAX), None), quota(Some(1), Some(1 << 52)));
    let none = quota(None, None);
    let set = async |project, quota| store.set_quota(project, quota, change()).await.unwrap();
    let before = store.state().await.unwrap().generation;
    set(ProjectId::DEFAULT, Some(rate)).await.unwrap();
    set(other, Some(none)).await.unwrap();
    let known = store.quotas().await.unwrap();
    assert_eq!(known, [(ProjectId::DEFAULT, rate), (other, none)]);
    set(other, Some(both)).await.unwrap();
    set(ProjectId::DEFAULT, None).await.unwrap();
    assert_eq!(store.quotas().await.unwrap(), [(other, both)]);
    assert_eq!(store.state().await.unwrap().generation, before + 4);
    assert_eq!(set(ProjectId(99), Some(both)).await, Err(Refusal::Unknown));
    assert_eq!(store.state().await.unwrap().generation, before + 4);

    let page = PageRequest {
        limit: 2,
        after: None,
    };
    let Page { items, .. } = store.audit(Some(other), page).await.unwrap();
    let said: Vec<_> = items.iter().map(|entry| entry.target.as_str()).collect();
    assert_eq!(said, ["1 items/s, 4503599627370496 bytes/day", "no limit"]);
    assert!(items.iter().all(|entry| entry.action == "project.quota"));

    store
        .delete_project(other, change())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(store.quotas().await.unwrap(), []);
}

// Scenario: what two projects sent over a year is written in pieces, some of them of the same day,
// some of a project that there is not.
// Guarantees: pieces add up by project, day and signal; nothing is kept of days long gone and of
// projects that are gone.
pub(super) async fn usage_adds_up_by_day(store: &dyn AccessStore) {
    let other = other(store).await;
    let sent = |project, day, signal: &str, items, bytes| Usage {
        project,
        day: Day(day),
        signal: signal.to_owned(),
        items,
        bytes,
    };
    let default = ProjectId::DEFAULT;
    store.add_usage(Vec::new()).await.unwrap();
    let first = vec![
        sent(other, 20_000, "traces", 5, 1 << 40),
        sent(default, 20_000, "logs", 1, 10),
        sent(default, 20_000, "traces", 2, 20),
        sent(default, 19_999, "traces", 3, 30),
        sent(ProjectId(99), 20_000, "traces", 9, 90),
    ];
    store.add_usage(first).await.unwrap();
    let second = vec![
        sent(default, 20_000, "traces", 40, 400),
        sent(default, 20_000, "traces", 100, 1000),
    ];
    store.add_usage(second).await.unwrap();
    let of_default = [
        sent(default, 19_999, "traces", 3, 30),
        sent(default, 20_000, "logs", 1, 10),
        sent(default, 20_000, "traces", 142, 1420),
    ];
    assert_eq!(store.usage(default, Day(0)).await.unwrap(), of_default);
    assert_eq!(
        store.usage(default, Day(20_000)).await.unwrap(),
        of_default[1..]
    );
    assert_eq!(store.usage(ProjectId(99), Day(0)).await.unwrap(), []);
    assert_eq!(
        store.bytes_of(Day(20_000)).await.unwrap(),
        [(default, 1430), (other, 1 << 40)]
    );

    let newest = 19_999 + USAGE_DAYS_MAX;
    let late = vec![sent(default, newest, "metrics", 1, 1)];
    store.add_usage(late).await.unwrap();
    let left = store.usage(default, Day(0)).await.unwrap();
    let days: Vec<_> = left.iter().map(|usage| usage.day.0).collect();
    assert_eq!(days, [20_000, 20_000, newest]);

    store
        .delete_project(other, change())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        store.bytes_of(Day(20_000)).await.unwrap(),
        [(default, 1430)]
    );
}
