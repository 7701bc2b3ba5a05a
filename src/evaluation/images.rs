//! (being written)
use crate::problem::Problem;

/// An 8-bit RGB image, rows top to bottom, samples interleaved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb8 {
    pub width: u32,
    pub height: u32,
    /// `height × width × 3` samples.
    pub data: Vec<u8>,
}

/// Decodes exactly an 8-bit RGB PNG; anything else is a [`Problem`] naming `name`.
pub fn decode_png(_bytes: &[u8], _name: &str) -> Result<Rgb8, Problem> {
    Err(Problem::new("being_written", "being written"))
}
pub struct Header {
    pub width: u32,
    pub height: u32,
}
pub fn png_header(_bytes: &[u8], _name: &str) -> Result<Header, Problem> {
    Err(Problem::new("being_written", "being written"))
}
