//! Images, sounds and files in messages: by reference, or inline up to a size.

use super::part::Part;
use crate::semconv::json::Json;

/// Longest content that is shown inline, in bytes of base64. What is longer stays in the attribute
/// it came in, which the answer has anyway.
pub(super) const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Reads a part that is a medium; `None` when it is something else.
pub(super) fn read(map: &Json) -> Option<Part> {
    let kind = map.get("type").and_then(Json::as_text).unwrap_or_default();
    let of = |path: &[&str]| map.at(path).and_then(Json::as_text);
    let mime = first(map, &["mime_type", "media_type", "mediaType", "mimeType"]);
    let modality = first(map, &["modality"]).or_else(|| mime.map(modality_of));
    match kind {
        "blob" => Some(blob(mime, modality, first(map, &["content", "data"])?)),
        "uri" => Some(uri(mime, modality, first(map, &["uri", "url"])?)),
        "image_url" | "input_image" => {
            let url = of(&["image_url", "url"]).or_else(|| of(&["image_url"]));
            match url {
                Some(url) => Some(located(mime, Some("image"), url)),
                None => Some(file(mime, Some("image"), of(&["file_id"])?)),
            }
        }
        "input_audio" | "audio" => {
            let format = of(&["input_audio", "format"]).map(|it| format!("audio/{it}"));
            let data = of(&["input_audio", "data"]).or_else(|| of(&["data"]))?;
            Some(blob(format.as_deref().or(mime), Some("audio"), data))
        }
        "image" | "document" | "video" => {
            let modality = modality.or_else(|| (kind == "image").then_some("image"));
            sourced(map, modality)
        }
        "file" | "input_file" | "media" => of_file(map, mime, modality),
        "" => untyped(map),
        _ => None,
    }
}

/// Anthropic's and the AI SDK's: in `source`, or in a key named as the part is.
fn sourced(map: &Json, modality: Option<&str>) -> Option<Part> {
    if let Some(source) = map.get("source") {
        let mime = first(source, &["media_type", "mime_type"]);
        if let Some(url) = first(source, &["url"]) {
            return Some(located(mime, modality, url));
        }
        if let Some(id) = first(source, &["file_id"]) {
            return Some(file(mime, modality, id));
        }
        return Some(blob(mime, modality, first(source, &["data"])?));
    }
    let mime = first(map, &["mediaType", "mimeType", "mime_type"]);
    match map.first(&["image", "data", "url"])? {
        Json::Text(text) if is_location(text) => Some(located(mime, modality, text)),
        Json::Text(text) => Some(blob(mime, modality, text)),
        // `{"image": {"url": …}}`
        inner => Some(located(mime, modality, first(inner, &["url"])?)),
    }
}

fn of_file(map: &Json, mime: Option<&str>, modality: Option<&str>) -> Option<Part> {
    let inner = map.get("file").unwrap_or(map);
    if let Some(id) = first(inner, &["file_id"]) {
        return Some(file(mime, modality, id));
    }
    let data = first(inner, &["file_data", "data", "url", "file_url", "fileUri"])?;
    if is_location(data) {
        Some(located(mime, modality, data))
    } else {
        Some(blob(mime, modality, data))
    }
}

/// Gemini's and Bedrock's: told by their keys.
fn untyped(map: &Json) -> Option<Part> {
    if let Some(data) = map.first(&["inlineData", "inline_data"]) {
        let mime = first(data, &["mimeType", "mime_type"]);
        return Some(blob(mime, mime.map(modality_of), first(data, &["data"])?));
    }
    if let Some(data) = map.first(&["fileData", "file_data"]) {
        let mime = first(data, &["mimeType", "mime_type"]);
        let location = first(data, &["fileUri", "file_uri"])?;
        return Some(uri(mime, mime.map(modality_of), location));
    }
    let image = map.get("image")?;
    let mime = first(image, &["format"]).map(|format| format!("image/{format}"));
    let bytes = image.at(&["source", "bytes"]).and_then(Json::as_text);
    Some(blob(mime.as_deref(), Some("image"), bytes?))
}

fn first<'m>(map: &'m Json, keys: &[&str]) -> Option<&'m str> {
    map.first(keys).and_then(Json::as_text)
}

fn is_location(text: &str) -> bool {
    ["http://", "https://", "data:", "gs://", "s3://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

/// A URL, or content written as one.
fn located(mime: Option<&str>, modality: Option<&str>, url: &str) -> Part {
    let inline = url.strip_prefix("data:").and_then(|it| it.split_once(','));
    match inline {
        Some((head, content)) if head.ends_with(";base64") => {
            let own = head.split(';').next().filter(|it| !it.is_empty());
            let modality = modality.or_else(|| own.map(modality_of));
            blob(own.or(mime), modality, content)
        }
        _ => uri(mime, modality, url),
    }
}

fn blob(mime: Option<&str>, modality: Option<&str>, content: &str) -> Part {
    let is_shown = content.len() <= INLINE_BYTES_MAX;
    Part::new(
        "blob",
        vec![
            ("mime_type", mime.map(Json::from)),
            ("modality", modality.map(Json::from)),
            ("content", is_shown.then(|| content.into())),
            (
                "omitted_bytes",
                (!is_shown).then(|| Json::Number(content.len().into())),
            ),
        ],
    )
}

fn uri(mime: Option<&str>, modality: Option<&str>, uri: &str) -> Part {
    Part::new(
        "uri",
        vec![
            ("mime_type", mime.map(Json::from)),
            ("modality", modality.map(Json::from)),
            ("uri", Some(uri.into())),
        ],
    )
}

fn file(mime: Option<&str>, modality: Option<&str>, id: &str) -> Part {
    Part::new(
        "file",
        vec![
            ("mime_type", mime.map(Json::from)),
            ("modality", modality.map(Json::from)),
            ("file_id", Some(id.into())),
        ],
    )
}

fn modality_of(mime: &str) -> &str {
    match mime.split('/').next() {
        Some(kind @ ("image" | "audio" | "video" | "text")) => kind,
        _ => "document",
    }
}
