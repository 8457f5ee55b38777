//! Bodies and queries of PulseBoard, checked and coerced as its server's validator did: of all that is
//! wrong the first is said, what is missing before what is of the wrong type; scalars become what the
//! field wants where that has a meaning, and a list of one is as good as its item.

use crate::receivers::pulse::json::Json;

/// What a field must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A text.
    Text,
    /// A text of so many characters at least.
    TextOf(usize),
    /// An email address.
    Email,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// An object.
    Object,
    /// One of these texts.
    OneOf(&'static [&'static str]),
}

/// A field.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    name: &'static str,
    rule: Rule,
    required: bool,
}

/// A field that must be there.
#[must_use]
pub const fn required(name: &'static str, rule: Rule) -> Field {
    Field {
        name,
        rule,
        required: true,
    }
}

/// A field that may be there.
#[must_use]
pub const fn optional(name: &'static str, rule: Rule) -> Field {
    Field {
        name,
        rule,
        required: false,
    }
}

/// The known fields of a body, coerced.
#[derive(Debug, Clone, PartialEq)]
pub struct Item(Vec<(&'static str, Json)>);

impl Item {
    /// The value of a field, if it is there.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value)
    }

    /// The text of a field; empty if there is none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.get(name).and_then(Json::as_text).unwrap_or_default()
    }

    /// The object of all fields but some.
    #[must_use]
    pub fn without(&self, names: &[&str]) -> Json {
        let rest = self.0.iter().filter(|(name, _)| !names.contains(name));
        Json::map(rest.map(|(name, value)| (*name, value.clone())))
    }
}

/// Checks an object against its fields. `place` is how it is called: `body` or `querystring`.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(place: &str, fields: &[Field], json: Json) -> Result<Item, String> {
    let Json::Map(entries) = json else {
        return Err(format!("{place} must be object"));
    };
    let has = |name: &str| entries.iter().any(|(key, _)| key == name);
    let missing = fields.iter().find(|it| it.required && !has(it.name));
    if let Some(Field { name, .. }) = missing {
        return Err(format!("{place} must have required property '{name}'"));
    }
    let mut kept = Vec::new();
    for (key, value) in entries {
        if let Some(at) = fields.iter().position(|it| it.name == key) {
            kept.push((at, value));
        }
    }
    kept.sort_by_key(|(at, _)| *at);
    let mut coerced = Vec::new();
    for (at, value) in kept {
        let Some(field) = fields.get(at) else {
            continue;
        };
        let value = field.rule.coerce(value);
        let value =
            value.map_err(|why| field.rule.message(&format!("{place}/{}", field.name), why))?;
        coerced.push((field.name, value));
    }
    Ok(Item(coerced))
}

/// Why a value does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Type,
    Constant,
    /// The right type, but not what is wanted of it.
    Content,
}

impl Rule {
    fn coerce(self, value: Json) -> Result<Json, Why> {
        let value = match value {
            Json::List(mut items) if items.len() == 1 => items.remove(0),
            other => other,
        };
        match self {
            Self::Text => to_text(value).map(Json::Text).ok_or(Why::Type),
            Self::TextOf(least) => match to_text(value).ok_or(Why::Type)? {
                text if text.chars().count() >= least => Ok(Json::Text(text)),
                _ => Err(Why::Content),
            },
            Self::Email => match to_text(value).ok_or(Why::Type)? {
                text if is_email(&text) => Ok(Json::Text(text)),
                _ => Err(Why::Content),
            },
            Self::OneOf(allowed) => match to_text(value) {
                None => Err(Why::Type),
                Some(text) if allowed.contains(&text.as_str()) => Ok(Json::Text(text)),
                Some(_) => Err(Why::Constant),
            },
            Self::Number => to_number(&value).map(Json::Number).ok_or(Why::Type),
            Self::Boolean => to_boolean(&value).map(Json::Bool).ok_or(Why::Type),
            Self::Object if matches!(value, Json::Map(_)) => Ok(value),
            Self::Object => Err(Why::Type),
        }
    }

    fn message(self, field: &str, why: Why) -> String {
        let expected = match self {
            Self::TextOf(least) if why == Why::Content => {
                return format!("{field} must NOT have fewer than {least} characters");
            }
            Self::Email if why == Why::Content => {
                return format!("{field} must match format \"email\"");
            }
            Self::Text | Self::TextOf(_) | Self::Email => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Object => "object",
            Self::OneOf(allowed) => {
                let each = match why {
                    Why::Type | Why::Content => "must be string",
                    Why::Constant => "must be equal to constant",
                };
                let mut parts = vec![format!("{field} {each}"); allowed.len()];
                parts.push(format!("{field} must match a schema in anyOf"));
                return parts.join(", ");
            }
        };
        format!("{field} must be {expected}")
    }
}

fn to_text(value: Json) -> Option<String> {
    match value {
        Json::Text(text) => Some(text),
        Json::Null => Some(String::new()),
        Json::Bool(_) | Json::Number(_) => Some(value.to_string()),
        Json::List(_) | Json::Map(_) => None,
    }
}

/// Whether a text is an address as the validator has it: words of the usual characters with dots
/// between them, and a host of two labels or more.
fn is_email(text: &str) -> bool {
    let is_atom = |atom: &str| {
        let is_usual = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&it);
        !atom.is_empty() && atom.bytes().all(is_usual)
    };
    let is_label = |label: &str| {
        let is_usual = |it: u8| it.is_ascii_alphanumeric() || it == b'-';
        let is_end = |it: Option<u8>| it.is_some_and(|it| it.is_ascii_alphanumeric());
        is_end(label.bytes().next())
            && is_end(label.bytes().next_back())
            && label.bytes().all(is_usual)
    };
    text.split_once('@').is_some_and(|(name, host)| {
        name.split('.').all(is_atom) && host.contains('.') && host.split('.').all(is_label)
    })
}

fn to_number(value: &Json) -> Option<f64> {
    match value {
        Json::Number(number) => Some(*number),
        Json::Null | Json::Bool(false) => Some(0.0),
        Json::Bool(true) => Some(1.0),
        Json::Text(text) => {
            let text = text.trim();
            // Rust reads names of numbers too.
            let plain = text.bytes().all(|it| b"+-.eE0123456789".contains(&it));
            let number = text.parse::<f64>().ok().filter(|it| it.is_finite());
            number.filter(|_| plain)
        }
        Json::List(_) | Json::Map(_) => None,
    }
}

fn to_boolean(value: &Json) -> Option<bool> {
    match value {
        Json::Bool(flag) => Some(*flag),
        Json::Null => Some(false),
        Json::Text(text) => match text.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        },
        #[expect(clippy::float_cmp, reason = "exactly one")]
        Json::Number(number) if *number == 1.0 => Some(true),
        Json::Number(number) if *number == 0.0 => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [Field; 5] = [
        required("text", Rule::Text),
        required("sort", Rule::OneOf(&["a", "b"])),
        optional("number", Rule::Number),
        optional("flag", Rule::Boolean),
        optional("object", Rule::Object),
    ];

    fn checked(text: &str) -> Result<String, String> {
        let item = check("body", &FIELDS, Json::parse(text.as_bytes()).unwrap())?;
        Ok(item.without(&[]).to_string())
    }

    #[test]
    fn scalars_become_what_is_wanted() {
        for (sent, kept) in [
            (
                r#"{"sort":"a","text":5,"more":1}"#,
                r#"{"text":"5","sort":"a"}"#,
            ),
            (
                r#"{"text":null,"sort":["b"],"number":"1.5"}"#,
                r#"{"text":"","sort":"b","number":1.5}"#,
            ),
            (
                r#"{"text":true,"sort":"a","number":true,"flag":"false"}"#,
                r#"{"text":"true","sort":"a","number":1,"flag":false}"#,
            ),
            (
                r#"{"text":1.50,"sort":"a","number":null,"flag":1,"object":[{}]}"#,
                r#"{"text":"1.5","sort":"a","number":0,"flag":true,"object":{}}"#,
            ),
        ] {
            assert_eq!(checked(sent).as_deref(), Ok(kept), "{sent}");
        }
    }

    #[test]
    fn texts_are_long_enough_and_addresses_are_addresses() {
        let fields = [
            required("name", Rule::TextOf(2)),
            required("email", Rule::Email),
        ];
        let said = |name: &str, email: &str| {
            let sent = Json::map([("name", Json::text(name)), ("email", Json::text(email))]);
            check("body", &fields, sent).err().unwrap_or_default()
        };
        for email in ["a@b.c", "A.b-c+d@x-1.example.ORG", "1@2.3", "o'x@a.b"] {
            assert_eq!(said("äö", email), "", "{email}");
        }
        for email in [
            "", "a", "@b.c", "a@b", "a@.b", "a@b.", "a@b..c", "a@-b.c", "a@b-.c", ".a@b.c",
            "a..b@c.d", "a b@c.d", "a@b@c.d", "ä@b.c", "a@ä.c",
        ] {
            let message = "body/email must match format \"email\"";
            assert_eq!(said("ab", email), message, "{email}");
        }
        let short = "body/name must NOT have fewer than 2 characters";
        assert_eq!(said("ä", "a"), short);
        let number = check(
            "body",
            &fields,
            Json::parse(br#"{"name":12,"email":{}}"#).unwrap(),
        );
        assert_eq!(number.unwrap_err(), "body/email must be string");
    }

    #[test]
    fn the_first_thing_that_is_wrong_is_said() {
        for (sent, message) in [
            ("[]", "body must be object"),
            ("null", "body must be object"),
            ("{}", "body must have required property 'text'"),
            (
                r#"{"text":{},"number":[]}"#,
                "body must have required property 'sort'",
            ),
            (r#"{"sort":"c","text":{}}"#, "body/text must be string"),
            (
                r#"{"text":"","sort":"c"}"#,
                "body/sort must be equal to constant, body/sort must be equal to constant, body/sort must match a schema in anyOf",
            ),
            (
                r#"{"text":"","sort":{}}"#,
                "body/sort must be string, body/sort must be string, body/sort must match a schema in anyOf",
            ),
            (
                r#"{"text":"","sort":"a","number":""}"#,
                "body/number must be number",
            ),
            (
                r#"{"text":"","sort":"a","number":"inf"}"#,
                "body/number must be number",
            ),
            (
                r#"{"text":"","sort":"a","flag":"yes"}"#,
                "body/flag must be boolean",
            ),
            (
                r#"{"text":"","sort":"a","flag":2}"#,
                "body/flag must be boolean",
            ),
            (
                r#"{"text":"","sort":"a","object":[1,2]}"#,
                "body/object must be object",
            ),
            (
                r#"{"text":["a","b"],"sort":"a"}"#,
                "body/text must be string",
            ),
        ] {
            assert_eq!(checked(sent).unwrap_err(), message, "{sent}");
        }
    }
}
