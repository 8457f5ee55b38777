//! Invitations: what every store must do.

use super::access::{change, hash, ok, user};
use super::{NOW, PROJECT};
use crate::model::ProjectId;
use crate::model::access::Role;
use crate::storage::PageRequest;
use crate::storage::access::invites::Joining;
use crate::storage::access::{AccessStore, Change, INVITES_MAX, Invite, Refusal};

fn invite(number: u8, email: &str, ends: u64) -> Invite {
    Invite {
        token_hash: hash(number),
        project: PROJECT,
        email: email.to_owned(),
        role: Role::Viewer,
        expires_unix_nano: NOW + ends,
    }
}

fn new(id: &str, email: &str) -> Joining {
    Joining::New {
        user: user(id, email),
        password: "hash".to_owned(),
    }
}

fn at(at: u64) -> Change {
    change(at)
}

// Scenario: invitations end by themselves, are taken back, and are taken by new and known people:
// the right one, one of another address, a member, twice.
// Guarantees: an invitation is good once, for whom it is, before its end; what is refused changes
// nothing, and leaves the invitation good; nobody's account is taken over by it.
pub(super) async fn invitations_are_good_once(store: &dyn AccessStore) {
    let before = store.state().await.unwrap().generation;
    for (number, email, ends) in [(1, "", 10), (2, "eve@x.org", 20), (3, "", 30), (4, "", 40)] {
        ok(store.create_invite(invite(number, email, ends), at(1))).await;
    }
    let mut lost = invite(5, "", 10);
    lost.project = ProjectId(9);
    let refused = store.create_invite(lost, at(1)).await.unwrap();
    assert_eq!(refused, Err(Refusal::Unknown));
    let listed = store.invites(PROJECT, NOW + 10).await.unwrap();
    let expected = [(2, "eve@x.org", 20), (3, "", 30), (4, "", 40)];
    let expected = expected.map(|(number, email, ends)| invite(number, email, ends));
    assert_eq!(listed, expected);
    assert_eq!(store.invites(ProjectId(9), NOW).await.unwrap(), []);
    assert_eq!(store.invite(hash(1), NOW + 10).await.unwrap(), None);
    let found = store.invite(hash(3), NOW + 10).await.unwrap();
    assert_eq!(found, Some(invite(3, "", 30)));

    let accept = |number, who, when| store.accept_invite(hash(number), who, at(when));
    for (number, who, when) in [
        (1, new("u1", "eve@x.org"), 10),
        (2, new("u1", "ada@x.org"), 11),
        (9, new("u1", "eve@x.org"), 11),
    ] {
        let refused = accept(number, who, when).await.unwrap();
        assert_eq!(refused, Err(Refusal::Unknown), "{number}");
    }
    let member = ok(accept(2, new("u1", "eve@x.org"), 11)).await;
    assert_eq!((&*member.user.id, member.role), ("u1", Role::Viewer));
    let again = accept(2, new("u2", "eve@x.org"), 12).await.unwrap();
    assert_eq!(again, Err(Refusal::Unknown));
    // The address is somebody's, who does not join by it.
    let theirs = accept(3, new("u3", "eve@x.org"), 12).await.unwrap();
    assert_eq!(theirs, Err(Refusal::Taken));
    let member = Joining::Known(user("u1", "eve@x.org"));
    assert_eq!(accept(3, member, 12).await.unwrap(), Err(Refusal::Taken));
    ok(store.create_user(user("u4", "bob@x.org"), "hash".to_owned(), at(13))).await;
    ok(accept(3, Joining::Known(user("u4", "bob@x.org")), 14)).await;
    let members = store.members(PROJECT).await.unwrap();
    let ids: Vec<_> = members.iter().map(|member| &*member.user.id).collect();
    assert_eq!(ids, ["u4", "u1"]);

    let id = invite(4, "", 40).id();
    let revoke = |project| store.revoke_invite(project, id.clone(), at(15));
    assert_eq!(revoke(ProjectId(9)).await.unwrap(), Err(Refusal::Unknown));
    assert_eq!(ok(revoke(PROJECT)).await, invite(4, "", 40));
    assert_eq!(revoke(PROJECT).await.unwrap(), Err(Refusal::Unknown));
    assert_eq!(store.invites(PROJECT, NOW + 15).await.unwrap(), []);
    let page = PageRequest {
        limit: 100,
        after: None,
    };
    let audit = store.audit(Some(PROJECT), page).await.unwrap().items;
    let mut told: Vec<_> = audit
        .iter()
        .filter(|entry| entry.action.starts_with("invite."))
        .map(|entry| (&*entry.action, entry.target.clone()))
        .collect();
    told.reverse();
    let entry = |action, number| (action, invite(number, "", 0).id());
    let expected = [
        entry("invite.create", 1),
        entry("invite.create", 2),
        entry("invite.create", 3),
        entry("invite.create", 4),
        entry("invite.accept", 2),
        entry("invite.accept", 3),
        entry("invite.revoke", 4),
    ];
    assert_eq!(told, expected);
    assert!(store.state().await.unwrap().generation > before);
}

// Scenario: as many invitations as there may be, and one more, before and after they end.
// Guarantees: there are no more at once; those that ended make room.
pub(super) async fn invitations_are_bounded(store: &dyn AccessStore) {
    let many = u8::try_from(INVITES_MAX).unwrap();
    for number in 0..many {
        ok(store.create_invite(invite(100 + number, "", 50), at(20))).await;
    }
    let more = store.create_invite(invite(99, "", 50), at(20));
    assert_eq!(more.await.unwrap(), Err(Refusal::TooMany));
    ok(store.create_invite(invite(99, "", 90), at(50))).await;
}
