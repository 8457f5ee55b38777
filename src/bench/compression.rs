//! Compressed requests. They can't be made in advance, because their ids differ: each is
//! compressed when it is sent, at the fastest level, on a blocking thread. That costs the
//! generator several times what the server pays to decompress.

use std::io::Write as _;

use serde::Serialize;

/// How requests are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip, level 1.
    Gzip,
    /// Zstandard, level 1.
    Zstd,
}

impl Compression {
    /// Name in `grpc-encoding` and `content-encoding`.
    pub(super) const fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// The compressed message.
    ///
    /// # Errors
    /// When the library fails, which it does not for memory to memory.
    pub(super) fn compress(self, message: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(message.to_vec()),
            Self::Gzip => {
                let out = Vec::with_capacity(message.len() / 3);
                let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
                encoder.write_all(message)?;
                encoder.finish()
            }
            Self::Zstd => zstd::bulk::compress(message, 1),
        }
    }
}
