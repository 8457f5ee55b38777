use super::super::testing::{Keys, Mood};
use super::*;
use crate::model::access::Scope;

const READ: Scopes = Scopes::NONE.with(Scope::Read);
const SECOND: u64 = 1_000_000_000;

fn setup() -> (Arc<Keys>, Resolver) {
    let keys = Arc::new(Keys::default());
    keys.now.store(1000 * SECOND, Ordering::SeqCst);
    let resolver = keys.resolver(None);
    (keys, resolver)
}

// Scenario: a key is used many times, between looks at what was changed.
// Guarantees: the store is asked once; the principal is the key's.
#[tokio::test]
async fn a_key_is_asked_for_once() {
    let (keys, resolver) = setup();
    let key = keys.put("pulse_sk_a", 7, READ);
    resolver.refresh().await;
    for _ in 0..100 {
        let principal = resolver.resolve(&key).await.unwrap();
        assert_eq!((principal.project, principal.scopes), (ProjectId(7), READ));
        assert_eq!(principal.who, Who::Key("id of pulse_sk_a".into()));
        resolver.refresh().await;
    }
    assert_eq!(keys.lookups(), 1);
}

// Scenario: a key is revoked, another one's scopes change, a third expires, a wrong one is created.
// Guarantees: each is in effect after one look at what was changed, and expiry without one.
#[tokio::test]
async fn changes_are_in_effect_after_a_refresh() {
    let (keys, resolver) = setup();
    let [one, two] = ["pulse_sk_1", "pulse_sk_2"].map(|text| keys.put(text, 1, READ));
    let late = ApiKey::parse("pulse_sk_3").unwrap();
    resolver.refresh().await;
    assert!(resolver.resolve(&one).await.is_ok() && resolver.resolve(&two).await.is_ok());
    for _ in 0..50 {
        assert_eq!(resolver.resolve(&late).await, Err(Denied::Unknown));
    }
    assert_eq!(keys.lookups(), 3);
    keys.change(&one, |grant| grant.revoked = true);
    keys.put("pulse_sk_2", 2, Scopes::ALL);
    keys.put("pulse_sk_3", 3, READ);
    resolver.refresh().await;
    assert_eq!(resolver.resolve(&one).await, Err(Denied::Revoked));
    let two = resolver.resolve(&two).await.unwrap();
    assert_eq!((two.project, two.scopes), (ProjectId(2), Scopes::ALL));
    assert_eq!(resolver.resolve(&late).await.unwrap().project, ProjectId(3));
    keys.change(&late, |grant| grant.expires_unix_nano = Some(1001 * SECOND));
    resolver.refresh().await;
    assert!(resolver.resolve(&late).await.is_ok());
    keys.now.store(1001 * SECOND, Ordering::SeqCst);
    assert_eq!(resolver.resolve(&late).await, Err(Denied::Expired));
}

// Scenario: the store fails, then does not answer at all, then is back.
// Guarantees: a key that was seen before goes on, at once; another one is answered "unavailable";
// the store is not asked for every request meanwhile; a change made meanwhile counts afterwards.
#[tokio::test]
async fn known_keys_go_on_while_the_store_is_away() {
    let (keys, resolver) = setup();
    let [known, other] = ["pulse_sk_1", "pulse_sk_2"].map(|text| keys.put(text, 1, READ));
    resolver.refresh().await;
    assert!(resolver.resolve(&known).await.is_ok());
    keys.change(&other, |grant| grant.project = ProjectId(9));
    resolver.refresh().await;
    for mood in [Mood::Away, Mood::Silent] {
        keys.set(mood);
        resolver.refresh().await;
        let before = keys.lookups();
        for _ in 0..50 {
            assert!(resolver.resolve(&known).await.is_ok(), "{mood:?}");
            assert_eq!(resolver.resolve(&other).await, Err(Denied::Unavailable));
        }
        let asked = keys.lookups() - before;
        assert!(asked < 50, "{asked}: once a second at most");
        // Without a look at changes, a request finds out by itself.
        tokio::time::sleep(LEFT_ALONE).await;
        assert_eq!(resolver.resolve(&other).await, Err(Denied::Unavailable));
        assert!(keys.lookups() > before + asked);
    }
    keys.set(Mood::Well);
    keys.change(&known, |grant| grant.revoked = true);
    resolver.refresh().await;
    assert_eq!(resolver.resolve(&known).await, Err(Denied::Revoked));
    assert_eq!(
        resolver.resolve(&other).await.unwrap().project,
        ProjectId(9)
    );
}

// Scenario: many requests with one new key come at once.
// Guarantees: only as many ask as may at once; the others hear what those heard.
#[tokio::test]
async fn requests_at_once_ask_together() {
    let (keys, resolver) = setup();
    let key = keys.put("pulse_sk_1", 1, READ);
    resolver.refresh().await;
    keys.set(Mood::Silent);
    let asked = (0..100).map(|_| resolver.resolve(&key));
    let answers = futures_util::future::join_all(asked).await;
    assert!(
        answers
            .into_iter()
            .all(|answer| answer == Err(Denied::Unavailable))
    );
    assert!(
        keys.lookups() <= LOOKUPS_AT_ONCE as u64,
        "{}",
        keys.lookups()
    );
}

// Scenario: a key is used all the time; writing fails once.
// Guarantees: its use is written once a minute, and nothing that was noted is lost.
#[tokio::test]
async fn uses_are_written_in_batches() {
    let (keys, resolver) = setup();
    let [one, two] = ["pulse_sk_1", "pulse_sk_2"].map(|text| keys.put(text, 1, READ));
    resolver.refresh().await;
    let at = |second| keys.now.store(second * SECOND, Ordering::SeqCst);
    for second in 1000..1059 {
        at(second);
        resolver.resolve(&one).await.unwrap();
        resolver.resolve(&two).await.unwrap();
        // What is remembered is replaced; what was noted stays noted.
        keys.change(&two, |_| {});
        resolver.refresh().await;
        resolver.write_uses().await;
    }
    let used = std::mem::take(&mut *keys.used.lock().unwrap());
    let [mut batch] = <[_; 1]>::try_from(used).unwrap();
    batch.sort();
    let id = |key: &ApiKey| format!("id of {}", key.reveal());
    assert_eq!(
        batch,
        [(id(&one), 1000 * SECOND), (id(&two), 1000 * SECOND)]
    );
    at(1060);
    resolver.resolve(&one).await.unwrap();
    keys.set(Mood::Away);
    resolver.write_uses().await;
    keys.set(Mood::Well);
    resolver.write_uses().await;
    resolver.write_uses().await;
    let used = std::mem::take(&mut *keys.used.lock().unwrap());
    assert_eq!(used, [[(id(&one), 1060 * SECOND)]]);
}

// Scenario: what was known when the process ended, a store that is away, then one with a key.
// Guarantees: the earlier knowledge stands in until the store tells.
#[tokio::test]
async fn what_was_known_before_stands_in() {
    let keys = Arc::new(Keys::default());
    let open = Openness {
        no_keys: true,
        no_users: true,
    };
    let resolver = keys.resolver(Some(open));
    keys.set(Mood::Away);
    assert_eq!(resolver.refresh().await, Some(open));
    assert_eq!(keys.resolver(None).refresh().await, None);
    keys.set(Mood::Well);
    keys.put("pulse_sk_1", 1, READ);
    let known = resolver.refresh().await.unwrap();
    assert!(!known.no_keys && known.no_users);
}
