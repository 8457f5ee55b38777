//! Names that people give: of projects, keys and themselves.

/// Most characters of a name.
pub const NAME_CHARS_MAX: usize = 100;
/// Most bytes of an email address (RFC 5321: a path has at most 256, with brackets).
const EMAIL_BYTES_MAX: usize = 254;

/// What is wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing is left without the spaces around it.
    #[error("must not be empty")]
    Empty,
    /// Too long.
    #[error("has at most {NAME_CHARS_MAX} characters")]
    TooLong,
    /// Holds a line break or another control character.
    #[error("must not hold control characters")]
    Control,
    /// Not an address.
    #[error("is not an email address")]
    NoEmail,
}

/// A name without the spaces around it.
///
/// # Errors
/// [`Error`].
pub fn name(text: &str) -> Result<String, Error> {
    let name = text.trim();
    if name.is_empty() {
        Err(Error::Empty)
    } else if name.chars().count() > NAME_CHARS_MAX {
        Err(Error::TooLong)
    } else if name.chars().any(char::is_control) {
        Err(Error::Control)
    } else {
        Ok(name.to_owned())
    }
}

/// An email address in lower case, which is how it is stored and compared.
///
/// # Errors
/// [`Error::NoEmail`].
pub fn email(text: &str) -> Result<String, Error> {
    let email = text.trim().to_lowercase();
    let (local, domain) = email.rsplit_once('@').ok_or(Error::NoEmail)?;
    let is_sound = |c: char| !c.is_whitespace() && !c.is_control() && c != '@';
    let is_email = email.len() <= EMAIL_BYTES_MAX
        && !local.is_empty()
        && local.chars().all(is_sound)
        && domain.split('.').count() >= 2
        && domain.split('.').all(|label| !label.is_empty())
        && domain.chars().all(is_sound);
    if is_email {
        Ok(email)
    } else {
        Err(Error::NoEmail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(name(" Team Süd ").unwrap(), "Team Süd");
        assert_eq!(name(&"ü".repeat(100)).unwrap().chars().count(), 100);
        assert_eq!(name(" \t"), Err(Error::Empty));
        assert_eq!(name(&"x".repeat(101)), Err(Error::TooLong));
        assert_eq!(name("a\u{0}b"), Err(Error::Control));
        assert_eq!(name("a\nb"), Err(Error::Control));
    }

    #[test]
    fn addresses_are_lower_case() {
        assert_eq!(email(" Ada@Example.ORG ").unwrap(), "ada@example.org");
        for wrong in [
            "",
            "ada",
            "@x.org",
            "a@",
            "a@x",
            "a@x.",
            "a b@x.org",
            "a@b@x.org",
        ] {
            assert_eq!(email(wrong), Err(Error::NoEmail), "{wrong}");
        }
        assert_eq!(
            email(&format!("{}@x.org", "a".repeat(250))),
            Err(Error::NoEmail)
        );
    }
}
