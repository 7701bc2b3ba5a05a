//! PNG bytes in, 8-bit RGB samples out, and back.
//!
//! Strict on purpose: a decoder that converts (grey to RGB, 16 bits to 8, alpha dropped, missing rows black) would score
//! something other than what was uploaded. The colour type is therefore read from the IHDR chunk and never from what the
//! decoder made of it, and no colour management takes place (gAMA, iCCP and sRGB are not looked at).

use std::{
    fs::File,
    io::{Cursor, Read, Write},
    path::Path,
};

use anyhow::{Context, ensure};

use crate::problem::Problem;

/// An 8-bit RGB image, rows top to bottom, samples interleaved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb8 {
    pub width: u32,
    pub height: u32,
    /// `height × width × 3` samples.
    pub data: Vec<u8>,
}

/// What the decoder may allocate besides the picture itself: its chunk buffers. Text and colour profiles are skipped,
/// so nothing legitimate comes near it.
const DECODER_BYTES: usize = 8 << 20;

/// The largest picture that is decoded when nobody said which size to expect: 16384×16384.
const MAX_PIXELS: u64 = 1 << 28;

/// A deflate stream makes at most 1,032 bytes of one.
const MAX_DEFLATE_RATIO: u64 = 1032;

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

/// The signature and the IHDR chunk: 8 + (length 4, type 4, data 13, CRC 4) bytes.
pub const PNG_HEADER_LEN: usize = 33;

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// What the IHDR chunk says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PngHeader {
    pub width: u32,
    pub height: u32,
    /// Bits a sample: 1, 2, 4, 8 or 16.
    pub depth: u8,
    /// The PNG colour type: 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGB with alpha.
    pub color_type: u8,
}

impl PngHeader {
    /// Refuses everything but 8-bit RGB, saying what it is instead (`image_mode`).
    pub fn require_rgb8(&self, name: &str) -> Result<(), Problem> {
        if (self.color_type, self.depth) == (2, 8) { Ok(()) } else { Err(wrong_mode(&self.mode(), name)) }
    }

    /// Refuses every size but `expected` (width, height) (`image_size`).
    pub fn require_size(&self, expected: (u32, u32), name: &str) -> Result<(), Problem> {
        if (self.width, self.height) == expected {
            return Ok(());
        }
        let (width, height) = expected;
        Err(Problem::new("image_size", format!("{}x{}, expected {width}x{height}", self.width, self.height)).at(name))
    }

    fn mode(&self) -> String {
        let color = match self.color_type {
            0 => "grayscale",
            2 => "RGB",
            3 => "palette",
            4 => "grayscale with alpha",
            6 => "RGBA",
            _ => "unknown colour type",
        };
        format!("{}-bit {color}", self.depth)
    }
}

/// Reads the size and the kind of a PNG from its first [`PNG_HEADER_LEN`] bytes; nothing is decoded or allocated.
pub fn png_header(bytes: &[u8], name: &str) -> Result<PngHeader, Problem> {
    let malformed = |what: String| Problem::new("png_malformed", what).at(name);
    if !bytes.starts_with(&SIGNATURE) {
        return Err(malformed(format!("not a PNG file{}", sniff(bytes))).hint("Save the image as an 8-bit RGB PNG."));
    }
    let Some(header) = bytes.get(8..PNG_HEADER_LEN) else {
        return Err(malformed("the PNG is cut short within its header".into()));
    };
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if number(0) != 13 || header[4..8] != *b"IHDR" {
        return Err(malformed("the PNG does not begin with an IHDR chunk".into()));
    }
    let mut crc = flate2::Crc::new();
    crc.update(&header[4..21]);
    if crc.sum() != number(21) {
        return Err(malformed("the checksum (CRC) of the PNG's header is wrong".into()));
    }
    let (width, height) = (number(8), number(12));
    if width == 0 || height == 0 || width > i32::MAX as u32 || height > i32::MAX as u32 {
        return Err(malformed(format!("the PNG's header says {width}x{height}")));
    }
    Ok(PngHeader { width, height, depth: header[16], color_type: header[17] })
}

/// Decodes exactly an 8-bit RGB PNG; anything else is a [`Problem`] naming `name`.
///
/// Codes: `png_malformed`, `image_mode`, and `image_size` above 2^28 pixels.
pub fn decode_png(bytes: &[u8], name: &str) -> Result<Rgb8, Problem> {
    let header = png_header(bytes, name)?;
    header.require_rgb8(name)?;
    if u64::from(header.width) * u64::from(header.height) > MAX_PIXELS {
        let message = format!("{}x{} is more than {MAX_PIXELS} pixels", header.width, header.height);
        return Err(Problem::new("image_size", message).at(name));
    }
    // A header is free to say anything: nothing is allocated that the bytes could not fill, however well they are packed.
    let claimed = u64::from(header.height) * (3 * u64::from(header.width) + 1);
    if claimed > MAX_DEFLATE_RATIO * bytes.len() as u64 {
        return Err(Problem::new("png_malformed", "damaged PNG: image data ends too early").at(name));
    }
    decode_checked(bytes, name)
}

/// Like [`decode_png`], for an image that must have the size `expected` (width, height): any other is refused by its
/// header, before anything is allocated.
pub fn decode_png_sized(bytes: &[u8], name: &str, expected: (u32, u32)) -> Result<Rgb8, Problem> {
    let header = png_header(bytes, name)?;
    header.require_size(expected, name)?;
    header.require_rgb8(name)?;
    decode_checked(bytes, name)
}

/// Decodes the 8-bit RGB PNG at `path`; one of our own or the user's references. The error holds a [`Problem`] when the
/// file was read but is not such an image.
pub fn read_png(path: &Path) -> anyhow::Result<Rgb8> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    Ok(decode_png(&bytes, &name)?)
}

/// Of the files that [`write_raw`] makes.
pub const RAW_EXTENSION: &str = "rgb";
/// The first bytes of such a file; then width and height (u32 LE) and the samples.
const RAW_SIGNATURE: [u8; 8] = *b"rgb8\x00\r\n\x01";
const RAW_HEADER: usize = RAW_SIGNATURE.len() + 8;

/// Writes an image as its samples, to be read back without decoding. It appears under `path` whole or not at all, also
/// after a loss of power: a torn reference would silently give another PSNR.
pub fn write_raw(image: &Rgb8, path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().context("a file is in a folder")?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&RAW_SIGNATURE)?;
    file.write_all(&image.width.to_le_bytes())?;
    file.write_all(&image.height.to_le_bytes())?;
    file.write_all(&image.data)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Reads one of our own images: what [`write_raw`] wrote, or an 8-bit RGB PNG as [`read_png`] does.
pub fn read_image(path: &Path) -> anyhow::Result<Rgb8> {
    if path.extension().is_none_or(|extension| extension != RAW_EXTENSION) {
        return read_png(path);
    }
    let mut file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    let mut header = [0; RAW_HEADER];
    file.read_exact(&mut header)?;
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (width, height) = (number(8), number(12));
    let bytes = u64::from(width) * u64::from(height) * 3;
    let whole = file.metadata()?.len() == bytes + RAW_HEADER as u64;
    ensure!(header[..8] == RAW_SIGNATURE && whole, "{} is no image that we wrote", path.display());
    let mut data = Vec::with_capacity(usize::try_from(bytes)?);
    file.read_to_end(&mut data)?;
    Ok(Rgb8 { width, height, data })
}

/// Encodes as PNG, favouring speed over size.
pub fn encode_png(image: &Rgb8) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, image.width, image.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    encoder.write_header()?.write_image_data(&image.data)?;
    Ok(out)
}

/// The header has been vetted: the picture is 8-bit RGB and of a size that we are ready to allocate.
fn decode_checked(bytes: &[u8], name: &str) -> Result<Rgb8, Problem> {
    let malformed = |e: png::DecodingError| {
        let cut = matches!(&e, png::DecodingError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof);
        let what = if cut { "image data ends too early".into() } else { e.to_string() };
        Problem::new("png_malformed", format!("damaged PNG: {what}")).at(name)
    };
    let mut options = png::DecodeOptions::default();
    options.set_ignore_adler32(false);
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    let mut decoder = png::Decoder::new_with_options(Cursor::new(bytes), options);
    decoder.set_limits(png::Limits { bytes: DECODER_BYTES });
    decoder.set_transformations(png::Transformations::IDENTITY);

    let mut reader = decoder.read_info().map_err(malformed)?;
    let info = reader.info();
    let (width, height) = (info.width, info.height);
    if info.trns.is_some() {
        return Err(wrong_mode("8-bit RGB with a transparent colour (tRNS)", name));
    }
    let size = reader.output_buffer_size().unwrap_or(usize::MAX);
    if size as u64 != u64::from(width) * u64::from(height) * 3 {
        return Err(Problem::new("png_malformed", "the PNG's size cannot be represented").at(name));
    }
    let mut data = vec![0; size];
    // The default image comes first, also in an animated PNG. Missing rows are an error, never black.
    reader.next_frame(&mut data).map_err(malformed)?;
    reader.finish().map_err(malformed)?;
    Ok(Rgb8 { width, height, data })
}

fn wrong_mode(found: &str, name: &str) -> Problem {
    Problem::new("image_mode", format!("{found}, expected 8-bit RGB"))
        .at(name)
        .hint("Save 8-bit RGB, e.g. with Pillow: Image.fromarray(pixels).convert(\"RGB\").save(name).")
}

/// What the bytes are, judged by their first ones, as the end of a sentence.
fn sniff(bytes: &[u8]) -> &'static str {
    let text = bytes.trim_ascii_start();
    match bytes {
        [] => " but empty",
        [0xff, 0xd8, 0xff, ..] => " but a JPEG",
        [b'B', b'M', ..] => " but a BMP",
        [b'G', b'I', b'F', b'8', ..] => " but a GIF",
        [b'R', b'I', b'F', b'F', ..] => " but a WebP",
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => " but a TIFF",
        _ if text.starts_with(b"<") => " but a text file (SVG, XML or HTML)",
        _ => "",
    }
}
