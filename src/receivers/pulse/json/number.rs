//! Numbers as JavaScript writes them.

/// Below this, JavaScript writes whole numbers without an exponent.
const PLAIN_DIGITS_MAX: i32 = 21;
/// From here on, JavaScript writes small numbers without an exponent.
const PLAIN_EXPONENT_MIN: i32 = -6;

/// A number as JavaScript writes it; what is not finite as null.
pub(super) fn written(value: f64) -> String {
    if !value.is_finite() {
        return "null".to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{:e}", value.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits: String = mantissa.chars().filter(|digit| *digit != '.').collect();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}", placed(&digits, exponent))
}

/// Digits with the point after the first, times ten to the exponent.
fn placed(digits: &str, exponent: i32) -> String {
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    let split = |at: i32| {
        let at = usize::try_from(at).unwrap_or(0);
        digits.split_at_checked(at).unwrap_or((digits, ""))
    };
    if (PLAIN_EXPONENT_MIN..0).contains(&exponent) {
        return format!("0.{}{digits}", zeros(-exponent - 1));
    }
    if (0..PLAIN_DIGITS_MAX).contains(&exponent) {
        if count <= exponent + 1 {
            return format!("{digits}{}", zeros(exponent + 1 - count));
        }
        let (whole, fraction) = split(exponent + 1);
        return format!("{whole}.{fraction}");
    }
    let (first, rest) = split(1);
    let point = if rest.is_empty() { "" } else { "." };
    let plus = if exponent > 0 { "+" } else { "" };
    format!("{first}{point}{rest}e{plus}{exponent}")
}
