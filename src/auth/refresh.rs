//! The cookie with which PulseBoard's clients get a new access token: random, good once, and sent to
//! the routes of accounts only.

use std::fmt;

use http::{HeaderMap, HeaderValue, header};

use super::key::KeyHash;
use super::random;

/// Name of the cookie.
const NAME: &str = "refreshToken";
/// Random bytes of a token, which is twice as many hexadecimal digits.
const TOKEN_BYTES: usize = 64;

/// A refresh token.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken(String);

impl fmt::Debug for RefreshToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RefreshToken([REDACTED])")
    }
}

impl RefreshToken {
    /// A new one.
    ///
    /// # Errors
    /// [`random::Error`].
    pub(super) fn generate() -> Result<Self, random::Error> {
        let bytes: [u8; TOKEN_BYTES] = random::bytes()?;
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        Ok(Self(digits.collect()))
    }

    /// One that was shown, if it can be one: no other secret of ours looks like it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_one = text.len() == 2 * TOKEN_BYTES && text.bytes().all(is_digit);
        is_one.then(|| Self(text.to_owned()))
    }

    /// How it is stored.
    pub(super) fn hash(&self) -> KeyHash {
        KeyHash::of(&self.0)
    }

    /// The header that gives it to a client.
    pub(super) fn set(&self, seconds: u64, is_secure: bool) -> Option<HeaderValue> {
        let mut header = HeaderValue::try_from(attributes(&self.0, seconds, is_secure)).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

/// The value of the cookie in a request, whatever it is; nothing when there is none.
#[must_use]
pub fn shown(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter();
    let pairs = cookies
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(name, value)| *name == NAME && !value.is_empty());
    values.next().map(|(_, value)| value)
}

/// The header that takes it away from a client.
#[must_use]
pub fn cleared(is_secure: bool) -> Option<HeaderValue> {
    HeaderValue::try_from(attributes("", 0, is_secure)).ok()
}

fn attributes(value: &str, seconds: u64, is_secure: bool) -> String {
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{NAME}={value}; Max-Age={seconds}; Path=/auth; HttpOnly{secure}; SameSite=Strict")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_a_client_and_back() {
        let token = RefreshToken::generate().unwrap();
        let set = token.set(604_800, false).unwrap();
        assert!(set.is_sensitive());
        let set = set.to_str().unwrap();
        let (pair, rest) = set.split_once(';').unwrap();
        assert_eq!(
            rest,
            " Max-Age=604800; Path=/auth; HttpOnly; SameSite=Strict"
        );
        let secure = token.set(1, true).unwrap();
        assert!(secure.to_str().unwrap().contains("; Secure; "));
        let cleared = cleared(false).unwrap();
        assert_eq!(
            cleared,
            "refreshToken=; Max-Age=0; Path=/auth; HttpOnly; SameSite=Strict"
        );
        let mut headers = HeaderMap::new();
        assert_eq!(shown(&headers), None);
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("a=b; refreshToken="),
        );
        assert_eq!(shown(&headers), None);
        headers.append(header::COOKIE, HeaderValue::from_str(pair).unwrap());
        let found = shown(&headers).unwrap();
        assert_eq!(found.len(), 128);
        assert_eq!(RefreshToken::parse(found), Some(token.clone()));
        for wrong in ["", "a", &found.to_uppercase(), &format!("{found}0")] {
            let is_upper_digit = wrong.len() == 128 && wrong.chars().all(|it| it.is_ascii_digit());
            assert!(RefreshToken::parse(wrong).is_none() || is_upper_digit);
        }
        assert_eq!(format!("{token:?}"), "RefreshToken([REDACTED])");
    }
}
