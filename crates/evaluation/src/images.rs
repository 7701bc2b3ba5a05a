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

use crate::{problem::Problem, sniff};

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
/// The signature as programs leave it that take the file for text: it was made so that one sees it.
const MANGLED: [&[u8]; 6] =
    [b"\x89PNG\n", b"\x89PNG\r\r\n", b"\x89PNG\r\n\x1a\r\n", b"\xef\xbf\xbdPNG", b"\xc2\x89PNG", b"\tPNG\r\n"];

/// What the IHDR chunk says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PngHeader {
    pub width: u32,
    pub height: u32,
    /// Bits a sample: 1, 2, 4, 8 or 16.
    pub depth: u8,
    /// The PNG colour type: 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGB with alpha.
    pub color_type: u8,
    /// In seven passes (Adam7).
    pub interlaced: bool,
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
    if MANGLED.iter().any(|start| bytes.starts_with(start)) {
        return Err(malformed(sniff::AS_TEXT.into()).hint(sniff::AS_TEXT_ADVICE));
    }
    if !bytes.starts_with(&SIGNATURE) {
        let what =
            sniff::kind(bytes).map_or("not a PNG image".into(), |kind| format!("{}, not a PNG image", kind.words));
        return Err(malformed(what).hint("Save the image as an 8-bit RGB PNG."));
    }
    let Some(header) = bytes.get(8..PNG_HEADER_LEN) else {
        return Err(malformed("the PNG is cut short within its header".into()));
    };
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if header[4..8] == *b"CgBI" {
        let problem = malformed("an image packed for iPhones (CgBI), which no other reader takes".into());
        return Err(problem.hint("Save the image as an 8-bit RGB PNG."));
    }
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
    let [depth, color_type, compression, filter, interlace] = [16, 17, 18, 19, 20].map(|at| header[at]);
    let possible: &[u8] = match color_type {
        0 => &[1, 2, 4, 8, 16],
        3 => &[1, 2, 4, 8],
        2 | 4 | 6 => &[8, 16],
        _ => &[],
    };
    if !possible.contains(&depth) {
        return Err(malformed(format!(
            "the PNG's header says {depth} bits and colour type {color_type}, which no PNG has"
        )));
    }
    if compression != 0 || filter != 0 || interlace > 1 {
        let found = format!("{compression}, {filter} and {interlace}");
        return Err(malformed(format!(
            "the PNG's header says compression, filter and interlace {found}, which no PNG has"
        )));
    }
    Ok(PngHeader { width, height, depth, color_type, interlaced: interlace == 1 })
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
    decode_checked(bytes, &header, name)
}

/// Like [`decode_png`], for an image that must have the size `expected` (width, height): any other is refused by its
/// header, before anything is allocated.
pub fn decode_png_sized(bytes: &[u8], name: &str, expected: (u32, u32)) -> Result<Rgb8, Problem> {
    let header = png_header(bytes, name)?;
    header.require_size(expected, name)?;
    header.require_rgb8(name)?;
    decode_checked(bytes, &header, name)
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
fn decode_checked(bytes: &[u8], header: &PngHeader, name: &str) -> Result<Rgb8, Problem> {
    // The decoder's own words are its types; whatever it refuses is looked at again.
    let malformed = |_| match sniff::changed_as_text(bytes) {
        true => Problem::new("png_malformed", sniff::AS_TEXT).at(name).hint(sniff::AS_TEXT_ADVICE),
        false => Problem::new("png_malformed", format!("damaged PNG: {}", fault(bytes, header))).at(name),
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

/// What is wrong with a PNG of 8-bit RGB that cannot be decoded, in words.
fn fault(bytes: &[u8], header: &PngHeader) -> String {
    let mut packed = Vec::new();
    let mut at = SIGNATURE.len();
    loop {
        let Some(head) = bytes.get(at..at + 8) else {
            return match packed.is_empty() {
                true => "it has no image data".into(),
                false => "the file ends without its IEND chunk".into(),
            };
        };
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let name = &head[4..];
        if !name.iter().all(u8::is_ascii_alphabetic) {
            return format!("bytes are missing or added before byte {at}");
        }
        let shown = String::from_utf8_lossy(name);
        let Some(chunk) = bytes.get(at + 4..).and_then(|rest| rest.get(..length.checked_add(8)?)) else {
            return match name == b"IDAT" {
                true => "image data ends too early".into(),
                false => format!("the file ends within its {shown} chunk"),
            };
        };
        let (content, sum) = chunk.split_at(length + 4);
        let mut crc = flate2::Crc::new();
        crc.update(content);
        if sum != crc.sum().to_be_bytes() {
            return format!("the checksum (CRC) of its {shown} chunk is wrong");
        }
        match name {
            b"IDAT" => packed.extend_from_slice(&content[4..]),
            b"IEND" => break,
            b"IHDR" | b"PLTE" => {}
            // A capital says that a reader must understand it.
            _ if name[0].is_ascii_uppercase() => return format!("it has a {shown} chunk, which no PNG reader knows"),
            _ => {}
        }
        at += length + 12;
    }
    if packed.is_empty() {
        return "it has no image data".into();
    }
    image_data(&packed, header)
}

/// What is wrong with the packed image data, when its chunks are whole.
fn image_data(packed: &[u8], header: &PngHeader) -> String {
    let wanted: u64 = passes(header).map(|(width, height)| height * (3 * width + 1)).sum();
    let unpack = |from: &mut dyn Read| {
        let mut rows = Vec::new();
        from.take(wanted + 1).read_to_end(&mut rows).map(|_| rows)
    };
    let rows = match unpack(&mut flate2::read::ZlibDecoder::new(packed)) {
        Ok(rows) => rows,
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return "image data ends too early".into(),
        Err(_) => {
            let bare = unpack(&mut flate2::read::DeflateDecoder::new(packed.get(2..).unwrap_or_default()));
            return match bare.is_ok_and(|rows| rows.len() as u64 == wanted) {
                true => "the checksum (Adler-32) of its image data is wrong".into(),
                false => "its image data cannot be unpacked".into(),
            };
        }
    };
    if (rows.len() as u64) < wanted {
        return "image data ends too early".into();
    }
    if rows.len() as u64 > wanted {
        return "it has more image data than pixels".into();
    }
    let mut rest = rows.as_slice();
    for (width, height) in passes(header) {
        for _ in 0..height {
            let (row, behind) = rest.split_at((3 * width + 1) as usize);
            if row[0] > 4 {
                return format!("a row has the filter {}, and PNG knows 0 to 4", row[0]);
            }
            rest = behind;
        }
    }
    "its chunks are not in the order of a PNG".into()
}

/// Width and height of each pass of an 8-bit RGB image that is not empty.
fn passes(header: &PngHeader) -> impl Iterator<Item = (u64, u64)> {
    const ADAM7: [[u32; 4]; 7] =
        [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];
    let whole = [[0, 0, 1, 1]];
    let (width, height) = (header.width, header.height);
    let all: Vec<[u32; 4]> = if header.interlaced { ADAM7.to_vec() } else { whole.to_vec() };
    let side = |size: u32, from: u32, step: u32| u64::from(size.saturating_sub(from).div_ceil(step));
    all.into_iter()
        .map(move |[x, y, dx, dy]| (side(width, x, dx), side(height, y, dy)))
        .filter(|&(width, height)| width > 0 && height > 0)
}
