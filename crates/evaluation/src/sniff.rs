//! What a file is, judged by its bytes: for whoever sent another one than was asked for.

/// What a file is, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// As in "a JPEG image".
    pub words: &'static str,
    /// What to do where that is more than to send another file.
    pub advice: Option<&'static str>,
}

/// Bytes that [`kind`] looks at, at most.
pub const HEAD: usize = 4096;

/// A file that went through a program that takes everything for text.
pub const AS_TEXT: &str = "the file was changed in transfer as if it were text";
pub const AS_TEXT_ADVICE: &str =
    "Send it in binary mode; in Git, *.png, *.zip and *.onnx are `binary` in .gitattributes.";

/// Line ends after which there is no chance left: in other files one of 256 follows a CR.
const LINE_ENDS: usize = 16;
/// A file without any CRLF is not unusual below this many bytes: one pair in 65,536 is expected.
const LONG: usize = 1 << 20;

/// By the first bytes of a file, [`HEAD`] or all of them; `None`: nothing that we know.
pub fn kind(head: &[u8]) -> Option<Kind> {
    let head = &head[..head.len().min(HEAD)];
    let plain = |words| Some(Kind { words, advice: None });
    let with = |words, advice| Some(Kind { words, advice: Some(advice) });
    match head {
        [] => plain("an empty file"),
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => plain("a zip archive"),
        [0x1f, 0x8b, ..] => with("a gzip file", "Unpack it with gunzip or tar -xzf and send what was in it."),
        [b'7', b'z', 0xbc, 0xaf, ..] => plain("a 7z archive"),
        [b'R', b'a', b'r', b'!', ..] => plain("a RAR archive"),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => plain("a bzip2 file"),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => plain("an xz file"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => plain("a Zstandard file"),
        [b'M', b'S', b'C', b'F', ..] => plain("a Windows cabinet"),
        [0x89, b'P', b'N', b'G', ..] => plain("a PNG image"),
        [0x8a, b'M', b'N', b'G', ..] | [0x8b, b'J', b'N', b'G', ..] => plain("an MNG or JNG image"),
        [0xff, 0xd8, 0xff, ..] => plain("a JPEG image"),
        [b'G', b'I', b'F', b'8', ..] => plain("a GIF image"),
        [b'B', b'M', _, _, _, _, 0, 0, ..] => plain("a BMP image"),
        [b'R', b'I', b'F', b'F', ..] => plain("a WebP image"),
        [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] => plain("a TIFF image"),
        [0xff, 0x0a, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => plain("a JPEG XL image"),
        [0, 0, 0, 12, b'j', b'P', ..] => plain("a JPEG 2000 image"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', ..] => plain("an AVIF image"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'h' | b'm', ..] => plain("a HEIF image"),
        [b'8', b'B', b'P', b'S', ..] => plain("a Photoshop image"),
        [0x76, 0x2f, 0x31, 0x01, ..] => plain("an OpenEXR image"),
        [b'P', b'1'..=b'7', b'\n' | b' ' | b'\r', ..] => plain("a PNM image"),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => plain("a NumPy array"),
        [0x89, b'H', b'D', b'F', ..] => plain("an HDF5 file, as Keras writes it"),
        [0x80, 2..=5, ..] => plain("a Python pickle, as an old PyTorch checkpoint is"),
        [_, _, _, _, b'T', b'F', b'L', b'3', ..] => plain("a TensorFlow Lite model"),
        [_, _, _, _, b'O', b'R', b'T', b'M', ..] => {
            with("a model in ONNX Runtime's own format (.ort)", "Send the .onnx file that it was made from.")
        }
        [b'G', b'G', b'U', b'F', ..] => plain("a GGUF file"),
        [b'f', b't', b'r', b't', ..] | [b'p', b't', b'r', b't', ..] => plain("a TensorRT engine"),
        [b'%', b'P', b'D', b'F', ..] => plain("a PDF document"),
        [0x7f, b'E', b'L', b'F', ..] => plain("a program"),
        [b'M', b'Z', _, 0, ..] => plain("a program"),
        _ if head.get(257..262) == Some(b"ustar") => plain("a tar archive"),
        _ if head.len() >= 16 && head.iter().all(|&byte| byte == 0) => {
            with("a file of zeros", "It was copied without its content: send the original.")
        }
        _ if is_safetensors(head) => plain("a safetensors file"),
        _ if is_onnx(head) => with("an ONNX model", "Send the images' zip as results, and the .onnx file as model."),
        [8, 1, 0x12, ..] => plain("a TensorFlow SavedModel"),
        _ => text(head).or_else(|| {
            let operators = ["Placeholder", "Const", "VarHandleOp", "NoOp"];
            let graph = head[0] == 0x0a && operators.iter().any(|op| holds(head, op.as_bytes()));
            if graph { plain("a TensorFlow graph") } else { None }
        }),
    }
}

/// By the lines that a text begins with.
fn text(head: &[u8]) -> Option<Kind> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    // The last character may be cut.
    let read = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&head[..e.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    if read.is_empty() || read.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return None;
    }
    let begins = |words: &[&str]| {
        let text = read.trim_start();
        words.iter().any(|word| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)))
    };
    let (words, advice) = if begins(&["version https://git-lfs.github.com"]) {
        ("a Git LFS pointer", Some("Fetch the file itself with `git lfs pull` and send that."))
    } else if begins(&["<!doctype html", "<html", "<head", "<body"]) {
        ("a web page (HTML)", Some("The download gave an error or a sign-in page in its place: fetch the file again."))
    } else if begins(&["<svg"]) || begins(&["<?xml"]) && read.contains("<svg") {
        ("an SVG drawing", None)
    } else if begins(&["<"]) {
        ("an XML text", None)
    } else if begins(&["{", "["]) {
        ("a JSON text", None)
    } else if begins(&["ir_version", "opset_import", "producer_name", "graph {"]) {
        ("an ONNX model written as text", Some("Save it as binary, with onnx.save(model, \"model.onnx\")."))
    } else if begins(&["UEsDB", "iVBORw0KGgo", "data:"]) {
        ("a base64 text", Some("Decode it first, with base64 -d, and send the bytes."))
    } else {
        ("a text", None)
    };
    Some(Kind { words, advice })
}

/// The length of a JSON text, and the text.
fn is_safetensors(head: &[u8]) -> bool {
    let Some((length, rest)) = head.split_first_chunk() else { return false };
    (2..1 << 30).contains(&u64::from_le_bytes(*length)) && rest.first() == Some(&b'{')
}

/// The version of the format, then any other field of the model.
fn is_onnx(head: &[u8]) -> bool {
    matches!(head, [8, 3..=40, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42, ..])
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Whether a file that is no text was changed as one: every line end became a CRLF, none is left, or what is no UTF-8 was
/// replaced. Up to 1 MiB is looked at.
pub fn changed_as_text(bytes: &[u8]) -> bool {
    let bytes = &bytes[..bytes.len().min(LONG)];
    let ends = bytes.iter().filter(|&&byte| byte == b'\n').count();
    let pairs = bytes.windows(2).filter(|pair| pair == b"\r\n").count();
    let replaced = bytes.windows(3).filter(|three| *three == "\u{fffd}".as_bytes()).count();
    ends >= LINE_ENDS && (pairs == ends || bytes.len() >= LONG && pairs == 0) || replaced >= LINE_ENDS
}

#[cfg(test)]
mod tests {
    use super::{changed_as_text, kind};

    #[test]
    fn files_are_told_by_their_first_bytes() {
        let tar = [vec![b'x'; 257], b"ustar\0".to_vec()].concat();
        let tensors = [&30u64.to_le_bytes()[..], b"{\"w\":{}}"].concat();
        let cases: [(&[u8], &str); 22] = [
            (b"", "an empty file"),
            (b"\x1f\x8b\x08", "a gzip file"),
            (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
            (b"Rar!\x1a\x07", "a RAR archive"),
            (&tar, "a tar archive"),
            (b"\xff\xd8\xff\xe0", "a JPEG image"),
            (b"RIFF\x10\0\0\0WEBPVP8 ", "a WebP image"),
            (b"BM\x36\0\0\0\0\0", "a BMP image"),
            (b"II*\0", "a TIFF image"),
            (b"\0\0\0\x1cftypavif", "an AVIF image"),
            (b"\x80\x02\x8a\x0a", "a Python pickle, as an old PyTorch checkpoint is"),
            (&tensors, "a safetensors file"),
            (b"\x1c\0\0\0TFL3", "a TensorFlow Lite model"),
            (b"\x1c\0\0\0ORTM", "a model in ONNX Runtime's own format (.ort)"),
            (b"\x08\x01\x12\xff\x01", "a TensorFlow SavedModel"),
            (b"\x0a\x10\x0a\x01x\x12\x0bPlaceholder", "a TensorFlow graph"),
            (b"\x08\x08\x12\x07pytorch", "an ONNX model"),
            (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
            (b"\xef\xbb\xbf\n<!DOCTYPE html>", "a web page (HTML)"),
            (b"ir_version: 8\ngraph {", "an ONNX model written as text"),
            (b"UEsDBBQAAAAI", "a base64 text"),
            ("结果".as_bytes(), "a text"),
        ];
        for (bytes, words) in cases {
            assert_eq!(kind(bytes).map(|kind| kind.words), Some(words));
        }
        assert_eq!(kind(b"\x01\x02\x03\x04"), None);
    }

    #[test]
    fn files_that_were_taken_for_text_are_known() {
        let bytes: Vec<u8> = (0..1u32 << 17).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        assert!(!changed_as_text(&bytes));
        let longer: Vec<u8> =
            bytes.iter().flat_map(|&b| if b == b'\n' { vec![b'\r', b'\n'] } else { vec![b] }).collect();
        assert!(changed_as_text(&longer));
        assert!(changed_as_text(String::from_utf8_lossy(&bytes).as_bytes()));
    }
}
