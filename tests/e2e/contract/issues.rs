//! The objects that tell what is wrong with a field (§1.1), as the contract writes them.

/// A place in a body or a query: `0,"trace_id"`.
type Path<'a> = &'a str;

pub(super) fn wrong_type(path: Path<'_>, expected: &str, received: &str) -> String {
    format!(
        r#"{{"expected":"{expected}","code":"invalid_type","path":[{path}],"message":"Invalid input: expected {expected}, received {received}"}}"#
    )
}

pub(super) fn not_a_number(path: Path<'_>) -> String {
    format!(
        r#"{{"expected":"number","code":"invalid_type","received":"NaN","path":[{path}],"message":"Invalid input: expected number, received NaN"}}"#
    )
}

pub(super) fn not_one_of(path: Path<'_>, values: &[&str]) -> String {
    let quoted: Vec<_> = values.iter().map(|it| format!("\"{it}\"")).collect();
    let escaped: Vec<_> = values.iter().map(|it| format!("\\\"{it}\\\"")).collect();
    format!(
        r#"{{"code":"invalid_value","values":[{}],"path":[{path}],"message":"Invalid option: expected one of {}"}}"#,
        quoted.join(","),
        escaped.join("|")
    )
}

pub(super) fn not_a_uuid(path: Path<'_>) -> String {
    format!(
        r#"{{"origin":"string","code":"invalid_format","format":"uuid","pattern":"/^([0-9a-fA-F]{{8}}-[0-9a-fA-F]{{4}}-[1-8][0-9a-fA-F]{{3}}-[89abAB][0-9a-fA-F]{{3}}-[0-9a-fA-F]{{12}}|00000000-0000-0000-0000-000000000000|ffffffff-ffff-ffff-ffff-ffffffffffff)$/","path":[{path}],"message":"Invalid UUID"}}"#
    )
}

pub(super) fn not_a_datetime(path: Path<'_>) -> String {
    let pattern = r"/^(?:(?:\d\d[2468][048]|\d\d[13579][26]|\d\d0[48]|[02468][048]00|[13579][26]00)-02-29|\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|(?:02)-(?:0[1-9]|1\d|2[0-8])))T(?:(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?(?:Z|([+-](?:[01]\d|2[0-3]):[0-5]\d)))$/";
    let pattern = pattern.replace('\\', "\\\\");
    format!(
        r#"{{"origin":"string","code":"invalid_format","format":"datetime","pattern":"{pattern}","path":[{path}],"message":"Invalid ISO datetime"}}"#
    )
}

pub(super) fn too_small(path: Path<'_>, minimum: u32) -> String {
    format!(
        r#"{{"origin":"number","code":"too_small","minimum":{minimum},"inclusive":true,"path":[{path}],"message":"Too small: expected number to be >={minimum}"}}"#
    )
}

pub(super) fn too_big(path: Path<'_>, maximum: u32) -> String {
    format!(
        r#"{{"origin":"number","code":"too_big","maximum":{maximum},"inclusive":true,"path":[{path}],"message":"Too big: expected number to be <={maximum}"}}"#
    )
}

pub(super) fn empty(path: Path<'_>) -> String {
    format!(
        r#"{{"origin":"string","code":"too_small","minimum":1,"inclusive":true,"path":[{path}],"message":"Too small: expected string to have >=1 characters"}}"#
    )
}

pub(super) fn not_whole(path: Path<'_>) -> String {
    format!(
        r#"{{"expected":"int","format":"safeint","code":"invalid_type","path":[{path}],"message":"Invalid input: expected int, received number"}}"#
    )
}

pub(super) fn not_safe(path: Path<'_>) -> String {
    format!(
        r#"{{"code":"too_big","maximum":9007199254740991,"note":"Integers must be within the safe integer range.","origin":"int","inclusive":true,"path":[{path}],"message":"Too big: expected int to be <=9007199254740991"}}"#
    )
}

/// More items than a batch may have.
pub(super) const TOO_MANY: &str = r#"{"origin":"array","code":"too_big","maximum":100,"inclusive":true,"path":[],"message":"Too big: expected array to have <=100 items"}"#;

/// A refused body.
pub(super) fn body(issues: &[String]) -> String {
    let issues = issues.join(",");
    format!(r#"{{"error":"Validation failed","details":[{issues}]}}"#)
}

/// A refused query.
pub(super) fn query(issues: &[String]) -> String {
    let issues = issues.join(",");
    format!(r#"{{"error":"Invalid query parameters","details":[{issues}]}}"#)
}
