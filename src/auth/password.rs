//! Passwords, as argon2id in the PHC format. Takes tens of milliseconds and 19 MiB on purpose: call
//! it where blocking is allowed, and not many times at once.

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};

use super::random;

/// Least characters, as older Pulse servers ask.
pub const CHARS_MIN: usize = 8;
/// Most bytes: longer ones cost time and protect nothing more.
pub const BYTES_MAX: usize = 256;
const SALT_BYTES: usize = 16;

/// Memory in KiB, passes and lanes, as OWASP recommends for argon2id.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);

/// What would be stored of a password that nobody has: checking against it takes as long as against
/// any other.
pub const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$FZOE0JdqY3s7SM5Wm2AttA$kjAfTW4CvjIdhyHc7Y2S2UGWDoWDx7PuRYAG2kcNCQc";

/// Why a password was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too short.
    #[error("a password has at least {CHARS_MIN} characters")]
    TooShort,
    /// Too long.
    #[error("a password has at most {BYTES_MAX} bytes")]
    TooLong,
    /// No salt was to be had.
    #[error(transparent)]
    Random(#[from] random::Error),
    /// The function failed, which is a bug.
    #[error("hash a password: {0}")]
    Hash(String),
}

/// Checks a password and answers what is stored of it.
///
/// # Errors
/// [`Error`].
pub fn hash(password: &str) -> Result<String, Error> {
    if password.chars().count() < CHARS_MIN {
        return Err(Error::TooShort);
    }
    if password.len() > BYTES_MAX {
        return Err(Error::TooLong);
    }
    let salt: [u8; SALT_BYTES] = random::bytes()?;
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None);
    let params = params.map_err(|error| Error::Hash(error.to_string()))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hashed = argon2.hash_password_with_salt(password.as_bytes(), &salt);
    let hashed = hashed.map_err(|error| Error::Hash(error.to_string()))?;
    Ok(hashed.to_string())
}

/// Whether a password is the one that was stored. What is stored says how it was hashed.
#[must_use]
pub fn is(password: &str, stored: &str) -> bool {
    let short_enough = password.len() <= BYTES_MAX;
    short_enough
        && Argon2::default()
            .verify_password(password.as_bytes(), stored)
            .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_again_and_stored_in_no_other_form() {
        let stored = hash("correct horse").unwrap();
        assert!(
            stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{stored}"
        );
        assert!(is("correct horse", &stored));
        for wrong in ["correct horsf", "", &"x".repeat(300)] {
            assert!(!is(wrong, &stored));
        }
        assert!(!is("correct horse", "not a hash"));
        assert!(!is("correct horse", NOBODYS));
        let cost = |stored: &str| stored.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(cost(NOBODYS), cost(&stored), "takes as long");
        assert_eq!(NOBODYS.len(), stored.len());
        assert_ne!(hash("correct horse").unwrap(), stored, "salted");
    }

    #[test]
    fn short_and_endless_passwords_are_not_taken() {
        assert!(matches!(hash("sevench"), Err(Error::TooShort)));
        assert!(matches!(hash(&"x".repeat(257)), Err(Error::TooLong)));
        assert!(hash("ächtzehn").is_ok(), "characters, not bytes");
    }
}
