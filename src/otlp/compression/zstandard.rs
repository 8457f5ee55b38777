//! Zstandard.

use std::cell::Cell;

use zstd::zstd_safe::{
    DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, get_error_name, get_frame_content_size,
};

use super::{ENDS_EARLY, Output, Stopped};

/// Largest window accepted, as RFC 8878 §3.1.1.1.2 recommends: 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;
/// A context that grew larger than this for a big window is not kept.
const KEPT_CONTEXT_BYTES_MAX: usize = 1 << 20;

thread_local! {
    /// Kept because a fresh one costs more than a small body.
    static CONTEXT: Cell<Option<DCtx<'static>>> = const { Cell::new(None) };
}

/// The size in the header of the first frame.
pub(super) fn declared_size(frames: &[u8]) -> Option<usize> {
    let size = get_frame_content_size(frames).ok()??;
    usize::try_from(size).ok()
}

/// Decompresses frames to the end of the input.
pub(super) fn decode(input: &[u8], output: &mut Output<'_>) -> Result<(), Stopped> {
    let mut context = match CONTEXT.take() {
        Some(context) => context,
        None => fresh_context()?,
    };
    let result = decode_frames(&mut context, input, output);
    let is_clean = context.reset(ResetDirective::SessionOnly).is_ok();
    if is_clean && context.sizeof() <= KEPT_CONTEXT_BYTES_MAX {
        CONTEXT.set(Some(context));
    }
    result
}

fn fresh_context() -> Result<DCtx<'static>, Stopped> {
    let mut context = DCtx::try_create().ok_or(Stopped::Corrupt("no memory to read it"))?;
    context
        .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
        .map_err(|code| Stopped::Corrupt(get_error_name(code)))?;
    Ok(context)
}

fn decode_frames(
    context: &mut DCtx<'static>,
    input: &[u8],
    output: &mut Output<'_>,
) -> Result<(), Stopped> {
    let mut source = InBuffer::around(input);
    loop {
        output.make_room()?;
        let (read, written) = (source.pos(), output.bytes.len());
        let mut sink = OutBuffer::around_pos(&mut output.bytes, written);
        let remaining = context
            .decompress_stream(&mut sink, &mut source)
            .map_err(|code| Stopped::Corrupt(get_error_name(code)))?;
        output.check()?;
        let is_stuck = source.pos() == read && output.bytes.len() == written;
        if remaining == 0 && source.pos() == input.len() {
            return Ok(());
        }
        if is_stuck && output.has_room() {
            return Err(ENDS_EARLY);
        }
    }
}
