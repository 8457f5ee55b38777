//! Access tokens of PulseBoard's clients: JSON Web Tokens (RFC 7519) that say whose they are and when
//! they end, signed with HMAC-SHA256.
//!
//! The key is derived from the secret that cookies are signed with, so that every node of a store
//! knows the tokens of the others. Beside what clients read there is a mark of the password in the
//! header (`kid`): a new password makes all tokens from before useless at once.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::cookie::Signer;

/// How long a token is good, in seconds.
pub(super) const ACCESS_SECONDS: u64 = 15 * 60;
/// Longest token that is looked at, in bytes: an address has at most 254.
const BYTES_MAX: usize = 2048;
/// What the key is derived for. No cookie is signed over it: their tokens have no spaces.
const PURPOSE: &str = "access tokens of PulseBoard's clients";
/// The only algorithm.
const ALGORITHM: &str = "HS256";

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    /// Whose it is, by the user's id.
    pub(super) id: String,
    /// Their address.
    pub(super) email: String,
    /// When it was made, seconds since the Unix epoch.
    pub(super) iat: u64,
    /// When it ends, seconds since the Unix epoch.
    pub(super) exp: u64,
}

/// Makes tokens, and knows its own again.
#[derive(Clone)]
pub(super) struct AccessTokens(Hmac<Sha256>);

impl fmt::Debug for AccessTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AccessTokens([REDACTED])")
    }
}

/// Whether a text that was shown as a credential may be such a token.
pub(super) fn is_like_one(text: &str) -> bool {
    text.len() <= BYTES_MAX && text.starts_with("eyJ") && text.split('.').count() == 3
}

fn encoded(part: &impl Serialize) -> Option<String> {
    Some(URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).ok()?))
}

fn decoded<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

impl AccessTokens {
    /// Those of whoever signs cookies so.
    pub(super) fn of(signer: &Signer) -> Option<Self> {
        Hmac::new_from_slice(&signer.derive(PURPOSE)).ok().map(Self)
    }

    fn mac(&self, text: &str) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(text.as_bytes());
        mac
    }

    /// What a token bears of the password that somebody has, by what is stored of it. What is signed
    /// for it is no token: those have no spaces.
    fn mark(&self, password: &str) -> String {
        let mac = self.mac(&format!("the password of {password}"));
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes().get(..12).unwrap_or_default())
    }

    /// Makes a token of somebody with this password, as it is stored.
    pub(super) fn make(&self, claims: &Claims, password: &str) -> Option<String> {
        let header = Header {
            alg: ALGORITHM.to_owned(),
            typ: "JWT".to_owned(),
            kid: self.mark(password),
        };
        let signed = format!("{}.{}", encoded(&header)?, encoded(claims)?);
        let tag = self.mac(&signed).finalize().into_bytes();
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag)))
    }

    /// What a token says that was made here and has not ended, and its mark.
    pub(super) fn open(&self, token: &str, now_seconds: u64) -> Option<Opened> {
        if !is_like_one(token) {
            return None;
        }
        let (signed, tag) = token.rsplit_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        // Takes the same time whatever differs. Nothing else is read of what was not signed here.
        self.mac(signed).verify_slice(&tag).ok()?;
        let (header, claims) = signed.split_once('.')?;
        let header: Header = decoded(header)?;
        let claims: Claims = decoded(claims)?;
        let is_good = header.alg == ALGORITHM && claims.exp > now_seconds;
        is_good.then_some(Opened {
            claims,
            mark: header.kid,
        })
    }

    /// Whether a token with this mark is from before somebody had this password, as it is stored.
    pub(super) fn is_outdated(&self, mark: &str, password: &str) -> bool {
        mark != self.mark(password)
    }
}

/// A token that was made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opened {
    /// What it says.
    pub(super) claims: Claims,
    /// The mark of the password that its person had.
    pub(super) mark: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(secret: &str) -> AccessTokens {
        AccessTokens::of(&Signer::new(secret.as_bytes()).unwrap()).unwrap()
    }

    fn claims() -> Claims {
        Claims {
            id: "u1".to_owned(),
            email: "ada@x.org".to_owned(),
            iat: 100,
            exp: 1000,
        }
    }

    #[test]
    fn a_token_says_what_clients_read() {
        let token = tokens("ours").make(&claims(), "h").unwrap();
        let parts: Vec<_> = token.split('.').collect();
        let text = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert!(text(parts[0]).starts_with(r#"{"alg":"HS256","typ":"JWT","kid":""#));
        assert_eq!(
            text(parts[1]),
            r#"{"id":"u1","email":"ada@x.org","iat":100,"exp":1000}"#
        );
        assert_eq!(URL_SAFE_NO_PAD.decode(parts[2]).unwrap().len(), 32);
        assert!(is_like_one(&token));
    }

    // Scenario: an HS256 token by its specification, with a key of another maker.
    // Guarantees: what is signed and how is RFC 7515's, appendix A.1.
    #[test]
    fn signatures_are_those_of_the_specification() {
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let key = URL_SAFE_NO_PAD.decode(key).unwrap();
        let tokens = AccessTokens(Hmac::new_from_slice(&key).unwrap());
        let signed = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let tag = tokens.mac(signed).finalize().into_bytes();
        assert_eq!(
            URL_SAFE_NO_PAD.encode(tag),
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        );
    }

    #[test]
    fn only_what_was_made_here_and_has_not_ended_opens() {
        let (ours, others) = (tokens("ours"), tokens("others"));
        let token = ours.make(&claims(), "h").unwrap();
        let opened = ours.open(&token, 999).unwrap();
        assert_eq!(opened.claims, claims());
        assert!(!ours.is_outdated(&opened.mark, "h") && ours.is_outdated(&opened.mark, "n"));
        assert_eq!(ours.open(&token, 1000), None, "has ended");
        assert_eq!(others.open(&token, 1), None);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // The last digit has bits that mean nothing; those must be zero.
            assert_eq!(ours.open(&changed, 1), None, "{at}");
        }
        let unsigned = encoded(&serde_json::json!({"alg": "none", "typ": "JWT", "kid": ""}));
        let payload = token.split('.').nth(1).unwrap();
        let none = format!("{}.{payload}.", unsigned.unwrap());
        for wrong in ["", "..", "eyJ..", "a.b.c", &none, &"eyJ.".repeat(600)] {
            assert_eq!(ours.open(wrong, 1), None, "{wrong}");
        }
        assert_eq!(format!("{ours:?}"), "AccessTokens([REDACTED])");
    }

    // Scenario: a token is signed with our key, but says that it is not.
    // Guarantees: the algorithm is not the sender's to choose.
    #[test]
    fn another_algorithm_is_none() {
        let ours = tokens("ours");
        for algorithm in ["none", "HS512", "RS256", "hs256"] {
            let header = Header {
                alg: algorithm.to_owned(),
                typ: "JWT".to_owned(),
                kid: ours.mark("h"),
            };
            let signed = format!(
                "{}.{}",
                encoded(&header).unwrap(),
                encoded(&claims()).unwrap()
            );
            let tag = ours.mac(&signed).finalize().into_bytes();
            let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
            assert_eq!(ours.open(&token, 1), None, "{algorithm}");
        }
    }
}
