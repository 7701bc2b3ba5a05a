//! What a part of a form is called: `Content-Disposition` as browsers, curl and libraries write it.
//!
//! Names are quoted or plain, in UTF-8; a file's may also be an extended one (`filename*=utf-8''%C3%A9.onnx`, RFC 8187), which
//! then counts. The reader of multipart forms that we use knows no extended names and takes such a file for a text.

use axum::{
    extract::multipart::Field,
    http::{HeaderMap, header},
};
use percent_encoding::percent_decode;

use super::Error;
use crate::problem::Problem;

/// How a part is called, and its file where it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disposition {
    pub name: String,
    /// Empty where a browser sends a file that was not chosen.
    pub file_name: Option<String>,
}

impl Disposition {
    /// Of a part; a name that is missing or cannot be read is an error.
    pub fn of(field: &Field<'_>) -> Result<Disposition, Error> {
        Disposition::read(field.headers()).map_err(Error::BadUpload)
    }

    fn read(headers: &HeaderMap) -> Result<Disposition, Problem> {
        let Some(value) = headers.get(header::CONTENT_DISPOSITION) else { return Err(nameless()) };
        let parameters = parameters(value.as_bytes()).ok_or_else(unreadable)?;
        let one = |key: &str| -> Result<Option<&[u8]>, Problem> {
            let mut values = parameters.iter().filter(|(known, _)| known == key).map(|(_, value)| &**value);
            let first = values.next();
            // Which of two was meant nobody knows.
            if values.next().is_some() { Err(unreadable()) } else { Ok(first) }
        };
        let either = |key: &str| -> Result<Option<String>, Problem> {
            let plain = one(key)?.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            match one(&format!("{key}*"))? {
                None => Ok(plain),
                // One that cannot be read is as good as none, where another stands beside it (RFC 6266, 4.3).
                Some(bytes) => extended(bytes).or(plain).map(Some).ok_or_else(unreadable),
            }
        };
        let name = either("name")?.filter(|name| !name.is_empty()).ok_or_else(nameless)?;
        Ok(Disposition { name, file_name: either("filename")? })
    }
}

fn nameless() -> Problem {
    Problem::new("bad_form", "A part of the form has no name.")
        .hint("Each part says `Content-Disposition: form-data; name=\"…\"`.")
}

fn unreadable() -> Problem {
    Problem::new("bad_form", "The name of a part of the form cannot be read.")
        .hint("Write names in quotes and UTF-8, once each: `filename=\"model.onnx\"`.")
}

/// The parameters behind `form-data`, their names in lower case. `None`: a quote is not closed, or a parameter has no value.
fn parameters(value: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut all = Vec::new();
    let mut rest = &value[value.iter().position(|b| *b == b';').unwrap_or(value.len())..];
    loop {
        rest = rest.trim_ascii_start();
        let Some(after) = rest.strip_prefix(b";") else {
            return rest.is_empty().then_some(all);
        };
        rest = after.trim_ascii_start();
        // A semicolon at the end.
        if rest.is_empty() {
            return Some(all);
        }
        let equals = rest.iter().position(|b| *b == b'=')?;
        let key = String::from_utf8_lossy(rest[..equals].trim_ascii_end()).to_ascii_lowercase();
        rest = rest[equals + 1..].trim_ascii_start();
        let found = match rest.strip_prefix(b"\"") {
            Some(quoted) => {
                let (text, after) = unquoted(quoted)?;
                rest = after;
                text
            }
            None => {
                let end = rest.iter().position(|b| *b == b';').unwrap_or(rest.len());
                let text = rest[..end].trim_ascii_end().to_vec();
                rest = &rest[end..];
                text
            }
        };
        all.push((key, found));
    }
}

/// The text up to the quote that closes it, and what follows. Only a quote is escaped: some clients send a whole Windows path.
fn unquoted(quoted: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut text = Vec::new();
    let mut at = 0;
    loop {
        match (quoted.get(at)?, quoted.get(at + 1)) {
            (b'\\', Some(b'"')) => {
                text.push(b'"');
                at += 2;
            }
            (b'"', _) => return Some((text, &quoted[at + 1..])),
            (other, _) => {
                text.push(*other);
                at += 1;
            }
        }
    }
}

/// `utf-8'en'%E2%82%AC`: a charset, a language that does not matter, and bytes in percents.
fn extended(value: &[u8]) -> Option<String> {
    let mut parts = value.splitn(3, |b| *b == b'\'');
    let (charset, _language, bytes) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes: Vec<u8> = percent_decode(bytes).collect();
    match charset.to_ascii_lowercase().as_slice() {
        b"utf-8" => String::from_utf8(bytes).ok(),
        b"iso-8859-1" => Some(bytes.into_iter().map(char::from).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::Disposition;

    fn read(value: &[u8]) -> Option<(String, Option<String>)> {
        let value = HeaderValue::from_bytes(value).expect("a header's value");
        let found = Disposition::read(&HeaderMap::from_iter([(header::CONTENT_DISPOSITION, value)])).ok()?;
        Some((found.name, found.file_name))
    }

    #[test]
    fn names_are_read_as_clients_write_them() {
        let named = |name: &str, file: &str| Some((name.to_owned(), Some(file.to_owned())));
        for (value, expected) in [
            (r#"form-data; name="model"; filename="m.onnx""#, named("model", "m.onnx")),
            ("form-data;name=model ;FileName = m.onnx;", named("model", "m.onnx")),
            ("form-data; name=\"model\"; filename*=utf-8''m.onnx", named("model", "m.onnx")),
            ("form-data; filename*=UTF-8'de'%E7%BD%91%20a.onnx; name=\"model\"", named("model", "网 a.onnx")),
            (
                "form-data; name=\"model\"; filename=\"_.onnx\"; filename*=iso-8859-1''%E9.onnx",
                named("model", "é.onnx"),
            ),
            ("form-data; name=\"model\"; filename*=koi8-r''%C1; filename=\"a.onnx\"", named("model", "a.onnx")),
            // Neither a quote in a name nor a name in a value ends anything.
            (r#"form-data; filename="a; name=\"b\".onnx"; name="model""#, named("model", "a; name=\"b\".onnx")),
            (r#"form-data; name="model"; filename="C:\dir\m.onnx""#, named("model", "C:\\dir\\m.onnx")),
            ("form-data; name=\"model\"; filename=\"网.onnx\"", named("model", "网.onnx")),
            ("form-data; name=\"model\"; filename=\"\"", named("model", "")),
            ("form-data; name=\"method\"", Some(("method".to_owned(), None))),
        ] {
            assert_eq!(read(value.as_bytes()), expected, "{value}");
        }
        for bad in [
            "form-data",
            "form-data; name=\"\"",
            "form-data; filename=\"m.onnx\"",
            "form-data; name=\"model",
            "form-data; name",
            "form-data; name=\"model\"; filename*=m.onnx",
            "form-data; name=\"model\"; filename*=utf-8''%FF",
            "form-data; name=\"model\"; filename=\"a\"; filename=\"b\"",
            "form-data; name=\"model\" filename=\"b\"",
        ] {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
    }
}
