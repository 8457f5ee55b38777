//! Bodies of fuzz targets; see [`crate::fuzz`].

use super::guard::{REFUSED_HEADER, split_requests};

/// The requests of an HTTP/1 connection are taken apart in one way, however the bytes arrive: what
/// is handed on is what came, up to a refused head. The first byte is the size of the pieces.
pub(crate) fn http1(data: &[u8]) {
    let Some((size, bytes)) = data.split_first() else {
        return;
    };
    let (whole, is_broken) = split_requests(&[bytes]);
    let pieces: Vec<_> = bytes.chunks(usize::from(*size).max(1)).collect();
    let (by_pieces, is_broken_too) = split_requests(&pieces);
    assert_eq!(is_broken, is_broken_too);
    let (passed, reason) = before_stand_in(&whole);
    assert!(bytes.starts_with(passed));
    let (passed_too, reason_too) = before_stand_in(&by_pieces);
    assert!(bytes.starts_with(passed_too));
    if is_broken {
        // How much was handed on before that was noticed depends on the pieces.
        assert!(passed_too.starts_with(passed));
    } else {
        // Empty lines before a head may be handed on without it.
        assert_eq!(passed.trim_ascii_end(), passed_too.trim_ascii_end());
        assert_eq!(reason, reason_too);
    }
}

/// What was handed on as it came, and why what follows was refused.
fn before_stand_in(out: &[u8]) -> (&[u8], &[u8]) {
    let stand_in = format!("POST / HTTP/1.1\r\n{REFUSED_HEADER}: ");
    let Some(at) = memchr::memmem::rfind(out, stand_in.as_bytes()) else {
        return (out, b"");
    };
    let (passed, rest) = out.split_at_checked(at).unwrap_or((out, b""));
    let reason = rest.get(stand_in.len()..).unwrap_or_default();
    (
        passed,
        reason
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default(),
    )
}
