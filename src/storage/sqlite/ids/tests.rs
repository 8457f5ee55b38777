//! Ids are found whatever stage they are in, in memory and on disk, before and after a restart.

use rusqlite::Connection;

use super::*;

const PROJECT: ProjectId = ProjectId::DEFAULT;

fn store() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    super::super::migrate::migrate(&mut connection, 1).unwrap();
    connection
}

/// An id that looks random.
fn id(number: u64) -> Id {
    let low = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let high = low.rotate_left(17) ^ number;
    (u128::from(low) << 64 | u128::from(high)).to_be_bytes()
}

fn add(
    connection: &mut Connection,
    index: &mut IdIndex,
    numbers: std::ops::Range<u64>,
    oldest: i64,
) {
    let transaction = connection.transaction().unwrap();
    for number in numbers {
        index
            .insert(&transaction, PROJECT, &id(number), number.cast_signed())
            .unwrap();
    }
    index.maintain(&transaction, oldest).unwrap();
    transaction.commit().unwrap();
}

fn find_both(connection: &mut Connection, index: &mut IdIndex, number: u64) -> Option<i64> {
    let transaction = connection.transaction().unwrap();
    let by_writer = index
        .find(&transaction, PROJECT, &id(number), |key| Ok(Some(key)))
        .unwrap();
    let by_reader = find(&transaction, Space::Traces, PROJECT, &id(number), |_| {
        Ok(true)
    })
    .unwrap();
    assert_eq!(by_writer, by_reader, "{number}");
    by_reader
}

fn count(connection: &Connection, sql: &str) -> i64 {
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

// Scenario: many more ids than one run holds, in batches, with restarts and rollbacks in between.
// Guarantees: every id is found with its key, no other is, and the number of runs stays small.
#[test]
fn ids_are_found_through_every_stage() {
    let mut connection = store();
    let mut index = IdIndex::new(Space::Traces);
    let (batch, batches) = (1_500, 100);
    for number in 0..batches {
        let first = number * batch;
        add(&mut connection, &mut index, first..first + batch, 0);
        if number % 13 == 5 {
            index.forget();
        }
        if number % 17 == 3 {
            let transaction = connection.transaction().unwrap();
            index
                .insert(&transaction, PROJECT, &id(u64::MAX), 1)
                .unwrap();
            index.maintain(&transaction, 0).unwrap();
            drop(transaction);
            index.forget();
        }
    }
    let all = batch * batches;
    for number in (0..all).step_by(97).chain(all - 50..all) {
        assert_eq!(
            find_both(&mut connection, &mut index, number),
            Some(number.cast_signed())
        );
    }
    assert_eq!(find_both(&mut connection, &mut index, all), None);
    assert_eq!(find_both(&mut connection, &mut index, u64::MAX), None);
    assert!(count(&connection, "SELECT count(*) FROM id_run WHERE state = 0") < 24);
    assert!(
        count(
            &connection,
            "SELECT count(*) FROM id_run WHERE state = 0 AND entry_count > 60000"
        ) > 0
    );
    // Another project's id is another id.
    let transaction = connection.transaction().unwrap();
    let other = index.find(&transaction, ProjectId(2), &id(1), |key| Ok(Some(key)));
    assert_eq!(other.unwrap(), None);
}

// Scenario: rows are deleted, oldest first, while ids go on coming; then all are.
// Guarantees: what is left is found, runs of deleted rows go away with their entries.
#[test]
fn entries_of_deleted_rows_go_away() {
    let mut connection = store();
    let mut index = IdIndex::new(Space::Traces);
    for number in 0..60_u64 {
        let first = number * 3_000;
        let oldest = first.saturating_sub(30_000).cast_signed();
        add(&mut connection, &mut index, first..first + 3_000, oldest);
    }
    let next = 60 * 3_000;
    assert!(find_both(&mut connection, &mut index, next - 1).is_some());
    assert!(find_both(&mut connection, &mut index, next - 20_000).is_some());
    for _ in 0..100 {
        add(
            &mut connection,
            &mut index,
            0..0,
            next.cast_signed() - 30_000,
        );
    }
    let bytes = "SELECT coalesce(sum(length(entries)), 0) FROM id_run_chunk";
    assert!(count(&connection, bytes) < 32 * 120_000);
    for _ in 0..100 {
        add(&mut connection, &mut index, 0..0, i64::MAX);
    }
    assert_eq!(count(&connection, "SELECT count(*) FROM id_run_chunk"), 0);
    assert_eq!(count(&connection, "SELECT count(*) FROM id_run"), 0);
}

// Scenario: an id whose row was deleted comes again.
// Guarantees: the row that exists is found.
#[test]
fn an_id_that_comes_again_leads_to_its_newest_row() {
    let mut connection = store();
    let mut index = IdIndex::new(Space::Traces);
    add(&mut connection, &mut index, 0..9_000, 0);
    let transaction = connection.transaction().unwrap();
    index.insert(&transaction, PROJECT, &id(5), 10_000).unwrap();
    let found = index.find(&transaction, PROJECT, &id(5), |key| {
        Ok((key != 10_000).then_some(key))
    });
    assert_eq!(found.unwrap(), Some(5));
    let found = index.find(&transaction, PROJECT, &id(5), |key| Ok(Some(key)));
    assert_eq!(found.unwrap(), Some(10_000));
}
