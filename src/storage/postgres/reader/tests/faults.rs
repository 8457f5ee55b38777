//! Questions that take too long, that nobody waits for any more, or that no server answers.

use std::time::{Duration, Instant};

use crate::model::ProjectId;
use crate::storage::conformance::NOW;
use crate::storage::postgres::fault_proxy::FaultProxy;
use crate::storage::postgres::testing::Database;
use crate::storage::postgres::{Config, PostgresReader, migrate};
use crate::storage::{Error, PageRequest, SpanReader as _, TraceFilter};

const PROJECT: ProjectId = ProjectId::DEFAULT;
/// How long a loaded machine may take to notice what happened.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

async fn database() -> Database {
    let database = Database::create();
    migrate(&config(database.url()), NOW).await.unwrap();
    database
}

fn config(url: &str) -> Config {
    Config {
        url: url.into(),
        max_connections: 2,
        ..Config::default()
    }
}

fn reader(url: &str, query_timeout: Duration) -> PostgresReader {
    PostgresReader::open(&config(url), query_timeout).unwrap()
}

async fn list(reader: &PostgresReader) -> Result<usize, Error> {
    let page = PageRequest {
        limit: 10,
        after: None,
    };
    let filter = TraceFilter::default();
    let found = reader.list_traces(PROJECT, &filter, &page).await;
    found.map(|page| page.items.len())
}

/// Holds a lock that no reader of traces gets past, until it is dropped.
struct Locked {
    client: tokio_postgres::Client,
    connection: tokio::task::JoinHandle<()>,
}

impl Locked {
    async fn traces(database: &Database) -> Self {
        let url = database.url();
        let connected = tokio_postgres::connect(url, tokio_postgres::NoTls).await;
        let (client, connection) = connected.unwrap();
        let connection = tokio::task::spawn_local(async { drop(connection.await) });
        let lock = "BEGIN; LOCK TABLE trace IN ACCESS EXCLUSIVE MODE";
        client.batch_execute(lock).await.unwrap();
        Self { client, connection }
    }

    async fn release(self) {
        self.client.batch_execute("ROLLBACK").await.unwrap();
        self.connection.abort();
    }
}

/// Questions that the server is at.
fn running(database: &Database) -> i64 {
    database.number(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
         AND application_name = 'pulse-collector' AND state <> 'idle'",
    )
}

async fn await_none_running(database: &Database) {
    let deadline = Instant::now() + NOTICED_WITHIN;
    while running(database) > 0 {
        assert!(Instant::now() < deadline, "the server goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

// Scenario: a lock keeps a list from being answered, longer than a query may take.
// Guarantees: it ends as a timeout; the server does not go on with it; the next one is answered.
#[tokio::test(flavor = "local")]
async fn a_query_over_its_time_ends_here_and_on_the_server() {
    let database = database().await;
    let reader = reader(database.url(), Duration::from_millis(300));
    let locked = Locked::traces(&database).await;
    assert!(matches!(list(&reader).await, Err(Error::Timeout)));
    await_none_running(&database).await;
    locked.release().await;
    assert_eq!(list(&reader).await.unwrap(), 0);
}

// Scenario: every connection waits for a lock and the callers go away.
// Guarantees: the server notices and ends what nobody waits for, while the lock is still held; the
// connections are to be had again.
#[tokio::test(flavor = "local")]
async fn a_query_that_nobody_waits_for_is_ended() {
    let database = database().await;
    let reader = reader(database.url(), Duration::from_secs(600));
    assert_eq!(list(&reader).await.unwrap(), 0);
    let locked = Locked::traces(&database).await;
    for _ in 0..4 {
        let left = tokio::time::timeout(Duration::from_millis(100), list(&reader)).await;
        assert!(left.is_err());
    }
    await_none_running(&database).await;
    let answered = tokio::time::timeout(NOTICED_WITHIN, reader.usage());
    assert!(answered.await.unwrap().unwrap().bytes > 0);
    locked.release().await;
    assert_eq!(list(&reader).await.unwrap(), 0);
}

// Scenario: many more questions than connections at once, then more than may wait.
// Guarantees: no more connections than configured; all questions are answered, those over the
// bound refused at once.
#[tokio::test(flavor = "local")]
async fn connections_and_waiting_questions_are_bounded() {
    let database = database().await;
    let reader = reader(database.url(), Duration::from_secs(60));
    let answers = futures_util::future::join_all((0..20).map(|_| list(&reader))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(reader.sessions.connections().0, 2);

    let locked = Locked::traces(&database).await;
    // Two connections, and 32 that may wait for each.
    let asked = (0..2 + 64 + 5).map(|_| list(&reader));
    let answers = futures_util::future::join_all(asked);
    let release = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        locked.release().await;
    };
    let (answers, ()) = futures_util::future::join(answers, release).await;
    let refused = answers.iter().filter(|answer| answer.is_err()).count();
    assert_eq!(refused, 5);
}

// Scenario: the network refuses, cuts and freezes connections, and heals each time.
// Guarantees: questions fail as unavailable or out of time, within their limit, and are answered
// again afterwards.
#[tokio::test(flavor = "local")]
async fn questions_are_answered_again_after_every_fault() {
    let database = database().await;
    let proxy = FaultProxy::start(database.address());
    let reader = reader(
        &database.url_through(proxy.address()),
        Duration::from_secs(1),
    );
    proxy.refuse();
    // Nothing was ever reached: not even the key of the cursors is known.
    let unavailable = |answer| matches!(answer, Err(Error::Unavailable { .. }));
    let key = reader.load_cursor_key().await;
    assert!(matches!(key, Err(Error::Unavailable { .. })), "{key:?}");
    assert!(unavailable(list(&reader).await));
    proxy.heal();
    reader.load_cursor_key().await.unwrap();
    assert_ne!(reader.cursor_key(), [0; 32]);
    assert_eq!(list(&reader).await.unwrap(), 0);

    proxy.cut();
    assert_eq!(
        list(&reader).await.unwrap(),
        0,
        "a dead connection is replaced"
    );

    proxy.freeze();
    let started = Instant::now();
    assert!(list(&reader).await.is_err());
    assert!(started.elapsed() < Duration::from_secs(10));
    proxy.heal();
    assert_eq!(list(&reader).await.unwrap(), 0);

    let locked = Locked::traces(&database).await;
    let cut = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.cut();
    };
    let (answer, ()) = futures_util::future::join(list(&reader), cut).await;
    assert!(unavailable(answer));
    locked.release().await;
    assert_eq!(list(&reader).await.unwrap(), 0);
}

// Scenario: a database without our tables, as before the first migration.
// Guarantees: unavailable, so that asking again is right; answered once the tables are there.
#[tokio::test(flavor = "local")]
async fn a_database_without_tables_is_unavailable() {
    let database = Database::create();
    let reader = reader(database.url(), Duration::from_secs(10));
    assert!(matches!(
        list(&reader).await,
        Err(Error::Unavailable { .. })
    ));
    migrate(&config(database.url()), NOW).await.unwrap();
    assert_eq!(list(&reader).await.unwrap(), 0);
}

// Scenario: queries have a URL of their own, and the other one leads nowhere.
// Guarantees: they go to theirs, in one read-only snapshot.
#[tokio::test(flavor = "local")]
async fn queries_go_where_reads_are_configured_to_go() {
    let database = database().await;
    let config = Config {
        read_url: database.url().into(),
        ..config("postgres://nobody@127.0.0.1:1/nothing")
    };
    let reader = PostgresReader::open(&config, Duration::from_secs(10)).unwrap();
    assert_eq!(list(&reader).await.unwrap(), 0);
    let session = reader.sessions.begin().await.unwrap();
    let sql = "SELECT current_setting('transaction_isolation'),
        current_setting('transaction_read_only')";
    let rows = session.query(sql, &[], "look").await.unwrap();
    let settings: (&str, &str) = (rows[0].get(0), rows[0].get(1));
    assert_eq!(settings, ("repeatable read", "on"));
}
