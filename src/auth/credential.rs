//! Which credential a request shows.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::access_token;
use super::key::{ApiKey, PREFIX};

/// Headers that hold a key and nothing else, in the order in which they are looked at.
const KEY_HEADERS: [&str; 2] = ["x-api-key", "x-pulsekit-key"];

/// What a request shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    None,
    /// A text that can't be a key of ours.
    Unusable,
    /// A key.
    Key(ApiKey),
    /// What may be an access token of a person.
    AccessToken(String),
}

impl Credential {
    /// From the headers or the metadata of a request: `authorization: Bearer KEY`, `x-api-key`,
    /// `x-pulsekit-key`. The first of them counts. What `authorization` holds for others, such as
    /// a proxy's user and password, is none. An access token comes as `authorization: Bearer` only.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or(""));
        let bearer = text(AUTHORIZATION.as_str()).and_then(bearer);
        if let Some(token) = bearer
            .map(str::trim)
            .filter(|it| access_token::is_like_one(it))
        {
            return Self::AccessToken(token.to_owned());
        }
        let shown = bearer.or_else(|| KEY_HEADERS.into_iter().find_map(text));
        match shown.map(|shown| ApiKey::parse(shown.trim())) {
            None => Self::None,
            Some(None) => Self::Unusable,
            Some(Some(key)) => Self::Key(key),
        }
    }
}

/// The token of a `Bearer` header. A key without the word is taken too: what SDKs read from their
/// environment has no room for the space.
fn bearer(value: &str) -> Option<&str> {
    let value = value.trim();
    if value.starts_with(PREFIX) {
        return Some(value);
    }
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &'static str)]) -> Credential {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, http::HeaderValue::from_static(value))
        });
        Credential::of(&pairs.collect())
    }

    fn key(text: &str) -> Credential {
        Credential::Key(ApiKey::parse(text).unwrap())
    }

    #[test]
    fn a_key_is_taken_from_each_place() {
        let expected = key("pulse_sk_one");
        for value in [
            "Bearer pulse_sk_one",
            "bearer  pulse_sk_one ",
            "pulse_sk_one",
        ] {
            assert_eq!(of(&[("authorization", value)]), expected, "{value}");
        }
        for name in KEY_HEADERS {
            assert_eq!(of(&[(name, "pulse_sk_one")]), expected, "{name}");
        }
        let both = [
            ("x-pulsekit-key", "pulse_sk_three"),
            ("x-api-key", "pulse_sk_two"),
            ("authorization", "Bearer pulse_sk_one"),
        ];
        assert_eq!(of(&both), expected);
        assert_eq!(of(&both[..2]), key("pulse_sk_two"));
    }

    #[test]
    fn access_tokens_are_told_from_keys() {
        let token = Credential::AccessToken("eyJh.eyJp.c2ln".to_owned());
        assert_eq!(of(&[("authorization", "Bearer eyJh.eyJp.c2ln")]), token);
        for wrong in ["Bearer eyJh.eyJp", "Bearer a.b.c"] {
            assert_eq!(of(&[("authorization", wrong)]), Credential::Unusable);
        }
        let elsewhere = of(&[("x-api-key", "eyJh.eyJp.c2ln")]);
        assert_eq!(elsewhere, Credential::Unusable);
    }

    #[test]
    fn what_can_not_be_a_key_is_told_from_none() {
        assert_eq!(of(&[]), Credential::None);
        assert_eq!(of(&[("authorization", "Basic YTpi")]), Credential::None);
        let proxied = [("authorization", "Basic YTpi"), ("x-api-key", "pulse_sk_a")];
        assert_eq!(of(&proxied), key("pulse_sk_a"));
        for value in ["Bearer", "Bearer ", "Bearer sk-other", "Bearer pulse_sk_"] {
            let found = of(&[("authorization", value)]);
            assert_eq!(found, Credential::Unusable, "{value}");
        }
        assert_eq!(of(&[("x-api-key", "")]), Credential::Unusable);
    }
}
