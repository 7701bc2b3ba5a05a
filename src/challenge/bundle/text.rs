//! Texts of a bundle in whatever encoding they were saved: read for certain, or refused, so that no page has `���`.

use chardetng::EncodingDetector;
use encoding_rs::{BIG5, EUC_KR, Encoding, GB18030, SHIFT_JIS, UTF_16BE, UTF_16LE};

/// The text, and the name of its encoding where that is not UTF-8; `None`: it is in none that is known.
pub fn decode(bytes: &[u8]) -> Option<(String, Option<&'static str>)> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return strictly(encoding, &bytes[mark..]);
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.contains('\0')
    {
        return Some((text.to_owned(), None));
    }
    // Of UTF-16 without a mark, every other byte of plain letters is 0.
    let zeros = |odd: usize| bytes.iter().skip(odd).step_by(2).filter(|b| **b == 0).count() * 2;
    if bytes.len().is_multiple_of(2) && bytes.contains(&0) {
        let (even, odd) = (zeros(0), zeros(1));
        return strictly(if odd > even { UTF_16LE } else { UTF_16BE }, bytes);
    }
    let mut detector = EncodingDetector::new();
    detector.feed(bytes, true);
    let guess = detector.guess(None, false);
    let others = [GB18030, SHIFT_JIS, BIG5, EUC_KR];
    std::iter::once(guess).chain(others).find_map(|encoding| strictly(encoding, bytes))
}

/// The text, where every byte of it means something.
fn strictly(encoding: &'static Encoding, bytes: &[u8]) -> Option<(String, Option<&'static str>)> {
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
    let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}');
    let name = (encoding != encoding_rs::UTF_8).then(|| encoding.name());
    (!text.contains(odd)).then(|| (text.into_owned(), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_in_the_encoding_they_were_saved_in() {
        let words = "title: 高效超分辨率挑战赛\ndescription: 请在截止时间之前提交您的结果，并附上模型。\n";
        let japanese = "title: 効率的な超解像チャレンジ\ndescription: 締め切りまでに結果とモデルを提出してください。\n";
        let (gbk, _, _) = GB18030.encode(words);
        let (sjis, _, _) = SHIFT_JIS.encode(japanese);
        let utf16: Vec<u8> = words.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let marked = [b"\xff\xfe".as_slice(), &utf16].concat();
        for (bytes, expected, name) in [
            (words.as_bytes().to_vec(), words, None),
            ([b"\xef\xbb\xbf", words.as_bytes()].concat(), words, None),
            (gbk.into_owned(), words, Some("GBK")),
            (sjis.into_owned(), japanese, Some("Shift_JIS")),
            (marked, words, Some("UTF-16LE")),
            (utf16, words, Some("UTF-16LE")),
            (b"caf\xe9, d\xe9j\xe0 vu".to_vec(), "café, déjà vu", Some("windows-1252")),
        ] {
            assert_eq!(decode(&bytes), Some((expected.to_owned(), name)));
        }
        assert_eq!(decode(b"\x89PNG\r\n\x1a\n\0\x01\x02"), None);
    }
}
