//! Where a request comes from, as far as a browser says: a page of our own, or of another site.

use http::uri::Authority;
use http::{HeaderMap, HeaderName, Uri, header};

/// What the page has to do with us, as browsers tell it.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// What a proxy adds for those behind it.
pub const PROXIED: [HeaderName; 3] = [
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
];

/// Whether a request names the machine as only its own programs do. A web page whose name was made
/// to point here (DNS rebinding) sends that name along.
pub(super) fn is_of_this_machine(headers: &HeaderMap, uri: &Uri) -> bool {
    hosts(headers, uri).all(|host| host.is_some_and(|host| is_loopback_name(host.host())))
}

/// Whether a proxy passed a request on.
#[must_use]
pub fn is_proxied(headers: &HeaderMap) -> bool {
    PROXIED.iter().any(|name| headers.contains_key(name))
}

/// Whether a host is this machine under one of its own names: `localhost` or a loopback address.
#[must_use]
pub fn is_loopback_name(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<std::net::IpAddr>();
    address.map_or_else(
        |_| bare.eq_ignore_ascii_case("localhost"),
        |address| address.to_canonical().is_loopback(),
    )
}

/// The names a request calls us by; `None` for one that can't be read.
fn hosts(headers: &HeaderMap, uri: &Uri) -> impl Iterator<Item = Option<Authority>> {
    let named = headers.get(header::HOST).map(|host| {
        let host = host.to_str().ok();
        host.and_then(|host| host.parse::<Authority>().ok())
    });
    // HTTP/2 has it in the address; what has neither is no browser.
    [named, uri.authority().cloned().map(Some)]
        .into_iter()
        .flatten()
}

/// Whether a request may be the doing of a page of ours or of an allowed origin, or of no page at
/// all. Browsers say where what changes something comes from; other programs don't.
pub(super) fn is_own(headers: &HeaderMap, uri: &Uri, allowed: &[String]) -> bool {
    if let Some(origin) = headers.get(header::ORIGIN) {
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        return allowed.iter().any(|allowed| allowed == origin) || names_us(origin, headers, uri);
    }
    headers
        .get(FETCH_SITE)
        .is_none_or(|site| site == "same-origin" || site == "none")
}

/// Whether an origin has the name and port that the request calls us by.
fn names_us(origin: &str, headers: &HeaderMap, uri: &Uri) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else {
        return false;
    };
    let usual = match origin.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return false,
    };
    let Some(theirs) = origin.authority() else {
        return false;
    };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(usual);
    let mut ours = hosts(headers, uri).peekable();
    ours.peek().is_some()
        && ours.all(|ours| {
            ours.is_some_and(|ours| {
                ours.host().eq_ignore_ascii_case(theirs.host()) && port(&ours) == port(theirs)
            })
        })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        pairs.collect()
    }

    fn own(pairs: &[(&'static str, &'static str)]) -> bool {
        let allowed = ["https://board.example".to_owned()];
        is_own(&headers(pairs), &Uri::from_static("/x"), &allowed)
    }

    #[test]
    fn pages_of_other_sites_are_told_from_ours() {
        let host = ("host", "pulse.example:3000");
        for (pairs, expected) in [
            (vec![host], true),
            (vec![host, ("origin", "http://pulse.example:3000")], true),
            (vec![host, ("origin", "http://PULSE.example:3000")], true),
            (vec![host, ("origin", "https://pulse.example:3000")], true),
            (vec![host, ("origin", "http://pulse.example")], false),
            (vec![host, ("origin", "http://pulse.example:3001")], false),
            (vec![host, ("origin", "https://board.example")], true),
            (vec![host, ("origin", "https://board.example.evil")], false),
            (vec![host, ("origin", "null")], false),
            (vec![host, ("origin", "")], false),
            (vec![host, ("origin", "ftp://pulse.example:3000")], false),
            (vec![host, ("sec-fetch-site", "same-origin")], true),
            (vec![host, ("sec-fetch-site", "none")], true),
            (vec![host, ("sec-fetch-site", "same-site")], false),
            (vec![host, ("sec-fetch-site", "cross-site")], false),
            (
                vec![
                    host,
                    ("origin", "https://board.example"),
                    ("sec-fetch-site", "cross-site"),
                ],
                true,
            ),
            (vec![("origin", "http://pulse.example")], false),
            (
                vec![
                    ("host", "pulse.example"),
                    ("origin", "https://pulse.example:443"),
                ],
                true,
            ),
        ] {
            assert_eq!(own(&pairs), expected, "{pairs:?}");
        }
    }

    #[test]
    fn this_machine_has_few_names() {
        for (host, expected) in [
            ("localhost:3000", true),
            ("LOCALHOST", true),
            ("127.0.0.1:1", true),
            ("[::1]:3000", true),
            ("localhost.evil.example", false),
            ("10.0.0.1", false),
            ("a b", false),
        ] {
            let headers = headers(&[("host", host)]);
            let found = is_of_this_machine(&headers, &Uri::from_static("/"));
            assert_eq!(found, expected, "{host}");
        }
        assert!(is_proxied(&headers(&[("x-forwarded-for", "1.2.3.4")])));
        assert!(!is_proxied(&headers(&[("host", "a")])));
    }
}
