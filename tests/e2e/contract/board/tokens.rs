//! Access tokens and their end (§8.1).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{board, refused, register};
use crate::daemon::{Daemon, Store, on_both_stores};
use crate::rows::{Row, get};

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// What a daemon signs with, as its store keeps it.
fn secret(daemon: &Daemon) -> Vec<u8> {
    if let Some(database) = daemon.setup.database() {
        let hex = database.value("SELECT encode(value, 'hex') FROM secret WHERE name = 'cookie'");
        let digits = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
        return digits
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect();
    }
    let store = rusqlite::Connection::open(daemon.setup.data_dir.join("pulse.db")).unwrap();
    let sql = "SELECT value FROM secret WHERE name = 'cookie'";
    store.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// The token of somebody as it would be, had it been made so that it ends in so many seconds, with a
/// secret.
fn ending_in(seconds: i64, secret: &[u8], token: &str) -> String {
    let parts: Vec<_> = token.split('.').collect();
    let mut claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let exp = i64::try_from(now.as_secs()).unwrap() + seconds;
    claims["iat"] = json!(exp - 900);
    claims["exp"] = json!(exp);
    let signed = format!(
        "{}.{}",
        parts[0],
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let key = mac(secret, "access tokens of PulseBoard's clients");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac(&key, &signed)))
}

// Scenario: tokens that differ from a good one only in when they were made, or in the secret that they were
// signed with.
// Guarantees: one that has ended is refused in the words of the contract, and so is one that was not made
// here; before it ends, it is good.
fn an_access_token_ends(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = board(&daemon);
    let ada = register(&table, "ada");
    let token = ada.header("authorization").unwrap();
    let token = token.strip_prefix("Bearer ").unwrap();
    let ours = secret(&daemon);
    let mut other = ours.clone();
    other[0] ^= 1;
    let asked = |rule: &str, seconds: i64, secret: &[u8]| -> Row {
        let token = ending_in(seconds, secret, token);
        get(rule, "/projects").with("authorization", format!("Bearer {token}"))
    };
    let unauthorized = refused("Unauthorized");
    table.check([
        asked("made just now", 900, &ours).has("/success", true),
        asked("a minute left", 60, &ours).has("/success", true),
        asked("just over", 0, &ours).is(401, &*unauthorized),
        asked("long over", -3600, &ours).is(401, &*unauthorized),
        asked("another secret", 60, &other).is(401, &*unauthorized),
        asked("and over", -60, &other).is(401, unauthorized),
    ]);
}

on_both_stores! {
    an_access_token_ends,
}
