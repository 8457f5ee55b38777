//! Runs SQL for tests.

use std::future::Future;

use tokio_postgres::{NoTls, SimpleQueryMessage};

/// Runs a future to its end, also where a runtime runs already.
fn block<T: Send>(future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("make a runtime")
                .block_on(future)
        });
        match thread.join() {
            Ok(answer) => answer,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

pub(crate) fn run_sql(url: &str, sql: &str) -> Vec<Vec<Option<String>>> {
    match try_sql(url, sql) {
        Ok(rows) => rows,
        Err(error) => panic!("{sql}: {error:?}"),
    }
}

pub(crate) fn try_sql(
    url: &str,
    sql: &str,
) -> Result<Vec<Vec<Option<String>>>, tokio_postgres::Error> {
    block(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let connection = std::pin::pin!(connection);
        let work = std::pin::pin!(client.simple_query(sql));
        let messages = match futures_util::future::select(work, connection).await {
            futures_util::future::Either::Left((messages, _)) => messages?,
            futures_util::future::Either::Right((ended, work)) => {
                ended?;
                work.await?
            }
        };
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(
                (0..row.len())
                    .map(|column| row.get(column).map(str::to_owned))
                    .collect(),
            ),
            _ => None,
        });
        Ok(rows.collect())
    })
}

/// The URL of another database on the same server.
pub(crate) fn with_database(url: &str, name: &str) -> String {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, format!("?{query}")),
        None => (rest, String::new()),
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    format!("{scheme}://{authority}/{name}{query}")
}
