//! Checks JSON against the part of JSON Schema that `openapi.json` uses. Unlike a general
//! validator it refuses properties that the schema does not name, so that nothing is served
//! undocumented.

use serde_json::Value;

/// Follows `$ref`.
pub(super) fn resolve<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            let path = reference.strip_prefix('#').unwrap();
            let target = document.pointer(path);
            target.unwrap_or_else(|| panic!("{reference} leads nowhere"))
        }
        None => value,
    }
}

/// Panics with the path of what does not fit.
pub(super) fn check(document: &Value, schema: &Value, value: &Value, path: &str) {
    let schema = resolve(document, schema);
    if let Some(options) = schema.get("oneOf").and_then(Value::as_array) {
        let null = options.iter().find(|option| option["type"] == "null");
        // Where there are several, the word `kind` tells which.
        let other = options.iter().find(|option| {
            let words = &resolve(document, option)["properties"]["kind"]["enum"];
            option["type"] != "null"
                && words
                    .as_array()
                    .is_none_or(|it| it.contains(&value["kind"]))
        });
        let chosen = if value.is_null() { null } else { other };
        check(document, chosen.unwrap(), value, path);
        return;
    }
    let types: Vec<_> = match &schema["type"] {
        Value::String(name) => vec![name.as_str()],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => panic!("{path} has no type"),
    };
    let actual = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.contains(&actual), "{path} is {actual}, not {types:?}");
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        assert!(words.contains(value), "{path} is {value}, not of {words:?}");
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        for (index, value) in values.iter().enumerate() {
            check(document, items, value, &format!("{path}[{index}]"));
        }
    }
    if let (Some(properties), Some(object)) = (schema.get("properties"), value.as_object()) {
        for (name, value) in object {
            let property = &properties[name];
            assert!(!property.is_null(), "{path}.{name} is not documented");
            check(document, property, value, &format!("{path}.{name}"));
        }
        for name in schema["required"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            assert!(object.contains_key(name), "{path}.{name} is missing");
        }
    }
}
