//! The `readme.txt` of a results zip, as CodaLab challenges ask for it: four lines with a colon, self-reported.
//!
//! Read as far as it can be read: no readme, however odd, fails a submission. Seen in the wild: byte-order marks, CRLF,
//! decimal commas, other words for the same label, missing spaces, descriptions of several lines, words after the digit.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a team says of its own results; absent where it does not, or not legibly.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Readme {
    /// Seconds an image.
    pub runtime_s: Option<f64>,
    pub device: Option<Device>,
    /// Whether images beyond the challenge's were trained on.
    pub extra_data: Option<bool>,
    pub description: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    Cpu,
    Gpu,
}

/// A readme to fill in: as it is, it says nothing.
pub const TEMPLATE: &str = "runtime per image [s] : \n\
    CPU[1] / GPU[0] : \n\
    Extra Data [1] / No Extra Data [0] : \n\
    Other description : \n";

/// Characters of a description that are kept.
const MAX_DESCRIPTION: usize = 2000;

impl Readme {
    pub fn parse(bytes: &[u8]) -> Readme {
        let text = decode(bytes);
        let mut readme = Readme::default();
        let mut description: Option<String> = None;
        for line in text.lines().map(str::trim) {
            let (label, value) = line.split_once([':', '：']).unwrap_or(("", line));
            let (label, value) = (label.trim().to_lowercase(), value.trim());
            if label.starts_with("runtime") {
                readme.runtime_s = seconds(&label, value);
            } else if label.contains("cpu") && label.contains("gpu") {
                readme.device = choice(value, "cpu", "gpu").map(|cpu| if cpu { Device::Cpu } else { Device::Gpu });
            } else if label.starts_with("extra data") || label.starts_with("extra_data") {
                readme.extra_data = choice(value, "yes", "no");
            } else if label.starts_with("other") || label.starts_with("description") {
                description = Some(value.to_owned());
            } else if let Some(text) = &mut description {
                // Whatever follows the label belongs to it, colons and all.
                text.push('\n');
                text.push_str(line);
            }
        }
        readme.description = description
            .map(|text| text.trim().chars().take(MAX_DESCRIPTION).collect::<String>())
            .filter(|text| !text.is_empty());
        readme
    }
}

/// UTF-8, UTF-16 with a byte-order mark (Windows Notepad), or whatever can be made of it.
fn decode(bytes: &[u8]) -> String {
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = rest.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// The time that `value` begins with; in milliseconds where it, or the label, says so. A fraction is not guessed at.
fn seconds(label: &str, value: &str) -> Option<f64> {
    let (number, rest) = number(value)?;
    let unit = rest.trim_start().to_lowercase();
    if unit.strip_prefix('/').is_some_and(|below| below.trim_start().starts_with(|c: char| c.is_ascii_digit())) {
        return None;
    }
    let in_ms = unit.starts_with("ms") || unit.starts_with("milli");
    let said_s = unit.starts_with('s');
    let scale = if in_ms || label.contains("[ms]") && !said_s { 1e-3 } else { 1.0 };
    Some(number * scale).filter(|s| *s >= 0.0)
}

/// The number that `value` begins with, and what follows; a comma may be its decimal point.
fn number(value: &str) -> Option<(f64, &str)> {
    let end = value.find(|c: char| !(c.is_ascii_digit() || ".,eE+-".contains(c))).unwrap_or(value.len());
    let digits = value[..end].trim_end_matches(['.', ',', 'e', 'E', '+', '-']).replace(',', ".");
    digits.parse().ok().filter(|n: &f64| n.is_finite()).map(|n| (n, &value[end..]))
}

/// 1 or `one`, 0 or `zero`; the digit decides where there is one.
fn choice(value: &str, one: &str, zero: &str) -> Option<bool> {
    let value = value.trim_start_matches(['[', '(']).to_lowercase();
    match value.chars().next()? {
        '1' => Some(true),
        '0' => Some(false),
        _ if value.starts_with(one) => Some(true),
        _ if value.starts_with(zero) => Some(false),
        _ => None,
    }
}
