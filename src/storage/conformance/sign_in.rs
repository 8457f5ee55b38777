//! Sessions, and changes of several parts: what every store must do.

use std::collections::BTreeSet;

use super::access::{change, generation, hash, key, ok, page, user};
use super::{NOW, PROJECT};
use crate::model::ProjectId;
use crate::model::access::{Role, Scope, Scopes};
use crate::storage::access::people::{LOGINS_MAX, NewMember, NewTenant, SignUp};
use crate::storage::access::{AccessStore, Login, NewKey, Refusal, User};

fn login(number: u8, person: &str, began: u64, ends: u64) -> Login {
    Login {
        token_hash: hash(number),
        id: format!("id of {number}"),
        user_id: person.to_owned(),
        created_unix_nano: NOW + began,
        expires_unix_nano: NOW + ends,
        seen_unix_nano: NOW + began,
        address: "192.0.2.1".to_owned(),
        user_agent: "a browser".to_owned(),
        key: None,
        project: None,
        scopes: Scopes::ALL,
    }
}

async fn begin(store: &dyn AccessStore, login: Login, password: &str) -> Result<(), Refusal> {
    store.begin_login(login, password.to_owned()).await.unwrap()
}

/// Numbers of the sessions that go on.
async fn alive(store: &dyn AccessStore, at: u64) -> BTreeSet<u8> {
    let mut found = BTreeSet::new();
    for number in 1..=4 {
        if let Some((login, user)) = store.login(hash(number), NOW + at).await.unwrap() {
            assert_eq!((login.token_hash, &login.user_id), (hash(number), &user.id));
            found.insert(number);
        }
    }
    found
}

// Scenario: sessions of two people begin, end by themselves, are ended, and lose their password.
// Guarantees: an ended one is never found again and is kept no longer; a new password ends all
// sessions of its person, and none begins with the old one; what is known of a session is kept.
pub(super) async fn sessions_end(store: &dyn AccessStore) {
    for (id, email) in [("u1", "ada@x.org"), ("u2", "bob@x.org")] {
        ok(store.create_user(user(id, email), "h".to_owned(), change(0))).await;
    }
    let before = generation(store).await;
    let bound = Login {
        project: Some(PROJECT),
        scopes: Scopes::NONE.with(Scope::Read),
        ..login(3, "u2", 0, 20)
    };
    for login in [
        login(1, "u1", 0, 10),
        login(2, "u1", 0, 20),
        bound.clone(),
        login(4, "u1", 0, 20),
    ] {
        assert_eq!(begin(store, login, "h").await, Ok(()));
    }
    let wrong = begin(store, login(5, "u1", 0, 20), "other").await;
    assert_eq!(wrong, Err(Refusal::Unknown));
    let nobody = begin(store, login(5, "u9", 0, 20), "h").await;
    assert_eq!(nobody, Err(Refusal::Unknown));
    assert_eq!(alive(store, 9).await, BTreeSet::from([1, 2, 3, 4]));
    assert_eq!(alive(store, 10).await, BTreeSet::from([2, 3, 4]));
    let found = store.login(hash(3), NOW + 1).await.unwrap();
    assert_eq!(found, Some((bound, user("u2", "bob@x.org"))));

    store.note_seen(hash(2), NOW + 7).await.unwrap();
    store.note_seen(hash(2), NOW + 6).await.unwrap();
    store.note_seen(hash(9), NOW + 6).await.unwrap();
    let (seen, _) = store.login(hash(2), NOW + 8).await.unwrap().unwrap();
    assert_eq!(seen.seen_unix_nano, NOW + 7, "never goes back");

    store.end_login(hash(4)).await.unwrap().unwrap();
    let again = store.end_login(hash(4)).await.unwrap();
    assert_eq!(again, Err(Refusal::Unknown));
    assert_eq!(alive(store, 9).await, BTreeSet::from([1, 2, 3]));
    assert_eq!(
        generation(store).await,
        before,
        "nothing of this is a change"
    );
    // The first has ended by then, and is dropped.
    assert_eq!(begin(store, login(4, "u2", 10, 30), "h").await, Ok(()));
    assert_eq!(alive(store, 9).await, BTreeSet::from([2, 3, 4]));

    ok(store.set_password("u1".to_owned(), "n".to_owned(), change(1))).await;
    assert_eq!(alive(store, 11).await, BTreeSet::from([3, 4]));
    let late = begin(store, login(1, "u1", 0, 20), "h").await;
    assert_eq!(late, Err(Refusal::Unknown));
    let unknown = store
        .set_password("u9".to_owned(), "n".to_owned(), change(1))
        .await;
    assert_eq!(unknown.unwrap(), Err(Refusal::Unknown));
}

// Scenario: sessions are begun with keys; one is revoked, one ends by itself, one was never there.
// Guarantees: a session is good as long as its key.
pub(super) async fn sessions_end_with_their_keys(store: &dyn AccessStore) {
    ok(store.create_user(user("u1", "ada@x.org"), "h".to_owned(), change(0))).await;
    for number in 1..=3 {
        let expires_unix_nano = (number == 2).then_some(NOW + 10);
        let key = NewKey {
            expires_unix_nano,
            ..key(number, PROJECT)
        };
        ok(store.create_key(key, change(0))).await;
    }
    for number in 1..=4 {
        let login = Login {
            key: Some(format!("k{number}")),
            ..login(number, "u1", 0, 100)
        };
        assert_eq!(begin(store, login, "h").await, Ok(()));
    }
    assert_eq!(alive(store, 9).await, BTreeSet::from([1, 2, 3]));
    assert_eq!(alive(store, 10).await, BTreeSet::from([1, 3]));
    ok(store.revoke_key(PROJECT, "k1".to_owned(), change(11))).await;
    assert_eq!(alive(store, 12).await, BTreeSet::from([3]));
    let (found, _) = store.login(hash(3), NOW + 12).await.unwrap().unwrap();
    assert_eq!(found.key.as_deref(), Some("k3"));
}

// Scenario: one person begins more sessions than are kept, beside another.
// Guarantees: the oldest go, the other's stays.
pub(super) async fn sessions_of_a_person_are_bounded(store: &dyn AccessStore) {
    for (id, email) in [("u1", "ada@x.org"), ("u2", "bob@x.org")] {
        ok(store.create_user(user(id, email), "h".to_owned(), change(0))).await;
    }
    let ends = 1_000;
    assert_eq!(begin(store, login(1, "u2", 0, ends), "h").await, Ok(()));
    let more = u8::try_from(LOGINS_MAX).unwrap() + 2;
    for number in 2..2 + more {
        let began = u64::from(number);
        assert_eq!(
            begin(store, login(number, "u1", began, ends), "h").await,
            Ok(())
        );
    }
    assert_eq!(alive(store, 500).await, BTreeSet::from([1, 4]));
    for number in 5..2 + more {
        let found = store.login(hash(number), NOW + 500).await.unwrap();
        assert!(found.is_some(), "{number}");
    }
}

// Scenario: two daemons start and each has a secret to sign with.
// Guarantees: both sign with the first one's.
pub(super) async fn all_daemons_sign_with_one_secret(store: &dyn AccessStore) {
    assert_eq!(store.signing_secret([1; 32]).await.unwrap(), [1; 32]);
    assert_eq!(store.signing_secret([2; 32]).await.unwrap(), [1; 32]);
}

fn tenant(number: u8, name: &str) -> NewTenant {
    NewTenant {
        name: name.to_owned(),
        key: key(number, ProjectId(u32::MAX)),
    }
}

fn sign_up(user: User, tenant: Option<NewTenant>) -> SignUp {
    SignUp {
        user,
        password: "h".to_owned(),
        tenant,
        only_first: false,
    }
}

// Scenario: people sign up with projects of one name, with an address and a key that are taken, and
// after the only one who might.
// Guarantees: everybody has a project of their own with its key, or nothing was done; each part is
// in the audit log.
pub(super) async fn people_sign_up_whole_or_not_at_all(store: &dyn AccessStore) {
    let first = SignUp {
        only_first: true,
        ..sign_up(user("u1", "ada@x.org"), Some(tenant(1, "Shop")))
    };
    let made = ok(store.sign_up(first.clone(), change(1))).await.unwrap();
    assert_eq!((made.id.0, made.name.as_str()), (2, "Shop"));
    let entries = store.audit(None, page(10, None)).await.unwrap().items;
    let told: Vec<_> = entries
        .iter()
        .map(|entry| (entry.action.as_str(), entry.project))
        .collect();
    let in_it = Some(made.id);
    let expected = [
        ("member.set", in_it),
        ("key.create", in_it),
        ("project.create", in_it),
        ("user.create", None),
    ];
    assert_eq!(told, expected);
    let grant = store.key(hash(1)).await.unwrap().item.unwrap();
    assert_eq!(grant.project, made.id);

    let before = generation(store).await;
    let closed = SignUp {
        user: user("u2", "bob@x.org"),
        ..first
    };
    let refused = store.sign_up(closed, change(2)).await.unwrap();
    assert_eq!(refused, Err(Refusal::Unknown));
    let twice = sign_up(user("u2", "ada@x.org"), Some(tenant(2, "Other")));
    let refused = store.sign_up(twice, change(2)).await.unwrap();
    assert_eq!(refused, Err(Refusal::Taken));
    let same_key = sign_up(user("u2", "bob@x.org"), Some(tenant(1, "Other")));
    let refused = store.sign_up(same_key, change(2)).await.unwrap();
    assert_eq!(refused, Err(Refusal::Taken));
    assert_eq!(generation(store).await, before);
    assert_eq!(store.user("bob@x.org".to_owned()).await.unwrap(), None);
    assert_eq!(store.project("Other".to_owned()).await.unwrap(), None);

    let bob = sign_up(user("u2", "bob@x.org"), Some(tenant(2, "Shop")));
    let theirs = ok(store.sign_up(bob, change(3))).await.unwrap();
    assert_eq!((theirs.id.0, theirs.name.as_str()), (3, "Shop 2"));
    let eve = sign_up(user("u3", "eve@x.org"), None);
    assert_eq!(ok(store.sign_up(eve, change(4))).await, None);

    let second = store.create_tenant(tenant(3, "Shop"), "u1".to_owned(), change(5));
    let second = ok(second).await;
    assert_eq!(second.name, "Shop 3");
    let nobody = store.create_tenant(tenant(4, "Nobody's"), "u9".to_owned(), change(5));
    assert_eq!(nobody.await.unwrap(), Err(Refusal::Unknown));
    assert_eq!(store.project("Nobody's".to_owned()).await.unwrap(), None);
    let of = async |person: &str, project| {
        let found = store.memberships(person.to_owned(), project).await;
        found.unwrap()
    };
    let both = [(made.id, Role::Admin), (second.id, Role::Admin)];
    assert_eq!(of("u1", None).await, both);
    assert_eq!(of("u1", Some(second.id)).await, both[1..]);
    assert_eq!(of("u1", Some(theirs.id)).await, []);
    assert_eq!(of("u3", None).await, []);
    ok(store.delete_project(second.id, change(6))).await;
    assert_eq!(of("u1", Some(second.id)).await, []);
}

// Scenario: somebody known, somebody new, and somebody again are let into a project.
// Guarantees: who is new needs a password, who is known keeps theirs; nobody is let in twice.
pub(super) async fn people_are_let_into_projects(store: &dyn AccessStore) {
    ok(store.create_user(user("u1", "ada@x.org"), "h".to_owned(), change(0))).await;
    let wanted = |id: &str, email: &str, password: Option<&str>, role| NewMember {
        project: PROJECT,
        user: user(id, email),
        password: password.map(str::to_owned),
        role,
    };
    let let_in = async |wanted| store.add_member(wanted, change(1)).await.unwrap();
    assert_eq!(store.admin_of(PROJECT).await.unwrap(), None);
    let known = let_in(wanted("u5", "ada@x.org", Some("x"), Role::Member)).await;
    assert_eq!(known.unwrap().user, user("u1", "ada@x.org"));
    let kept = store.user("ada@x.org".to_owned()).await.unwrap().unwrap();
    assert_eq!(kept, (user("u1", "ada@x.org"), "h".to_owned()));
    let again = let_in(wanted("u1", "ada@x.org", None, Role::Admin)).await;
    assert_eq!(again, Err(Refusal::Taken));
    let without = let_in(wanted("u2", "bob@x.org", None, Role::Admin)).await;
    assert_eq!(without, Err(Refusal::Unknown));
    let new = let_in(wanted("u2", "bob@x.org", Some("n"), Role::Admin)).await;
    assert_eq!(new.unwrap().role, Role::Admin);
    let nowhere = NewMember {
        project: ProjectId(9),
        ..wanted("u3", "eve@x.org", Some("n"), Role::Admin)
    };
    assert_eq!(let_in(nowhere).await, Err(Refusal::Unknown));
    assert_eq!(store.user("eve@x.org".to_owned()).await.unwrap(), None);
    let admin = store.admin_of(PROJECT).await.unwrap();
    assert_eq!(admin, Some((user("u2", "bob@x.org"), "n".to_owned())));
    let members = store.members(PROJECT).await.unwrap();
    let roles: Vec<_> = members.iter().map(|member| member.role).collect();
    assert_eq!(roles, [Role::Member, Role::Admin]);
}

// Scenario: keys are made and one is revoked.
// Guarantees: those that are left are listed, oldest first.
pub(super) async fn live_keys_are_those_not_revoked(store: &dyn AccessStore) {
    for number in 1..=4 {
        let at = 10 - u64::from(number);
        ok(store.create_key(key(number, PROJECT), change(at))).await;
    }
    ok(store.revoke_key(PROJECT, "k3".to_owned(), change(11))).await;
    let live = store.live_keys(PROJECT).await.unwrap();
    let ids: Vec<_> = live.iter().map(|key| key.id.as_str()).collect();
    assert_eq!(ids, ["k4", "k2", "k1"]);
    assert_eq!(store.live_keys(ProjectId(9)).await.unwrap(), []);
}

// Scenario: somebody makes project after project; somebody else makes one.
// Guarantees: one person can't use up what all share.
pub(super) async fn projects_of_a_person_are_bounded(store: &dyn AccessStore) {
    for (id, email) in [("u1", "ada@x.org"), ("u2", "bob@x.org")] {
        ok(store.sign_up(sign_up(user(id, email), None), change(1))).await;
    }
    let make = async |who: &str, number: u8| {
        let tenant = tenant(number, &format!("p{number}"));
        let made = store.create_tenant(tenant, who.to_owned(), change(2));
        made.await.unwrap().map(drop)
    };
    for number in 0..100 {
        assert_eq!(make("u1", number).await, Ok(()), "{number}");
    }
    assert_eq!(make("u1", 100).await, Err(Refusal::TooMany));
    assert_eq!(make("u2", 101).await, Ok(()));
}
