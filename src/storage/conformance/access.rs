//! Projects, keys and people: what every store must do.

use super::events::{logs, record, write_logs};
use super::fixture::{OTHER, span, write_spans};
use super::metrics::{sums, write_at};
use super::{Backend, NOW, PROJECT, everything, runtime, text};
use crate::model::ProjectId;
use crate::model::access::{Role, Scope, Scopes};
use crate::storage::access::{AccessStore, Change, Done, Hash, NewKey, Refusal, User};
use crate::storage::issues::{IssueFilter, IssueStore};
use crate::storage::metrics::query::MetricFilter;
use crate::storage::{Cursor, EventFilter, Page, PageRequest};

pub(super) use super::invites::{invitations_are_bounded, invitations_are_good_once};
pub(super) use super::quotas::{quotas_are_of_one_project, usage_adds_up_by_day};

const MINUTE: u64 = 60_000_000_000;

pub(super) fn change(at: u64) -> Change {
    Change {
        by: "a test".to_owned(),
        at_unix_nano: NOW + at,
    }
}

pub(super) fn page(limit: usize, after: Option<Cursor>) -> PageRequest {
    PageRequest { limit, after }
}

pub(super) fn hash(number: u8) -> Hash {
    [number; 32]
}

pub(super) fn key(number: u8, project: ProjectId) -> NewKey {
    NewKey {
        id: format!("k{number}"),
        project,
        name: format!("key {number}"),
        hash: hash(number),
        prefix: "pulse_sk_abcd".to_owned(),
        scopes: Scopes::NONE.with(Scope::Ingest),
        expires_unix_nano: None,
    }
}

pub(super) fn user(id: &str, email: &str) -> User {
    User {
        id: id.to_owned(),
        email: email.to_owned(),
        name: "Ada L".to_owned(),
        created_unix_nano: NOW,
    }
}

/// What comes of a change that is made.
pub(super) async fn ok<T>(change: impl Future<Output = Done<T>>) -> T {
    change.await.unwrap().unwrap()
}

pub(super) async fn generation(store: &dyn AccessStore) -> u64 {
    store.state().await.unwrap().generation
}

// Scenario: projects are created, one name twice, and the newest is deleted and made anew.
// Guarantees: numbers are never given out again, names are; `default` is there from the start.
pub(super) async fn projects_are_created_once_and_deleted_for_good(store: &dyn AccessStore) {
    let default = store.project("default".to_owned()).await.unwrap().unwrap();
    assert_eq!(default.id, ProjectId::DEFAULT);
    let create = |name: &str| store.create_project(name.to_owned(), change(5));
    let one = create("one").await.unwrap().unwrap();
    assert_eq!((one.id, one.created_unix_nano), (OTHER, NOW + 5));
    let two = create("two").await.unwrap().unwrap();
    assert_eq!(create("two").await.unwrap(), Err(Refusal::Taken));
    let kept = generation(store).await;
    ok(store.delete_project(two.id, change(6))).await;
    assert_eq!(
        store.delete_project(two.id, change(7)).await.unwrap(),
        Err(Refusal::Unknown)
    );
    assert_eq!(
        generation(store).await,
        kept + 1,
        "what is refused is no change"
    );
    let again = create("two").await.unwrap().unwrap();
    assert_eq!(again.id.0, two.id.0 + 1);
    let first = store.projects(page(2, None)).await.unwrap();
    let rest = store.projects(page(2, first.next.clone())).await.unwrap();
    let names = |page: &Page<crate::storage::access::Project>| -> Vec<String> {
        page.items
            .iter()
            .map(|project| project.name.clone())
            .collect()
    };
    assert_eq!(names(&first), ["default", "one"]);
    assert_eq!(names(&rest), ["two"]);
    assert_eq!(rest.next, None);
    assert_eq!(store.project("three".to_owned()).await.unwrap(), None);
}

// Scenario: keys are stored, looked up, renamed, revoked, and outlive their project.
// Guarantees: a key is found by its hash as it is now, with the number of the latest change; it is
// changed only as its project's.
pub(super) async fn keys_are_good_until_they_are_revoked(store: &dyn AccessStore) {
    let before = store.state().await.unwrap();
    assert!(!before.has_keys && !before.has_users);
    assert_eq!(store.key(hash(1)).await.unwrap().item, None);
    let expiring = NewKey {
        scopes: Scopes::ALL,
        expires_unix_nano: Some(NOW + 9),
        ..key(1, PROJECT)
    };
    let stored = store.create_key(expiring, change(1)).await.unwrap();
    let stored = stored.unwrap();
    assert_eq!(
        (stored.scopes, stored.expires_unix_nano),
        (Scopes::ALL, Some(NOW + 9))
    );
    assert_eq!(
        (stored.created_unix_nano, stored.last_used_unix_nano),
        (NOW + 1, None)
    );
    assert!(store.state().await.unwrap().has_keys);
    let found = store.key(hash(1)).await.unwrap();
    assert_eq!(found.generation, before.generation + 1);
    let grant = found.item.unwrap();
    assert_eq!((grant.id.as_str(), grant.project), ("k1", PROJECT));
    assert_eq!((grant.hash, grant.scopes), (hash(1), Scopes::ALL));
    assert_eq!(
        (grant.expires_unix_nano, grant.revoked),
        (Some(NOW + 9), false)
    );

    let taken = store.create_key(key(1, PROJECT), change(2)).await.unwrap();
    assert_eq!(taken, Err(Refusal::Taken));
    let nowhere = store.create_key(key(2, ProjectId(99)), change(2)).await;
    assert_eq!(nowhere.unwrap(), Err(Refusal::Unknown));
    let id = || "k1".to_owned();
    let foreign = store.revoke_key(OTHER, id(), change(3)).await.unwrap();
    assert_eq!(foreign, Err(Refusal::Unknown));
    let renamed = store
        .rename_key(PROJECT, id(), "x".to_owned(), change(3))
        .await;
    assert_eq!(renamed.unwrap().unwrap().name, "x");
    let revoked = store.revoke_key(PROJECT, id(), change(4)).await.unwrap();
    assert_eq!(revoked.unwrap().revoked_unix_nano, Some(NOW + 4));
    let twice = store.revoke_key(PROJECT, id(), change(5)).await.unwrap();
    assert_eq!(twice.unwrap().revoked_unix_nano, Some(NOW + 4));
    assert!(store.key(hash(1)).await.unwrap().item.unwrap().revoked);
    assert!(store.state().await.unwrap().has_keys, "there has been one");

    let project = store
        .create_project("p".to_owned(), change(6))
        .await
        .unwrap();
    let project = project.unwrap().id;
    ok(store.create_key(key(3, project), change(7))).await;
    assert!(!store.key(hash(3)).await.unwrap().item.unwrap().revoked);
    ok(store.delete_project(project, change(8))).await;
    assert!(store.key(hash(3)).await.unwrap().item.unwrap().revoked);
}

// Scenario: keys are used again and again, within a minute and after it.
// Guarantees: the time of the last use is kept to the minute, never goes back, and is no change.
pub(super) async fn uses_are_noted_once_a_minute(store: &dyn AccessStore) {
    for number in 1..=3 {
        ok(store.create_key(key(number, PROJECT), change(1))).await;
    }
    let before = generation(store).await;
    let used = async |uses: &[(&str, u64)]| {
        let uses = uses.iter().map(|(id, at)| ((*id).to_owned(), NOW + at));
        store.note_used(uses.collect()).await.unwrap();
        let keys = store.keys(PROJECT, page(10, None)).await.unwrap().items;
        let times = keys
            .iter()
            .map(|key| key.last_used_unix_nano.map(|at| at - NOW));
        times.collect::<Vec<_>>()
    };
    // Keys of one time are listed by id, the last first.
    assert_eq!(used(&[]).await, [None, None, None]);
    let uses = [("k2", 7), ("k1", 5), ("nobody", 1)];
    assert_eq!(used(&uses).await, [None, Some(7), Some(5)]);
    let uses = [("k1", MINUTE + 5), ("k2", MINUTE + 6)];
    assert_eq!(used(&uses).await, [None, Some(7), Some(MINUTE + 5)]);
    assert_eq!(used(&[("k1", 9)]).await, [None, Some(7), Some(MINUTE + 5)]);
    assert_eq!(generation(store).await, before);
}

// Scenario: keys of two projects, listed in pages of two.
// Guarantees: each list has its project's keys, newest first, each once.
pub(super) async fn keys_are_listed_by_project(store: &dyn AccessStore) {
    ok(store.create_project("p".to_owned(), change(0))).await;
    for (number, project, at) in [
        (1, PROJECT, 1),
        (2, PROJECT, 3),
        (3, OTHER, 2),
        (4, PROJECT, 3),
        (5, PROJECT, 2),
    ] {
        ok(store.create_key(key(number, project), change(at))).await;
    }
    let list = async |project| {
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let page = store.keys(project, page(2, after)).await.unwrap();
            assert!(page.items.len() <= 2);
            ids.extend(page.items.into_iter().map(|key| key.id));
            after = page.next;
            if after.is_none() {
                return ids;
            }
        }
    };
    assert_eq!(list(PROJECT).await, ["k4", "k2", "k5", "k1"]);
    assert_eq!(list(OTHER).await, ["k3"]);
    let one = async |project| store.key_by_id(project, "k3".to_owned()).await.unwrap();
    assert_eq!(
        one(OTHER).await.map(|key| key.name).as_deref(),
        Some("key 3")
    );
    assert_eq!(one(PROJECT).await, None);
}

// Scenario: changes of every kind about two projects and about none.
// Guarantees: each has one entry with its number, and no entry holds a secret.
pub(super) async fn every_change_is_in_the_audit_log(store: &dyn AccessStore) {
    let start = generation(store).await;
    ok(store.create_project("p".to_owned(), change(1))).await;
    ok(store.create_key(key(1, PROJECT), change(2))).await;
    ok(store.create_key(key(2, OTHER), change(3))).await;
    let ada = user("u1", "ada@x.org");
    ok(store.create_user(ada, "$argon2id$secret".to_owned(), change(4))).await;
    let id = || "u1".to_owned();
    ok(store.set_member(OTHER, id(), Role::Viewer, change(5))).await;
    ok(store.revoke_key(OTHER, "k2".to_owned(), change(6))).await;
    ok(store.set_password(id(), "$argon2id$other".to_owned(), change(7))).await;
    ok(store.delete_project(OTHER, change(8))).await;
    let actions = async |project, limit| {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = store.audit(project, page(limit, after)).await.unwrap();
            found.extend(page.items);
            after = page.next;
            if after.is_none() {
                return found;
            }
        }
    };
    let all = actions(None, 3).await;
    let told: Vec<_> = all
        .iter()
        .map(|entry| {
            (
                entry.number - start,
                entry.action.as_str(),
                entry.target.as_str(),
            )
        })
        .collect();
    let expected = [
        (8, "project.delete", "p"),
        (7, "user.password", "ada@x.org"),
        (6, "key.revoke", "k2"),
        (5, "member.set", "u1"),
        (4, "user.create", "ada@x.org"),
        (3, "key.create", "k2"),
        (2, "key.create", "k1"),
        (1, "project.create", "p"),
    ];
    assert_eq!(told, expected);
    for entry in &all {
        assert_eq!(entry.by, "a test");
        assert_eq!(entry.at_unix_nano, NOW + entry.number - start);
        assert!(!format!("{entry:?}").contains("argon2id"));
    }
    let of_other: Vec<_> = actions(Some(OTHER), 2).await;
    let numbers: Vec<_> = of_other.iter().map(|entry| entry.number - start).collect();
    assert_eq!(numbers, [8, 6, 5, 3, 1]);
    assert_eq!(generation(store).await, start + 8);
}

// Scenario: people are added, one address twice, given roles, and lose a project.
// Guarantees: an address is one person's; a list of members holds the project's only.
pub(super) async fn people_are_members_of_projects(store: &dyn AccessStore) {
    ok(store.create_project("p".to_owned(), change(1))).await;
    let [ada, bob] = [user("u2", "ada@x.org"), user("u1", "bob@x.org")];
    for person in [&ada, &bob] {
        let hash = format!("hash of {}", person.id);
        ok(store.create_user(person.clone(), hash, change(2))).await;
    }
    let twice = store.create_user(user("u3", "ada@x.org"), "h".to_owned(), change(3));
    assert_eq!(twice.await.unwrap(), Err(Refusal::Taken));
    let found = store.user("ada@x.org".to_owned()).await.unwrap();
    assert_eq!(found, Some((ada.clone(), "hash of u2".to_owned())));
    assert_eq!(store.user("eve@x.org".to_owned()).await.unwrap(), None);
    let set = |project, id: &str, role| store.set_member(project, id.to_owned(), role, change(4));
    for (project, person, role) in [
        (PROJECT, "u1", Role::Viewer),
        (PROJECT, "u2", Role::Admin),
        (OTHER, "u2", Role::Member),
        (PROJECT, "u1", Role::Member),
    ] {
        set(project, person, role).await.unwrap().unwrap();
    }
    for (project, person) in [(ProjectId(9), "u1"), (PROJECT, "u9")] {
        let unknown = set(project, person, Role::Admin).await.unwrap();
        assert_eq!(unknown, Err(Refusal::Unknown));
    }
    let members = async |project| {
        let members = store.members(project).await.unwrap();
        let told = members.into_iter().map(|member| {
            assert_eq!(member.project, project);
            (member.user.email, member.role)
        });
        told.collect::<Vec<_>>()
    };
    let (ada_is, bob_is) = (
        |role| ("ada@x.org".to_owned(), role),
        ("bob@x.org".to_owned(), Role::Member),
    );
    assert_eq!(
        members(PROJECT).await,
        [ada_is(Role::Admin), bob_is.clone()]
    );
    assert_eq!(members(OTHER).await, [ada_is(Role::Member)]);
    let of_ada = store.projects_of("u2".to_owned()).await.unwrap();
    let of_ada: Vec<_> = of_ada
        .into_iter()
        .map(|(project, role)| (project.id, role))
        .collect();
    assert_eq!(of_ada, [(PROJECT, Role::Admin), (OTHER, Role::Member)]);
    ok(store.delete_project(OTHER, change(5))).await;
    assert_eq!(store.projects_of("u2".to_owned()).await.unwrap().len(), 1);
    let remove = || store.remove_member(PROJECT, "u2".to_owned(), change(6));
    remove().await.unwrap().unwrap();
    assert_eq!(remove().await.unwrap(), Err(Refusal::Unknown));
    assert_eq!(members(PROJECT).await, [bob_is]);
    let first = store.users(page(1, None)).await.unwrap();
    let rest = store.users(page(1, first.next)).await.unwrap();
    assert_eq!(
        (first.items, rest.items, rest.next),
        (vec![ada], vec![bob], None)
    );
    assert!(store.state().await.unwrap().has_users);
}

/// An error of a project, which becomes an event and an issue, and data points.
fn write_more(backend: &mut impl Backend, project: ProjectId, at: u64) {
    let mut failed = record(NOW + at, "failed");
    failed.severity_number = 17;
    failed.attributes = vec![text("exception.type", "E"), text("exception.message", "m")];
    let next = backend.checkpoint().0;
    write_logs(backend, project, next, &[logs("api", vec![failed])]);
    let points = sums("api", "tokens", &[(at, 5, "m")]);
    write_at(backend, project, NOW, 1000, &[points]);
}

/// How many events, metrics and issues questions see.
fn seen(
    backend: &impl Backend,
    issues: &dyn IssueStore,
    project: ProjectId,
) -> (usize, usize, usize) {
    let (all, reader) = (page(100, None), backend.reader());
    runtime().block_on(async {
        let filter = EventFilter::default();
        let events = reader.list_events(project, &filter, &all).await;
        let filter = MetricFilter::default();
        let metrics = reader.list_metrics(project, &filter, &all).await;
        let issues = issues.issues(project, IssueFilter::default(), all).await;
        (
            events.unwrap().items.len(),
            metrics.unwrap().items.len(),
            issues.unwrap().items.len(),
        )
    })
}

// Scenario: two projects store spans, events that are issues, and data points; one is deleted, and
// what it sent before arrives late.
// Guarantees: retention leaves nothing of it that a question could see, and the other whole.
pub(super) fn what_a_deleted_project_stored_goes(
    backend: &mut impl Backend,
    store: &dyn AccessStore,
    issues: &dyn IssueStore,
) {
    let created = store.create_project("p".to_owned(), change(0));
    runtime().block_on(created).unwrap().unwrap();
    let theirs = |trace| super::fixture::TestSpan {
        project: OTHER,
        ..span(trace, trace, NOW + trace)
    };
    write_spans(backend, &[span(1, 1, NOW), span(2, 2, NOW)]);
    write_spans(backend, &(1..=40).map(theirs).collect::<Vec<_>>());
    write_more(backend, PROJECT, 1);
    for at in [1, 2] {
        write_more(backend, OTHER, at);
    }
    let (ours, nothing) = (
        everything(backend, PROJECT),
        everything(backend, ProjectId(9)),
    );
    assert_ne!(everything(backend, OTHER), nothing);
    assert_eq!(seen(backend, issues, OTHER), (2, 1, 1));
    assert_eq!(seen(backend, issues, PROJECT), (1, 1, 1));
    runtime()
        .block_on(store.delete_project(OTHER, change(1)))
        .unwrap()
        .unwrap();
    assert_eq!(retain(backend), 40);
    let is_gone = |backend: &_| {
        assert_eq!(everything(backend, OTHER), nothing);
        assert_eq!(seen(backend, issues, OTHER), (0, 0, 0));
        assert_eq!(everything(backend, PROJECT), ours);
        assert_eq!(seen(backend, issues, PROJECT), (1, 1, 1));
    };
    is_gone(backend);
    write_spans(backend, &[theirs(50)]);
    write_more(backend, OTHER, 3);
    assert_eq!(retain(backend), 1);
    is_gone(backend);
}

/// Runs retention to its end; answers how many traces it deleted.
fn retain(backend: &mut impl Backend) -> u64 {
    let mut deleted = 0;
    for _ in 0..20 {
        let report = backend.writer().enforce_retention(NOW);
        let report = runtime().block_on(report).unwrap();
        deleted += report.traces_deleted;
        if !report.more {
            return deleted;
        }
    }
    panic!("retention does not end");
}
