//! What PulseBoard's clients need of people and projects: what every store must do.

use super::access::{change, hash, key, ok, user};
use super::{NOW, PROJECT};
use crate::model::ProjectId;
use crate::model::access::{Role, Scopes};
use crate::storage::access::people::NewTenant;
use crate::storage::access::{AccessStore, Hash, Login, Refusal};

fn login(number: u8, person: &str, ends: u64) -> Login {
    Login {
        token_hash: hash(number),
        id: format!("the only of {person}"),
        user_id: person.to_owned(),
        created_unix_nano: NOW,
        expires_unix_nano: NOW + ends,
        seen_unix_nano: NOW,
        address: String::new(),
        user_agent: String::new(),
        key: None,
        project: None,
        scopes: Scopes::ALL,
    }
}

async fn hand_on(
    store: &dyn AccessStore,
    login: Login,
    password: &str,
    instead_of: Option<Hash>,
) -> Result<(), Refusal> {
    let handed_on = store.hand_on_login(login, password.to_owned(), instead_of);
    handed_on.await.unwrap()
}

/// Numbers of the sessions that go on.
async fn alive(store: &dyn AccessStore) -> Vec<u8> {
    let mut found = Vec::new();
    for number in 1..=9 {
        if store.login(hash(number), NOW + 1).await.unwrap().is_some() {
            found.push(number);
        }
    }
    found
}

// Scenario: two people have sessions that are handed on; one is handed on twice, by somebody else,
// with an old password and after its end.
// Guarantees: a person has one of them, beside other sessions; of what is refused nothing is done.
pub(super) async fn a_session_is_handed_on_once(store: &dyn AccessStore) {
    for (id, email) in [("u1", "ada@x.org"), ("u2", "bob@x.org")] {
        ok(store.create_user(user(id, email), "h".to_owned(), change(0))).await;
    }
    let other = Login {
        id: "another".to_owned(),
        ..login(1, "u1", 20)
    };
    let before = store.state().await.unwrap();
    store
        .begin_login(other, "h".to_owned())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(hand_on(store, login(2, "u1", 20), "h", None).await, Ok(()));
    assert_eq!(hand_on(store, login(3, "u2", 20), "h", None).await, Ok(()));
    assert_eq!(hand_on(store, login(4, "u1", 20), "h", None).await, Ok(()));
    assert_eq!(alive(store).await, [1, 3, 4]);
    let next = |number| login(number, "u1", 20);
    for (from, password) in [(2, "h"), (1, "h"), (3, "h"), (4, "old"), (8, "h")] {
        let refused = hand_on(store, next(5), password, Some(hash(from))).await;
        assert_eq!(refused, Err(Refusal::Unknown), "{from}");
        assert_eq!(alive(store).await, [1, 3, 4]);
    }
    assert_eq!(hand_on(store, next(5), "h", Some(hash(4))).await, Ok(()));
    let again = hand_on(store, next(6), "h", Some(hash(4))).await;
    assert_eq!(again, Err(Refusal::Unknown));
    assert_eq!(alive(store).await, [1, 3, 5]);
    let late = Login {
        created_unix_nano: NOW + 20,
        ..login(6, "u1", 40)
    };
    let refused = hand_on(store, late, "h", Some(hash(5))).await;
    assert_eq!(refused, Err(Refusal::Unknown), "has ended");
    assert_eq!(store.state().await.unwrap(), before);
    ok(store.set_password("u1".to_owned(), "n".to_owned(), change(1))).await;
    assert_eq!(alive(store).await, [3]);
}

// Scenario: one session is handed on by many at once.
// Guarantees: by one of them.
pub(super) async fn of_many_who_hand_a_session_on_one_does(store: &dyn AccessStore) {
    let ada = user("u1", "ada@x.org");
    ok(store.create_user(ada, "h".to_owned(), change(0))).await;
    assert_eq!(hand_on(store, login(1, "u1", 20), "h", None).await, Ok(()));
    let all = (2..=9).map(|number| hand_on(store, login(number, "u1", 20), "h", Some(hash(1))));
    let done = futures_util::future::join_all(all).await;
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1);
    assert_eq!(alive(store).await.len(), 1);
    let all = (2..=9).map(|number| hand_on(store, login(number, "u1", 20), "h", None));
    futures_util::future::join_all(all).await;
    assert_eq!(alive(store).await.len(), 1);
}

// Scenario: people make projects, are admins or members of others, and revoke keys.
// Guarantees: each is told of those they administer, the newest first, with the beginning of the
// oldest key that is left; nobody of those of others.
pub(super) async fn people_own_what_they_administer(store: &dyn AccessStore) {
    for (id, email) in [("u1", "ada@x.org"), ("u2", "bob@x.org")] {
        ok(store.create_user(user(id, email), "h".to_owned(), change(0))).await;
    }
    for (who, number) in [("u1", 1), ("u1", 2), ("u2", 3)] {
        let tenant = NewTenant {
            name: format!("p{number}"),
            key: crate::storage::access::NewKey {
                prefix: format!("pulse_sk_{number}"),
                ..key(number, PROJECT)
            },
        };
        let at = change(u64::from(number));
        ok(store.create_tenant(tenant, who.to_owned(), at)).await;
    }
    let set = store.set_member(ProjectId(4), "u1".to_owned(), Role::Member, change(5));
    ok(set).await;
    let owned = async |who: &str, project: Option<u32>| {
        let found = store.owned(who.to_owned(), project.map(ProjectId)).await;
        let found = found.unwrap().into_iter();
        let found = found.map(|it| (it.project.id.0, it.project.name, it.key_prefix));
        found.collect::<Vec<_>>()
    };
    let shown = |number: u32| {
        let prefix = Some(format!("pulse_sk_{}", number - 1));
        (number, format!("p{}", number - 1), prefix)
    };
    assert_eq!(owned("u1", None).await, [shown(3), shown(2)]);
    assert_eq!(owned("u1", Some(2)).await, [shown(2)]);
    assert_eq!(owned("u1", Some(4)).await, []);
    assert_eq!(owned("u2", None).await, [shown(4)]);
    assert_eq!(owned("u9", None).await, []);
    ok(store.create_key(key(7, ProjectId(3)), change(6))).await;
    assert_eq!(owned("u1", Some(3)).await, [shown(3)]);
    ok(store.revoke_key(ProjectId(3), "k2".to_owned(), change(7))).await;
    let next = Some("pulse_sk_abcd".to_owned());
    assert_eq!(owned("u1", Some(3)).await, [(3, "p2".to_owned(), next)]);
    ok(store.revoke_key(ProjectId(3), "k7".to_owned(), change(8))).await;
    assert_eq!(owned("u1", Some(3)).await, [(3, "p2".to_owned(), None)]);
    ok(store.delete_project(ProjectId(3), change(9))).await;
    assert_eq!(owned("u1", None).await, [shown(2)]);
}
