//! The SDKs and the command line of the older Pulse servers work with nothing changed but a URL.

mod dashboard;
mod full;
mod lists;
mod providers;
mod reads;
mod sdks;
mod writes;

use std::time::Duration;

use serde_json::Value;

use crate::daemon::{Daemon, Store, eventually};
use crate::http::{self, Response};

/// How soon clients look for what was queued.
pub(crate) const SOON: Duration = Duration::from_millis(800);
const KEY: (&str, &str) = (
    "authorization",
    "Bearer pulse_sk_0d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11",
);
/// The project of all keys here.
const PROJECT: &str = "1";

/// A client of the older servers.
struct Client(Daemon);

impl Client {
    fn on(store: Store) -> Self {
        Self(Daemon::spawn_on(store, &[]))
    }

    fn post(&self, path: &str, body: &str) -> Response {
        self.post_as(
            path,
            &[KEY, ("content-type", "application/json")],
            body.as_bytes(),
        )
    }

    fn post_as(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        http::post(self.0.addresses().gateway, path, headers, body)
            .unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    fn get(&self, path: &str) -> Response {
        let address = self.0.addresses().gateway;
        let (name, value) = KEY;
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{name}: {value}\r\n\r\n"
        );
        http::exchange(address, head.as_bytes())
            .unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// The JSON of an answer that is 200, compact and typed as these servers typed it.
    fn ok(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        answer.json()
    }

    fn refused(&self, path: &str, status: u16, body: &str) {
        let answer = self.get(path);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (status, body),
            "{path}"
        );
    }

    /// Waits until a path is found.
    fn await_found(&self, path: &str) -> Response {
        eventually(path, crate::api::VISIBLE_WITHIN, || {
            Some(self.get(path)).filter(|answer| answer.status == 200)
        })
    }
}

/// The keys of an object in the order in which they came.
fn keys(text: &str) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Keys(#[serde(deserialize_with = "in_order")] Vec<String>);

    fn in_order<'de, D: serde::Deserializer<'de>>(json: D) -> Result<Vec<String>, D::Error> {
        struct Visit;
        impl<'de> serde::de::Visitor<'de> for Visit {
            type Value = Vec<String>;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Vec<String>, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, _)) = map.next_entry::<String, serde::de::IgnoredAny>()? {
                    keys.push(key);
                }
                Ok(keys)
            }
        }
        json.deserialize_map(Visit)
    }

    let Keys(keys) = serde_json::from_str(text).unwrap();
    keys
}
