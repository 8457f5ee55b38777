//! Random texts from the system's generator.

/// The system has no random numbers to give.
#[derive(Debug, thiserror::Error)]
#[error("ask the system for random numbers: {0}")]
pub struct Error(String);

/// Digits of [`base62`], in order of value.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Bytes that nobody can guess.
///
/// # Errors
/// [`Error`].
pub fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Error(error.to_string()))?;
    Ok(bytes)
}

/// A text of letters and digits that nobody can guess: 5.95 bits a character.
///
/// # Errors
/// [`Error`].
pub fn text(length: usize) -> Result<String, Error> {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let drawn: [u8; 64] = bytes()?;
        // Six bits choose a digit; the two values too many are drawn again, so that all digits
        // are equally likely.
        let digits = drawn
            .iter()
            .filter_map(|byte| DIGITS.get(usize::from(byte & 0x3f)));
        let missing = length - text.len();
        text.extend(digits.take(missing).map(|digit| char::from(*digit)));
    }
    Ok(text)
}

/// A number in base 62, with leading zeros up to this many digits.
#[must_use]
pub fn base62(mut number: u32, digits: usize) -> String {
    let mut reversed: Vec<u8> = Vec::with_capacity(digits);
    while number > 0 || reversed.len() < digits {
        let digit = usize::try_from(number % 62).unwrap_or_default();
        reversed.extend(DIGITS.get(digit));
        number /= 62;
    }
    reversed
        .iter()
        .rev()
        .map(|digit| char::from(*digit))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_digits() {
        assert_eq!(base62(0, 6), "000000");
        assert_eq!(base62(61, 1), "z");
        assert_eq!(base62(62, 1), "10");
        assert_eq!(base62(u32::MAX, 6), "4gfFC3");
    }

    #[test]
    fn texts_use_every_digit_about_as_often() {
        let text = text(62 * 200).unwrap();
        for digit in DIGITS {
            let count = text.bytes().filter(|byte| byte == digit).count();
            // Ten standard deviations.
            assert!((60..340).contains(&count), "{digit}: {count}");
        }
    }
}
