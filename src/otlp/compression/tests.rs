use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 3).unwrap()
}

type Compress = fn(&[u8]) -> Vec<u8>;
const CODECS: [(Encoding, Compress); 4] = [
    (Encoding::Gzip, gzip),
    (Encoding::Deflate, zlib),
    (Encoding::Deflate, raw_deflate),
    (Encoding::Zstd, zstd),
];

fn run(encoding: Encoding, data: Vec<u8>, limit: usize) -> Result<Bytes, Failure> {
    decode(encoding, Bytes::from(data), limit, &mut |_| Ok(()))
}

fn is_malformed(result: &Result<Bytes, Failure>) -> bool {
    matches!(result, Err(Failure::Malformed { .. }))
}

/// Text like telemetry: repetitive, but not entirely.
fn telemetry(length: usize) -> Vec<u8> {
    let mut seed = 1_u32;
    let mut text = Vec::new();
    while text.len() < length {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend(format!("gen_ai.request.model=gpt-{} ", seed >> 20).bytes());
    }
    text.truncate(length);
    text
}

#[test]
fn names_are_known_in_any_case() {
    for (name, encoding) in [
        ("", Some(Encoding::Identity)),
        ("identity", Some(Encoding::Identity)),
        ("GZIP", Some(Encoding::Gzip)),
        (" gzip ", Some(Encoding::Gzip)),
        ("zstd", Some(Encoding::Zstd)),
        ("deflate", Some(Encoding::Deflate)),
        ("zlib", Some(Encoding::Deflate)),
        ("br", None),
        ("gzip, gzip", None),
    ] {
        assert_eq!(Encoding::from_name(name), encoding, "{name}");
    }
}

proptest! {
    // Any data in any encoding, compressed at once or in two members or frames.
    // Guarantees that exactly the data comes out, and that reservations cover it.
    #[test]
    fn what_was_compressed_comes_out(data in vec(any::<u8>(), 0..3000), cut in 0..3000_usize) {
        for (encoding, compress) in CODECS {
            let mut reserved = 0;
            let body = Bytes::from(compress(&data));
            let decoded = decode(encoding, body, data.len(), &mut |step| {
                reserved += step;
                Ok(())
            });
            prop_assert_eq!(decoded.unwrap(), &data);
            prop_assert!(reserved >= data.len());
        }
        let (front, back) = data.split_at(cut.min(data.len()));
        for (encoding, compress) in [(Encoding::Gzip, gzip as Compress), (Encoding::Zstd, zstd)] {
            let body = [compress(front), compress(back)].concat();
            prop_assert_eq!(run(encoding, body, data.len()).unwrap(), &data);
        }
    }

    // Bodies that are cut short or damaged anywhere.
    // Guarantees that nothing wrong is taken for right where the format has a check sum, and that
    // nothing panics or passes the limit where it has none.
    #[test]
    fn damaged_bodies_are_never_taken_for_whole(
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
        is_cut in any::<bool>(),
    ) {
        let data = telemetry(2000);
        for (encoding, compress) in CODECS {
            let mut body = compress(&data);
            let at = at.index(body.len());
            if is_cut {
                body.truncate(at);
                prop_assert!(is_malformed(&run(encoding, body, 4000)), "{:?} at {}", encoding, at);
                continue;
            }
            body[at] ^= 1 << bit;
            match run(encoding, body, 4000) {
                // Gzip's time stamp and the like are not part of the data.
                Ok(decoded) if encoding == Encoding::Gzip => prop_assert_eq!(decoded, &data),
                Ok(decoded) => prop_assert!(decoded.len() <= 4000),
                Err(Failure::Malformed { .. } | Failure::TooLarge { .. }) => {}
                Err(failure) => prop_assert!(false, "{:?}", failure),
            }
        }
    }

    // Random bytes in place of a compressed body.
    // Guarantees an error or bounded output.
    #[test]
    fn random_bytes_never_panic(data in vec(any::<u8>(), 0..200)) {
        for (encoding, _) in CODECS {
            if let Ok(decoded) = run(encoding, data.clone(), 1000) {
                prop_assert!(decoded.len() <= 1000);
            }
        }
    }
}

#[test]
fn a_body_at_the_limit_is_taken_and_one_byte_more_is_too_large() {
    for size in [0, 1, 5000, 300_000] {
        let data = telemetry(size);
        for (encoding, compress) in CODECS {
            assert_eq!(run(encoding, compress(&data), size).unwrap(), data);
            if size > 0 {
                let limit_bytes = u64::try_from(size).unwrap() - 1;
                assert_eq!(
                    run(encoding, compress(&data), size - 1),
                    Err(Failure::TooLarge { limit_bytes }),
                    "{encoding:?}"
                );
            }
        }
        assert_eq!(run(Encoding::Identity, data.clone(), size).unwrap(), data);
        if size > 0 {
            assert!(run(Encoding::Identity, data, size - 1).is_err());
        }
    }
}

#[test]
fn a_bomb_is_stopped_at_the_limit_and_grows_step_by_step() {
    let limit = 1 << 20;
    for (encoding, compress) in CODECS {
        let bomb = compress(&vec![0; 40 << 20]);
        let mut steps = Vec::new();
        let result = decode(encoding, Bytes::from(bomb), limit, &mut |step| {
            steps.push(step);
            Ok(())
        });
        assert!(
            matches!(result, Err(Failure::TooLarge { .. })),
            "{encoding:?}"
        );
        assert!(steps.iter().sum::<usize>() <= limit + 1, "{steps:?}");
    }
}

#[test]
fn a_refused_reservation_stops_the_work() {
    for (encoding, compress) in CODECS {
        let body = Bytes::from(compress(&vec![0; 1 << 20]));
        let mut allowed = 100_000_usize;
        let result = decode(encoding, body, 8 << 20, &mut |step| {
            allowed = allowed.checked_sub(step).ok_or(Failure::ShuttingDown)?;
            Ok(())
        });
        assert_eq!(result, Err(Failure::ShuttingDown), "{encoding:?}");
    }
}

#[test]
fn a_declared_size_is_only_a_hint() {
    // A trailer that promises 4 GiB makes the first step no larger than the input justifies.
    let mut body = gzip(&telemetry(1000));
    let length = body.len();
    body[length - 4..].copy_from_slice(&[0xff; 4]);
    let mut first = None;
    let result = decode(Encoding::Gzip, Bytes::from(body), 64 << 20, &mut |step| {
        first.get_or_insert(step);
        Ok(())
    });
    assert!(is_malformed(&result));
    assert!(first.unwrap() <= length * 32);
    // An honest one makes it exact.
    let data = telemetry(50_000);
    let declared = zstd::bulk::compress(&data, 3).unwrap();
    for (encoding, body) in [(Encoding::Gzip, gzip(&data)), (Encoding::Zstd, declared)] {
        let mut steps = Vec::new();
        let body = Bytes::from(body);
        let mut body_steps = |step| {
            steps.push(step);
            Ok(())
        };
        decode(encoding, body, 64 << 20, &mut body_steps).unwrap();
        assert_eq!(steps, [data.len()], "{encoding:?}");
    }
}

#[test]
fn what_follows_the_data_is_refused() {
    for (encoding, compress) in CODECS {
        let body = [compress(b"data"), b"more".to_vec()].concat();
        assert!(is_malformed(&run(encoding, body, 1000)), "{encoding:?}");
        assert!(
            is_malformed(&run(encoding, Vec::new(), 1000)),
            "{encoding:?}"
        );
    }
}

#[test]
fn the_reason_says_which_encoding_was_expected() {
    let Err(Failure::Malformed { message, .. }) = run(Encoding::Gzip, b"{\"a\":1}".to_vec(), 100)
    else {
        panic!("plain text was taken for gzip");
    };
    assert_eq!(message, "the body is not valid gzip: it has no gzip header");
}

#[test]
fn gzip_headers_with_all_optional_parts_are_read() {
    let mut builder = flate2::GzBuilder::new()
        .extra(vec![1, 2, 3])
        .filename("spans.json")
        .comment("by hand")
        .write(Vec::new(), Compression::fast());
    builder.write_all(b"data").unwrap();
    let body = builder.finish().unwrap();
    assert_eq!(run(Encoding::Gzip, body.clone(), 100).unwrap(), "data");

    let mut with_header_crc = body.clone();
    with_header_crc[3] |= 2;
    let header = body.len() - raw_deflate(b"data").len() - 8;
    with_header_crc.splice(header..header, [0xaa, 0xbb]);
    assert_eq!(run(Encoding::Gzip, with_header_crc, 100).unwrap(), "data");
}

#[test]
fn zstd_windows_are_bounded() {
    let data = telemetry(64 << 10);
    let compress = |window_log| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(&data).unwrap();
        encoder.finish().unwrap()
    };
    assert_eq!(run(Encoding::Zstd, compress(23), 1 << 20).unwrap(), data);
    assert!(is_malformed(&run(Encoding::Zstd, compress(24), 1 << 20)));
    // The context is usable again after the error.
    assert_eq!(run(Encoding::Zstd, compress(20), 1 << 20).unwrap(), data);
}

#[test]
fn many_empty_members_are_read_in_one_go() {
    let body = gzip(b"").repeat(10_000);
    assert_eq!(run(Encoding::Gzip, body, 100).unwrap(), "");
}
