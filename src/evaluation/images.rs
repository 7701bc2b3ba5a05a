//! PNG files, strictly: exactly 8-bit RGB, decided on the header, raw samples, nothing converted.
//!
//! The `png` crate is used directly: `image` turns a palette into RGB without a word, gives RGB with tRNS an alpha, and
//! inflates an ICC profile to 68 MB. Here colour chunks are ignored, as the field's own scripts do.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, Limits, Transformations};

use crate::problem::Problem;

/// Bytes that a decoder may allocate beside the rows: ancillary chunks are ignored, so little is needed.
const DECODER_BYTES: usize = 8 << 20;
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// An 8-bit RGB image, rows top to bottom, samples interleaved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb8 {
    pub width: u32,
    pub height: u32,
    /// `height × width × 3` samples.
    pub data: Vec<u8>,
}

impl Rgb8 {
    /// The image without what is beyond a multiple of `scale` at the right and bottom.
    pub fn crop_to_multiple(self, scale: u32) -> Rgb8 {
        let (width, height) = (self.width - self.width % scale, self.height - self.height % scale);
        if (width, height) == (self.width, self.height) {
            return self;
        }
        let row = 3 * self.width as usize;
        let data = self.data.chunks(row.max(1)).take(height as usize).flat_map(|r| &r[..3 * width as usize]).copied();
        Rgb8 { width, height, data: data.collect() }
    }
}

/// Size of a PNG, from its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub width: u32,
    pub height: u32,
}

/// Reads the header of an 8-bit RGB PNG; anything else is a [`Problem`] naming `name`.
pub fn png_header(bytes: &[u8], name: &str) -> Result<Header, Problem> {
    let reader = reader(bytes, name)?;
    let info = reader.info();
    Ok(Header { width: info.width, height: info.height })
}

/// Decodes exactly an 8-bit RGB PNG; anything else is a [`Problem`] naming `name`.
pub fn decode_png(bytes: &[u8], name: &str) -> Result<Rgb8, Problem> {
    decode(bytes, name, None)
}

/// [`decode_png`] of an image that must be `width × height`, refused on the header, before any row is allocated.
pub fn decode_png_sized(bytes: &[u8], name: &str, width: u32, height: u32) -> Result<Rgb8, Problem> {
    decode(bytes, name, Some((width, height)))
}

fn decode(bytes: &[u8], name: &str, expected: Option<(u32, u32)>) -> Result<Rgb8, Problem> {
    let mut reader = reader(bytes, name)?;
    let (width, height) = (reader.info().width, reader.info().height);
    if let Some((w, h)) = expected
        && (w, h) != (width, height)
    {
        return Err(Problem::new("image_size", format!("{name}: {width}x{height}, expected {w}x{h}")).at(name));
    }
    let malformed = |error: png::DecodingError| broken(name, &error.to_string());
    // Width and height are at most 2³¹: the product of three may overflow a 32-bit machine's usize.
    let size = u64::from(width) * u64::from(height) * 3;
    if reader.output_buffer_size().map(|n| n as u64) != Some(size) {
        return Err(broken(name, "impossible size"));
    }
    let mut data = vec![0u8; size as usize];
    reader.next_frame(&mut data).map_err(malformed)?;
    // Reads on to IEND, so that a torn tail does not pass for a whole file.
    reader.finish().map_err(malformed)?;
    Ok(Rgb8 { width, height, data })
}

fn reader<'a>(bytes: &'a [u8], name: &str) -> Result<png::Reader<Cursor<&'a [u8]>>, Problem> {
    if !bytes.starts_with(SIGNATURE) {
        return Err(broken(name, "it has no PNG signature").hint("Save as PNG; renaming a JPEG or BMP does not convert it."));
    }
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: DECODER_BYTES });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(Transformations::IDENTITY);
    let reader = decoder.read_info().map_err(|error| broken(name, &error.to_string()))?;
    let info = reader.info();
    let found = match (info.color_type, info.bit_depth) {
        (ColorType::Rgb, BitDepth::Eight) if info.trns.is_none() => return Ok(reader),
        (ColorType::Rgb, BitDepth::Eight) => "RGB with a transparent colour (tRNS)".to_owned(),
        (color, depth) => {
            let color = match color {
                ColorType::Grayscale => "grayscale",
                ColorType::GrayscaleAlpha => "grayscale with alpha",
                ColorType::Indexed => "palette",
                ColorType::Rgb => "RGB",
                ColorType::Rgba => "RGB with alpha",
            };
            format!("{}-bit {color}", depth as u8)
        }
    };
    Err(Problem::new("image_mode", format!("{name}: {found}, expected 8-bit RGB"))
        .at(name)
        .hint("Save as 8-bit RGB without alpha, for instance with PIL: image.convert(\"RGB\").save(…)."))
}

fn broken(name: &str, why: &str) -> Problem {
    Problem::new("png_malformed", format!("{name}: the PNG cannot be read: {why}")).at(name)
}

/// The image as a PNG file.
pub fn encode_png(image: &Rgb8) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    image::ImageEncoder::write_image(encoder, &image.data, image.width, image.height, image::ExtendedColorType::Rgb8)?;
    Ok(bytes)
}
