//! Where the feed ends while other databases of the server are busy.

use std::time::Duration;

use super::filled;
use crate::storage::postgres::reader::feed;
use crate::storage::postgres::testing::Database;

// Scenario: a transaction of another database ends after the snapshot was taken, so that its lock, which
// told whose it was, is gone.
// Guarantees: the feed does not end before where it ended: who follows from now on would be told of what
// was stored before.
#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "a connection of a test, which ends with it"
)]
async fn a_transaction_that_ends_elsewhere_moves_no_end_back() {
    let database = filled::database();
    let other = Database::create();
    let reader = filled::reader(&database, Duration::from_secs(60));
    let connecting = tokio_postgres::connect(other.url(), tokio_postgres::NoTls);
    let (client, connection) = connecting.await.unwrap();
    let connection = tokio::spawn(connection);
    let begin = "BEGIN; SELECT pg_current_xact_id()";
    client.batch_execute(begin).await.unwrap();
    // A later one has ended, so that the first is not merely the next number.
    database.execute("SELECT pg_current_xact_id()");

    let session = feed::begin(&reader.sessions).await.unwrap();
    let before = feed::end(&session).await.unwrap();
    client.batch_execute("ROLLBACK").await.unwrap();
    let after = feed::end(&session).await.unwrap();
    assert_eq!(after, before);
    session.end();
    drop(client);
    connection.await.unwrap().unwrap();
}
