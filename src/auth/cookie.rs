//! The cookie of a session, as older Pulse servers made it: a random token and its HMAC-SHA256, so
//! that what nobody gave out is not even looked up.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderValue, header};
use sha2::Sha256;

use super::key::KeyHash;
use super::random;

/// Name of the cookie.
pub const SESSION: &str = "better-auth.session_token";
/// Cookies of older servers that end with it.
const BESIDE: [&str; 2] = ["better-auth.session_data", "better-auth.dont_remember"];
/// Characters of a token.
const TOKEN_CHARS: usize = 32;
/// Longest value that is looked at.
const VALUE_BYTES_MAX: usize = 512;
/// Cookies of the name that are looked at: a browser may hold several, of different paths.
const CANDIDATES_MAX: usize = 4;

/// The token of a session.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A new one.
    ///
    /// # Errors
    /// [`random::Error`].
    pub(super) fn generate() -> Result<Self, random::Error> {
        Ok(Self(random::text(TOKEN_CHARS)?))
    }

    /// How it is stored.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(&self.0)
    }

    /// The text, for its holder.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token([REDACTED])")
    }
}

/// Signs tokens, and knows its signatures again.
#[derive(Clone)]
pub(super) struct Signer(Hmac<Sha256>);

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Signer([REDACTED])")
    }
}

impl Signer {
    /// Signs with a secret of any length.
    pub(super) fn new(secret: &[u8]) -> Option<Self> {
        Hmac::new_from_slice(secret).ok().map(Self)
    }

    /// A key of its own for something else that is signed. No token is like what it is for.
    pub(super) fn derive(&self, purpose: &str) -> [u8; 32] {
        self.mac(purpose).finalize().into_bytes().into()
    }

    fn mac(&self, token: &str) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(token.as_bytes());
        mac
    }

    /// The value of the cookie: token, dot and signature, percent-encoded.
    fn value(&self, token: &Token) -> String {
        let tag = STANDARD.encode(self.mac(&token.0).finalize().into_bytes());
        let mut value = format!("{}.", token.0);
        for char in tag.chars() {
            match char {
                '+' => value.push_str("%2B"),
                '/' => value.push_str("%2F"),
                '=' => value.push_str("%3D"),
                other => value.push(other),
            }
        }
        value
    }

    /// The token of a value that was signed here.
    fn open(&self, value: &str) -> Option<Token> {
        let value = decoded(value)?;
        let (token, tag) = value.split_once('.')?;
        let tag = STANDARD.decode(tag).ok()?;
        // Takes the same time whatever differs.
        self.mac(token).verify_slice(&tag).ok()?;
        Some(Token(token.to_owned()))
    }

    /// The first token in a request that was signed here.
    pub(super) fn token(&self, headers: &HeaderMap) -> Option<Token> {
        values(headers).find_map(|value| self.open(value))
    }

    /// The header that gives a token to a browser.
    pub(super) fn set(&self, token: &Token, seconds: u64, is_secure: bool) -> Option<HeaderValue> {
        let value = self.value(token);
        let mut header =
            HeaderValue::try_from(attributes(SESSION, &value, seconds, is_secure)).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

/// Whether a request shows a cookie of the name.
pub(super) fn is_shown(headers: &HeaderMap) -> bool {
    values(headers).next().is_some()
}

/// Headers that take everything away from a browser.
pub fn cleared(is_secure: bool) -> impl Iterator<Item = HeaderValue> {
    let names = std::iter::once(SESSION).chain(BESIDE);
    names.filter_map(move |name| HeaderValue::try_from(attributes(name, "", 0, is_secure)).ok())
}

fn attributes(name: &str, value: &str, seconds: u64, is_secure: bool) -> String {
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{name}={value}; Max-Age={seconds}; Path=/; HttpOnly{secure}; SameSite=Lax")
}

fn values(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let cookies = headers.get_all(header::COOKIE).into_iter();
    let pairs = cookies
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'));
    pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == SESSION)
        .map(|(_, value)| value)
        .take(CANDIDATES_MAX)
}

/// A value without percent-encoding.
fn decoded(value: &str) -> Option<String> {
    if value.len() > VALUE_BYTES_MAX {
        return None;
    }
    let mut parts = value.split('%');
    let mut decoded = parts.next()?.to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let byte = u8::from_str_radix(digits, 16).ok()?;
        decoded.push(char::from(byte));
        decoded.push_str(rest);
    }
    decoded.is_ascii().then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(secret: &str) -> Signer {
        Signer::new(secret.as_bytes()).unwrap()
    }

    fn headers(cookies: &[&str]) -> HeaderMap {
        let cookies = cookies.iter().map(|text| {
            let value = HeaderValue::from_str(text).unwrap();
            (header::COOKIE, value)
        });
        cookies.collect()
    }

    #[test]
    fn a_cookie_is_as_older_servers_made_it() {
        // HMAC-SHA256 of the token, by another program.
        let token = Token("abcdefghijklmnopqrstuvwxyz012345".to_owned());
        let secret = signer("01234567890123456789012345678901");
        let set = secret.set(&token, 604_800, false).unwrap();
        let expected = concat!(
            "better-auth.session_token=abcdefghijklmnopqrstuvwxyz012345.",
            "hD4LqBxAqCtlUUPo1QwMXWUE2q5AYERif5ncAaI%2BS28%3D",
            "; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax"
        );
        assert_eq!(set.to_str().unwrap(), expected);
        assert!(set.is_sensitive());
        let secure = secret.set(&token, 1, true).unwrap();
        assert!(secure.to_str().unwrap().contains("; Secure; "));
        let cleared: Vec<_> = cleared(false).collect();
        assert_eq!(cleared.len(), 3);
        assert_eq!(
            cleared[1],
            "better-auth.session_data=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn only_what_was_signed_here_opens() {
        let (ours, others) = (signer("ours"), signer("others"));
        let token = Token::generate().unwrap();
        assert_eq!(token.reveal().len(), 32);
        let value = ours.value(&token);
        assert_eq!(ours.open(&value), Some(token.clone()));
        let plain = value
            .replace("%2B", "+")
            .replace("%2F", "/")
            .replace("%3D", "=");
        assert_eq!(ours.open(&plain), Some(token.clone()), "not encoded");
        assert_eq!(others.open(&value), None);
        for at in 0..value.len() {
            let mut changed = value.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(ours.open(&changed), None, "{changed}");
        }
        for wrong in [
            "",
            ".",
            "a.b",
            "a",
            "%",
            "%zz",
            "a%C3%A9.b",
            &"x".repeat(600),
        ] {
            assert_eq!(ours.open(wrong), None, "{wrong}");
        }
        assert_eq!(format!("{token:?}"), "Token([REDACTED])");
    }

    #[test]
    fn it_is_found_among_others() {
        let ours = signer("ours");
        let token = Token::generate().unwrap();
        let good = format!("{SESSION}={}", ours.value(&token));
        let among = format!("a=b; {good}; {SESSION}x=y");
        for cookies in [
            vec![good.as_str()],
            vec![&among],
            vec!["a=b", &good],
            vec!["better-auth.session_token=old.x", &good],
        ] {
            let headers = headers(&cookies);
            assert_eq!(ours.token(&headers), Some(token.clone()), "{cookies:?}");
            assert!(is_shown(&headers));
        }
        assert!(!is_shown(&headers(&[
            "a=b",
            "better-auth.session_tokenx=1"
        ])));
        assert!(is_shown(&headers(&["better-auth.session_token="])));
    }
}
