//! What each detector finds, and what it leaves alone.

use super::*;

/// What one detector finds in a text.
fn found(detector: Detector, text: &str) -> Vec<String> {
    found_in(detector, text.as_bytes())
        .into_iter()
        .map(|bytes| String::from_utf8(bytes).unwrap())
        .collect()
}

fn found_in(detector: Detector, bytes: &[u8]) -> Vec<Vec<u8>> {
    let tokens = Tokens::new().unwrap();
    let mut wanted = Detectors::default();
    wanted.add(detector);
    let text = Text::new(bytes);
    let mut all = Vec::new();
    for pass in Pass::ALL {
        let mut from = 0;
        while let Some(next) = pass.find(&text, wanted, &tokens, from) {
            assert!(next.range.start >= from && next.range.end > next.range.start);
            assert_eq!(next.detector, detector);
            from = next.range.end;
            all.push(bytes[next.range].to_vec());
        }
    }
    all
}

#[track_caller]
fn finds(detector: Detector, cases: &[(&str, &[&str])]) {
    for (text, expected) in cases {
        assert_eq!(found(detector, text), *expected, "in {text:?}");
    }
}

#[track_caller]
fn leaves(detector: Detector, texts: &[&str]) {
    for text in texts {
        assert_eq!(found(detector, text), Vec::<String>::new(), "in {text:?}");
    }
}

#[test]
fn email_addresses() {
    finds(
        Detector::Email,
        &[
            ("bob@example.com", &["bob@example.com"]),
            (
                "Write to <bob.o'neil+x@mail.example.co.uk>.",
                &["neil+x@mail.example.co.uk"],
            ),
            (
                "a@b.io, c_d%e-f@g-h.example",
                &["a@b.io", "c_d%e-f@g-h.example"],
            ),
            ("mailto:BOB@EXAMPLE.COM?subject=x", &["BOB@EXAMPLE.COM"]),
            ("jörg@müller.de", &["jörg@müller.de"]),
            ("почта@пример.рф", &["почта@пример.рф"]),
            ("請寫信給bob@example.com。", &["bob@example.com"]),
            ("bob@example.xn--p1ai", &["bob@example.xn--p1ai"]),
            ("...bob@example.com...", &["bob@example.com"]),
            ("a@b@example.com", &["b@example.com"]),
            (r#"{"t":"hi\nbob@example.com\n"}"#, &["bob@example.com"]),
            (
                r#"{"t":"{\"u\":\"\\nbob@example.com\"}"}"#,
                &["bob@example.com"],
            ),
            (r#"["\u003cbob@example.com\u003e"]"#, &["bob@example.com"]),
        ],
    );
    leaves(
        Detector::Email,
        &[
            "",
            "@",
            "bob@",
            "@example.com",
            "bob@localhost",
            "react@18.2.0",
            "icon@2x.png",
            "bob @example.com",
            "bob@.com",
            "bob@example..com",
            "bob.@example.com",
            "@@@@@@",
            "user@10.0.0.1",
        ],
    );
}

#[test]
fn telephone_numbers() {
    finds(
        Detector::Phone,
        &[
            ("+1 (555) 123-4567", &["+1 (555) 123-4567"]),
            ("call +49 30 901820!", &["+49 30 901820"]),
            ("tel:+442079460958", &["+442079460958"]),
            ("+44 (0)20 7946 0958", &["+44 (0)20 7946 0958"]),
            ("+351 21 123 4567.", &["+351 21 123 4567"]),
            ("(212) 555-0123", &["(212) 555-0123"]),
            ("(212)555-0123", &["(212)555-0123"]),
            (
                "212-555-0123, 212.555.0123",
                &["212-555-0123", "212.555.0123"],
            ),
            ("1-800-555-0123", &["1-800-555-0123"]),
            ("+1 212 555 0123 4567", &["+1 212 555 0123"]),
            (r#"{"t":"\n212-555-0123"}"#, &["212-555-0123"]),
        ],
    );
    leaves(
        Detector::Phone,
        &[
            "2125550123",
            "12125550123",
            "2026-01-15T12:00:00+00:00",
            "2026-01-15 12:00:00.123456+02:00",
            "a+4930901820",
            "+1234",
            "+999 123 456",
            "+0049 30 901820",
            "112-555-0123",
            "212-155-0123",
            "212-555-01234",
            "x212-555-0123",
            "1.212.555.0123.4",
            "550e8400-e29b-41d4-a716-446655440000",
            "192.168.100.200",
            "+49 30 90",
        ],
    );
}

#[test]
fn payment_cards() {
    finds(
        Detector::PaymentCard,
        &[
            ("4111111111111111", &["4111111111111111"]),
            ("4111 1111 1111 1111", &["4111 1111 1111 1111"]),
            ("5555-5555-5555-4444", &["5555-5555-5555-4444"]),
            ("378282246310005", &["378282246310005"]),
            ("3782 822463 10005", &["3782 822463 10005"]),
            ("6011111111111117", &["6011111111111117"]),
            ("3530111333300000", &["3530111333300000"]),
            ("30569309025904", &["30569309025904"]),
            ("2223003122003222", &["2223003122003222"]),
            (
                "card 4111 1111 1111 1111 12/26 cvc 123",
                &["4111 1111 1111 1111"],
            ),
            ("1234 4111 1111 1111 1111", &["4111 1111 1111 1111"]),
            (
                "4222222222222,4111111111111111.",
                &["4222222222222", "4111111111111111"],
            ),
            (r#"{"c":"\u00e94111111111111111"}"#, &["4111111111111111"]),
        ],
    );
    leaves(
        Detector::PaymentCard,
        &[
            // The check digit is wrong.
            "4111111111111112",
            "4111 1111 1111 1112",
            "5555-5555-5555-4445",
            "378282246310006",
            // Right, and of no scheme.
            "1111111111111117",
            "0000000000000000",
            // Of the wrong length for the scheme.
            "41111111111111113",
            // Within something else.
            "x4111111111111111",
            "4111111111111111x",
            "94111111111111111111119",
            "0.4111111111111111",
            "4111111111111111.5",
            "4111 1111-1111 1111",
            "4111  1111  1111  1111",
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
            "1790000000000000003",
        ],
    );
}

#[test]
fn bank_accounts() {
    finds(
        Detector::Iban,
        &[
            ("DE89370400440532013000", &["DE89370400440532013000"]),
            (
                "IBAN: DE89 3704 0044 0532 0130 00.",
                &["DE89 3704 0044 0532 0130 00"],
            ),
            (
                "GB29 NWBK 6016 1331 9268 19",
                &["GB29 NWBK 6016 1331 9268 19"],
            ),
            (
                "FR1420041010050500013M02606",
                &["FR1420041010050500013M02606"],
            ),
            ("NO9386011117947,", &["NO9386011117947"]),
            (
                "MT84MALT011000012345MTLCAST001S",
                &["MT84MALT011000012345MTLCAST001S"],
            ),
            (
                r#"["\nGB29NWBK60161331926819"]"#,
                &["GB29NWBK60161331926819"],
            ),
        ],
    );
    leaves(
        Detector::Iban,
        &[
            // The check digits are wrong.
            "DE88370400440532013000",
            "GB28 NWBK 6016 1331 9268 19",
            // Two digits changed places.
            "DE89370400440532010300",
            // Too short, too long, of no country.
            "DE8937040044053201300",
            "DE893704004405320130000",
            "XX89370400440532013000",
            "ADE89370400440532013000",
            "de89370400440532013000",
            "DE89  3704  0044  0532  0130  00",
            "89370400440532013000",
        ],
    );
}

#[test]
fn keys_of_vendors() {
    let (forty, hex) = (
        "aB3dE5gH7jK9mN1pQ3sT5vW7xY9zA1bC3dE5fG7h",
        "0123456789abcdef0123456789abcdef",
    );
    let first = |count: usize| forty.get(..count).unwrap();
    let keys = [
        format!("sk-{forty}"),
        format!("sk-proj-{forty}_{forty}"),
        format!("sk-ant-api03-{forty}-{forty}AA"),
        format!("sk-or-v1-{hex}{hex}"),
        format!("sk-{hex}"),
        "AKIAIOSFODNN7EXAMPLE".to_owned(),
        "ASIAIOSFODNN7EXAMPLE".to_owned(),
        format!("ghp_{}", first(36)),
        format!("ghs_{}", first(36)),
        format!("github_pat_11ABCDEFG0_{forty}"),
        format!("glpat-{}", first(20)),
        format!("AIza{}", first(35)),
        "xoxb-123456789012-1234567890123-abcdefABCDEF".to_owned(),
        format!("sk_live_{}", first(24)),
        format!("rk_test_{}", first(24)),
        format!("hf_{}", first(34)),
        format!("gsk_{forty}{}", first(12)),
        format!("pulse_sk_{}", first(32)),
    ];
    for key in &keys {
        for text in [
            key.clone(),
            format!("Authorization: Bearer {key}"),
            format!("key={key};"),
            format!("\"{key}\""),
            format!("{{\"t\":\"\\n{key}\\n\"}}"),
            format!("OPENAI_API_KEY_{key}"),
        ] {
            assert_eq!(found(Detector::ApiKey, &text), [key.as_str()], "in {text}");
        }
    }
    leaves(
        Detector::ApiKey,
        &[
            "sk-",
            "sk-short1",
            "task-aB3dE5gH7jK9mN1pQ3sT5vW7xY9z",
            "risk-assessment-2026-with-a-long-name",
            "sk-learn-is-a-name-of-words-only-and-long",
            "AKIAIOSFODNN7EXAMPL",
            "AKIAIOSFODNN7EXAMPLE2",
            "XAKIAIOSFODNN7EXAMPLE",
            "akiaiosfodnn7example",
            "ghp_short1",
            "AIzaShort1",
            "xoxb-1",
            "hf_hub_download",
            "sk_live_",
        ],
    );
}

#[test]
fn web_tokens() {
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";
    let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.";
    finds(
        Detector::Jwt,
        &[
            (token, &[token]),
            (&format!("Bearer {token}, and more"), &[token]),
            (&format!("{{\"t\":\"\\n{token}\"}}"), &[token]),
            (unsigned, &[unsigned]),
        ],
    );
    leaves(
        Detector::Jwt,
        &[
            "eyJhbGciOiJIUzI1NiJ9",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0",
            "eyJhbGciOiJIUzI1NiJ9.abc.def",
            "xeyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.x",
            "eyJ.eyJ.eyJ",
        ],
    );
}

#[test]
fn private_keys() {
    let block =
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\n+/ab==\n-----END RSA PRIVATE KEY-----";
    let escaped = block.replace('\n', "\\n");
    let encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIE\n-----END RSA PRIVATE KEY-----";
    let cut = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqh";
    finds(
        Detector::PrivateKey,
        &[
            (block, &[block]),
            (&format!("a {block} b"), &[block]),
            (&format!("{{\"key\":\"{escaped}\\n\"}}"), &[&escaped]),
            (&format!("{block}\n{encrypted}"), &[block, encrypted]),
            (cut, &[cut]),
            (
                &format!("[\"{}\"]", cut.replace('\n', "\\n")),
                &[&cut.replace('\n', "\\n")],
            ),
        ],
    );
    leaves(
        Detector::PrivateKey,
        &[
            "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
            "-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----",
            "-----BEGIN ",
            "-----BEGIN PRIVATE KEY",
        ],
    );
}

#[test]
fn bytes_that_are_no_text_are_searched_as_well() {
    let mut bytes = b"\xff\xfe\x80bob@example.com\xff4111111111111111\xff\xc3".to_vec();
    assert_eq!(found_in(Detector::Email, &bytes), [b"bob@example.com"]);
    assert_eq!(
        found_in(Detector::PaymentCard, &bytes),
        [b"4111111111111111"]
    );
    // Not a panic for any truncation of anything.
    while bytes.pop().is_some() {
        for detector in Detector::ALL {
            found_in(detector, &bytes);
        }
    }
}

// Scenario: texts that make each search begin again at every byte.
// Guarantees: that costs no more than a look at each byte or so. A quadratic search would take
// minutes here.
#[test]
fn no_text_makes_a_search_slow() {
    let size = 256 << 10;
    for piece in [
        "sk-",
        "sk-a_",
        "eyJ",
        "eyJ-",
        "eyJa.",
        "eyJaaaaaaaaaa.eyJ.",
        "-----BEGIN PRIVATE KEY",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----",
        "@",
        "a@",
        "a@b.",
        "a.@",
        "é@",
        "4",
        "4 ",
        "4111 ",
        "411-",
        "+",
        "+1 ",
        "+4",
        "(212) ",
        "DE8",
        "DE89 ",
        "AKIA",
        "\\",
        "\\n",
        "\\u0041",
        "ghp_",
        "pulse_sk_",
        "\u{fffd}",
    ] {
        let text = piece.repeat(size / piece.len());
        for head in ["", "["] {
            let text = format!("{head}{text}");
            for detector in Detector::ALL {
                found_in(detector, text.as_bytes());
            }
        }
    }
}
