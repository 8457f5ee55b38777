//! Secrets with a mark of their own: vendors' keys, web tokens, private keys. One search finds the
//! marks of all.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input};

use super::{Detection, Detector, Detectors, Text};

/// How a key goes on behind its mark.
#[derive(Debug, Clone, Copy)]
struct Vendor {
    mark: &'static str,
    /// Least characters behind the mark.
    least: usize,
    /// Most characters behind it; one more and it is something else.
    most: usize,
    alphabet: Alphabet,
}

#[derive(Debug, Clone, Copy)]
enum Alphabet {
    /// `A-Z0-9`
    Upper,
    /// `A-Za-z0-9`
    Alphanumeric,
    /// `A-Za-z0-9_-`
    Url,
}

const fn vendor(mark: &'static str, least: usize, alphabet: Alphabet) -> Vendor {
    Vendor {
        mark,
        least,
        most: usize::MAX,
        alphabet,
    }
}

/// Keys by vendor. None of the marks begins another, but for a longer one of the same vendor.
const VENDORS: &[Vendor] = &[
    // OpenAI, Anthropic (sk-ant-), OpenRouter (sk-or-), Langfuse (sk-lf-), DeepSeek, LiteLLM
    vendor("sk-", 20, Alphabet::Url),
    Vendor {
        most: 16,
        ..vendor("AKIA", 16, Alphabet::Upper)
    },
    Vendor {
        most: 16,
        ..vendor("ASIA", 16, Alphabet::Upper)
    },
    vendor("ghp_", 36, Alphabet::Alphanumeric),
    vendor("gho_", 36, Alphabet::Alphanumeric),
    vendor("ghu_", 36, Alphabet::Alphanumeric),
    vendor("ghs_", 36, Alphabet::Alphanumeric),
    vendor("ghr_", 36, Alphabet::Alphanumeric),
    vendor("github_pat_", 22, Alphabet::Url),
    vendor("glpat-", 20, Alphabet::Url),
    vendor("AIza", 35, Alphabet::Url),
    vendor("xoxa-", 10, Alphabet::Url),
    vendor("xoxb-", 10, Alphabet::Url),
    vendor("xoxe-", 10, Alphabet::Url),
    vendor("xoxp-", 10, Alphabet::Url),
    vendor("xoxr-", 10, Alphabet::Url),
    vendor("xoxs-", 10, Alphabet::Url),
    vendor("xapp-", 10, Alphabet::Url),
    vendor("sk_live_", 16, Alphabet::Alphanumeric),
    vendor("sk_test_", 16, Alphabet::Alphanumeric),
    vendor("rk_live_", 16, Alphabet::Alphanumeric),
    vendor("rk_test_", 16, Alphabet::Alphanumeric),
    vendor("whsec_", 16, Alphabet::Alphanumeric),
    vendor("hf_", 30, Alphabet::Alphanumeric),
    vendor("gsk_", 40, Alphabet::Alphanumeric),
    vendor("xai-", 40, Alphabet::Alphanumeric),
    vendor("pplx-", 40, Alphabet::Alphanumeric),
    vendor("pulse_sk_", 16, Alphabet::Url),
];

const JWT: &str = "eyJ";
const PEM: &str = "-----BEGIN ";
const PEM_KEY: &[u8] = b"PRIVATE KEY";
const PEM_END: &[u8] = b"END ";
const DASHES: &[u8] = b"-----";
/// Longest name of a kind of private key.
const PEM_LABEL_MAX: usize = 64;

/// The search for marks.
#[derive(Debug)]
pub(in super::super) struct Tokens {
    marks: AhoCorasick,
}

impl Tokens {
    /// # Errors
    /// The marks can't be searched for, which is a bug.
    pub(in super::super) fn new() -> Result<Self, aho_corasick::BuildError> {
        let of_vendors = VENDORS.iter().map(|vendor| vendor.mark);
        let marks = of_vendors.chain([JWT, PEM]);
        let marks = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::DFA))
            .match_kind(aho_corasick::MatchKind::LeftmostLongest)
            .build(marks)?;
        Ok(Self { marks })
    }

    /// The first that begins at `from` or behind it.
    pub(super) fn find(
        &self,
        text: &Text<'_>,
        wanted: Detectors,
        from: usize,
    ) -> Option<Detection> {
        let mut position = from;
        loop {
            if position > text.bytes.len() {
                return None;
            }
            let input = Input::new(text.bytes).range(position..);
            let mark = self.marks.find(input)?;
            let vendor = VENDORS.get(mark.pattern().as_usize());
            let detector = match vendor {
                Some(_) => Detector::ApiKey,
                None if text.at(mark.start()) == Some(b'e') => Detector::Jwt,
                None => Detector::PrivateKey,
            };
            // What is not wanted is not looked at either, since it would be at every mark in it.
            let end = match (detector, vendor) {
                _ if !wanted.has(detector) => None,
                (Detector::Jwt, _) => jwt_end(text, mark.start()),
                (_, Some(vendor)) => key_end(text, *vendor, mark.range()),
                (_, None) => pem_end(text, mark.end()),
            };
            if let Some(end) = end {
                let range = mark.start()..end;
                return Some(Detection { range, detector });
            }
            position = mark.start() + 1;
        }
    }
}

/// Characters of a key among which a digit must be: of so many random ones, one is.
const DIGIT_WITHIN: usize = 64;

/// Where a key ends. Looks at so many characters at most to see that there is none, since a long run
/// may have a mark at every word.
fn key_end(text: &Text<'_>, vendor: Vendor, mark: Range<usize>) -> Option<usize> {
    if !text.begins_at(mark.start) {
        return None;
    }
    let from = mark.end;
    let is_in = |byte: &&u8| match vendor.alphabet {
        Alphabet::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
        Alphabet::Alphanumeric => byte.is_ascii_alphanumeric(),
        Alphabet::Url => is_url_safe(byte),
    };
    let rest = text.bytes.get(from..)?;
    let head = rest.get(..DIGIT_WITHIN).unwrap_or(rest);
    let length = head.iter().take_while(is_in).count();
    // A name of several words (`sk-learn-…`) has no digit.
    if length < vendor.least || !head.get(..length)?.iter().any(u8::is_ascii_digit) {
        return None;
    }
    if vendor.most < usize::MAX {
        let is_whole = length <= vendor.most && text.ends_at(from + length);
        return is_whole.then_some(from + length);
    }
    Some(from + rest.iter().take_while(is_in).count())
}

fn is_url_safe(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// Three parts in base64url with dots between them, of which the first two are JSON (RFC 7515).
fn jwt_end(text: &Text<'_>, start: usize) -> Option<usize> {
    // Only at the start of a run of such characters, so that each run is looked at once.
    let is_joined = matches!(text.before(start), Some(b'_' | b'-'));
    if is_joined || !text.begins_at(start) {
        return None;
    }
    let part = |from: usize| -> Option<Range<usize>> {
        let rest = text.bytes.get(from..)?;
        let length = rest.iter().take_while(|byte| is_url_safe(byte)).count();
        Some(from..from + length)
    };
    let header = part(start)?;
    let payload = part(header.end + 1)?;
    let is_json = text.bytes.get(payload.start..)?.starts_with(JWT.as_bytes());
    let dots = [header.end, payload.end].map(|at| text.at(at));
    if dots != [Some(b'.'); 2] || !is_json || header.len() < 10 {
        return None;
    }
    // Without a signature it is a token still.
    Some(part(payload.end + 1)?.end)
}

/// Where a block ends whose label is at `from`. One that was cut off ends with its last character.
fn pem_end(text: &Text<'_>, from: usize) -> Option<usize> {
    let rest = text.bytes.get(from..)?;
    let head = rest.get(..PEM_LABEL_MAX).unwrap_or(rest);
    let label = memchr::memmem::find(head, DASHES)?;
    memchr::memmem::find(head.get(..label)?, PEM_KEY)?;
    let body_at = from + label + DASHES.len();
    let body = text.bytes.get(body_at..)?;
    if let Some(end) = memchr::memmem::find(body, DASHES)
        && let Some(last) = body.get(end + DASHES.len()..)
        && last.starts_with(PEM_END)
    {
        let line = last.get(..PEM_LABEL_MAX).unwrap_or(last);
        let close = memchr::memmem::find(line, DASHES).map_or(0, |it| it + DASHES.len());
        return Some(body_at + end + DASHES.len() + close.max(PEM_END.len()));
    }
    // Base64, line feeds as they are in texts and in JSON, and the headers of an encrypted key.
    let is_body = |byte: &&u8| {
        byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || b"+/=\\:,-".contains(byte)
    };
    let length = body.iter().take_while(is_body).count();
    Some(body_at + length)
}
