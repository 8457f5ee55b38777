//! What the server does to tell of what was stored last.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::filled;
use super::plans::{PROJECT, Touched};
use crate::storage::feed::{FeedPosition, FeedRequest};
use crate::storage::postgres::reader::{event_feed, feed};
use crate::storage::postgres::testing::Database;

/// Blocks of spans of today, and as many of events, each stored by a transaction of its own. A new
/// server has given out more numbers than these.
const BLOCKS: u64 = 300;
/// Blocks of a page.
const PAGE: u64 = 32;

/// Adds them, in a partition of yesterday and today; nothing has looked at them.
fn add_blocks(database: &Database) {
    const DAY_MS: u128 = 24 * 60 * 60 * 1000;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now_ms = now_ms.as_millis();
    let [from, now, to] = [now_ms - 2 * DAY_MS, now_ms, now_ms + DAY_MS].map(|it| it * 1_000_000);
    database.execute(&format!(
        "CREATE TABLE content_block_today PARTITION OF content_block
            FOR VALUES FROM (block_at({from})) TO (block_at({to}));
        INSERT INTO content_block (project_id, block_id, codec, content, committed, event_keys)
            SELECT 1, block_at({now}) + n, codec, content, n::text::xid8,
                CASE WHEN n % 2 = 0 THEN '\\x'::bytea END
            FROM generate_series(1, {both}) AS n,
                (SELECT codec, content FROM content_block LIMIT 1) AS any_block",
        both = 2 * BLOCKS,
    ));
}

/// Looked at besides: the partition of all other times.
fn assert_today_only(touched: &Touched) {
    let looked_at = touched.partitions("content_block");
    let known = BTreeSet::from(["content_block_today", "content_block_default"]);
    assert!(looked_at.is_subset(&known), "{looked_at:?}");
}

fn asked(after: FeedPosition) -> FeedRequest {
    FeedRequest {
        after,
        spans_min: usize::MAX,
        whole: false,
    }
}

// Scenario: forty days of blocks, and many of today; who follows spans, or events, asks for a page
// from the middle of them, before the server has looked at the new partition and after.
// Guarantees: only the blocks of the page are touched, by the index that is made for it, in no
// partition of an earlier day, and none of the others' blocks.
#[tokio::test]
async fn a_page_of_a_feed_touches_its_blocks_only() {
    let database = filled::database();
    add_blocks(&database);
    let reader = filled::reader(&database, Duration::from_secs(60));
    for _ in 0..2 {
        let mut session = feed::begin(&reader.sessions).await.unwrap();
        session.note_plans();
        let request = asked(FeedPosition::before(BLOCKS));
        let page = feed::page(&session, PROJECT, &request).await.unwrap();
        assert!(page.more);
        assert_eq!(page.next.commit, BLOCKS + 2 * PAGE - 1);
        let touched = Touched::of(&session);
        // Those of events between them are passed over.
        touched.assert_rows("content_block", 2 * PAGE + 1);
        touched.assert_index("content_block_today", "committed");
        assert_today_only(&touched);

        let after = FeedPosition::before(BLOCKS);
        let page = event_feed::page(&session, PROJECT, after, usize::MAX);
        let page = page.await.unwrap();
        assert!(page.more);
        assert_eq!(page.next.commit, BLOCKS + 2 * (PAGE - 1));
        let touched = Touched::of(&session);
        touched.assert_rows("content_block", PAGE + 1);
        touched.assert_index("content_block_today", "committed_block_id_idx1");
        assert_today_only(&touched);
        session.end();
        database.execute("ANALYZE content_block");
    }

    // All that are left are of events: who follows spans passes over them once.
    let mut session = feed::begin(&reader.sessions).await.unwrap();
    session.note_plans();
    let last = FeedPosition::before(2 * BLOCKS);
    let page = feed::page(&session, PROJECT, &asked(last)).await.unwrap();
    assert!(!page.more);
    let touched = Touched::of(&session);
    touched.assert_rows("content_block", 3);
    assert_today_only(&touched);
    assert!(page.next > last && page.next.commit == 2 * BLOCKS);
    session.end();
}
