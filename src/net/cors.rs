//! Cross-origin resource sharing for the HTTP listeners. Off unless configured.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use serde::{Deserialize, Serialize};

use crate::config::Duration;

/// `cors` of an HTTP listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Origins allowed, `*` matching any run of characters: `https://*.example.com`.
    pub allowed_origins: Vec<String>,
    /// Request headers allowed beside the safe-listed ones and `content-type`.
    pub allowed_headers: Vec<String>,
    /// Response headers that scripts may read.
    pub exposed_headers: Vec<String>,
    /// How long a browser may keep a preflight answer.
    pub max_age: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            allowed_origins: Vec::new(),
            allowed_headers: Vec::new(),
            exposed_headers: Vec::new(),
            max_age: Duration::seconds(7200),
        }
    }
}

/// The rules, ready to be applied.
#[derive(Debug, Clone)]
pub struct Cors {
    origins: Vec<String>,
    /// Whether every origin is allowed, so that the answer does not depend on it.
    any_origin: bool,
    allowed_headers: HeaderValue,
    /// Whether every request header is allowed.
    any_header: bool,
    exposed_headers: Option<HeaderValue>,
    max_age: HeaderValue,
}

impl Cors {
    /// Prepares the rules. Header names that are not valid are left out; the configuration's check
    /// reports them.
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        let valid = |names: &[String]| {
            let valid = names.iter().filter(|name| {
                HeaderName::from_bytes(name.as_bytes()).is_ok() && name.as_str() != "*"
            });
            valid.cloned().collect::<Vec<_>>()
        };
        let mut allowed = vec!["content-type".to_owned()];
        allowed.extend(valid(&config.allowed_headers));
        let exposed = valid(&config.exposed_headers).join(", ");
        let value = |text: &str| HeaderValue::from_str(text).ok();
        Self {
            origins: config.allowed_origins.clone(),
            any_origin: config.allowed_origins.iter().any(|origin| origin == "*"),
            allowed_headers: value(&allowed.join(", "))
                .unwrap_or_else(|| HeaderValue::from_static("content-type")),
            any_header: config.allowed_headers.iter().any(|name| name == "*"),
            exposed_headers: value(&exposed).filter(|value| !value.is_empty()),
            max_age: config.max_age.0.as_secs().into(),
        }
    }

    /// Answers a preflight; `None` when the request is none. `methods` are those of the resource.
    /// It needs no credentials, since browsers send none with it.
    #[must_use]
    pub fn preflight<B>(
        &self,
        request: &Request<B>,
        methods: &'static str,
    ) -> Option<Response<()>> {
        let headers = request.headers();
        let origin = headers.get(header::ORIGIN)?;
        let is_preflight = request.method() == Method::OPTIONS
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight {
            return None;
        }
        let mut response = Response::new(());
        *response.status_mut() = http::StatusCode::NO_CONTENT;
        let answer = response.headers_mut();
        answer.insert(
            header::VARY,
            HeaderValue::from_static(
                "origin, access-control-request-method, access-control-request-headers",
            ),
        );
        let Some(allowed) = self.allowed_origin(origin) else {
            // Without the headers below the browser refuses the request itself.
            return Some(response);
        };
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        let methods = HeaderValue::from_static(methods);
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        let requested = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        let allowed_headers = match requested.filter(|_| self.any_header) {
            Some(requested) => requested.clone(),
            None => self.allowed_headers.clone(),
        };
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers);
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        Some(response)
    }

    /// Adds to an answer what lets a script of an allowed origin read it. Credentials are never
    /// allowed: what is served here is authorised by a header, not by a cookie.
    pub fn decorate(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
        if !self.any_origin {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        let Some(allowed) = origin.and_then(|origin| self.allowed_origin(origin)) else {
            return;
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if let Some(exposed) = &self.exposed_headers {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
        }
    }

    fn allowed_origin(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.any_origin {
            return Some(HeaderValue::from_static("*"));
        }
        let given = origin.to_str().ok()?.to_ascii_lowercase();
        let is_allowed = self
            .origins
            .iter()
            .any(|pattern| matches_pattern(&pattern.to_ascii_lowercase(), &given));
        is_allowed.then(|| origin.clone())
    }
}

/// Whether `*` in the pattern, each standing for any run of characters, can be filled to give
/// `text`. Linear: each literal part is taken at its first place, the last one at the end.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        let Some((_, behind)) = text.split_once(part) else {
            return false;
        };
        text = behind;
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str], headers: &[&str]) -> Cors {
        Cors::from_config(&Config {
            allowed_origins: origins.iter().map(ToString::to_string).collect(),
            allowed_headers: headers.iter().map(ToString::to_string).collect(),
            exposed_headers: vec!["x-shown".to_owned()],
            max_age: Duration::seconds(600),
        })
    }

    fn preflight(cors: &Cors, origin: &str) -> Response<()> {
        let request = Request::builder()
            .method("OPTIONS")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "x-asked")
            .body(())
            .unwrap();
        cors.preflight(&request, "POST").unwrap()
    }

    #[test]
    fn preflight_allows_listed_origins_only() {
        let cors = cors(
            &["https://*.example.com", "http://localhost:*"],
            &["x-team"],
        );
        for (origin, allowed) in [
            ("https://app.example.com", true),
            ("HTTPS://APP.example.com", true),
            ("http://localhost:8080", true),
            ("https://example.com", false),
            ("https://app.example.com.evil.org", false),
            ("http://app.example.com", false),
            ("null", false),
        ] {
            let response = preflight(&cors, origin);
            let given = response.headers().get("access-control-allow-origin");
            assert_eq!(given.is_some(), allowed, "{origin}");
            assert_eq!(response.status(), 204);
            if allowed {
                let headers = response.headers();
                assert_eq!(given.unwrap(), origin);
                assert_eq!(headers["access-control-allow-methods"], "POST");
                assert_eq!(
                    headers["access-control-allow-headers"],
                    "content-type, x-team"
                );
                assert_eq!(headers["access-control-max-age"], "600");
            }
        }
    }

    #[test]
    fn a_bare_star_never_comes_with_credentials() {
        let cors = cors(&["*"], &["*"]);
        let response = preflight(&cors, "https://anywhere.example");
        let headers = response.headers();
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert_eq!(headers["access-control-allow-headers"], "x-asked");
        assert!(!headers.contains_key("access-control-allow-credentials"));
    }

    #[test]
    fn answers_name_the_origin_and_vary_by_it() {
        let cors = cors(&["https://a.example"], &[]);
        let mut headers = HeaderMap::new();
        cors.decorate(
            &mut headers,
            Some(&HeaderValue::from_static("https://a.example")),
        );
        assert_eq!(headers["access-control-allow-origin"], "https://a.example");
        assert_eq!(headers["access-control-expose-headers"], "x-shown");
        assert_eq!(headers["vary"], "origin");
        let mut headers = HeaderMap::new();
        cors.decorate(
            &mut headers,
            Some(&HeaderValue::from_static("https://b.example")),
        );
        assert!(!headers.contains_key("access-control-allow-origin"));
        assert_eq!(headers["vary"], "origin");
    }

    #[test]
    fn a_plain_options_request_is_no_preflight() {
        let request = Request::builder().method("OPTIONS").body(()).unwrap();
        assert!(cors(&["*"], &[]).preflight(&request, "POST").is_none());
    }

    #[test]
    fn patterns_match_whole_origins() {
        assert!(matches_pattern("a*b*c", "aXbYc"));
        assert!(matches_pattern("a*b*c", "abc"));
        assert!(!matches_pattern("a*b*c", "ac"));
        assert!(!matches_pattern("ab*ba", "aba"));
        assert!(matches_pattern("*", ""));
    }
}
