//! What is wrong with an input, in the one shape that pages, API and command line show.

mod usual;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One fault found in what somebody gave us: final, shown to them, never retried.
///
/// Faults of our own are [`anyhow::Error`]s instead; they are logged, retried and said to be ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Stable, machine-readable, e.g. `zip_unsafe_path`. Codes never change their meaning.
    #[schema(value_type = String, example = "missing_image")]
    pub code: Cow<'static, str>,
    /// One sentence for a person, with the figures that matter.
    pub message: String,
    /// The file, image or node at fault.
    #[serde(rename = "where")]
    pub place: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// With the usual hint for its code, if it has one.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        let hint = usual::hint(code).map(str::to_owned);
        Problem { code: Cow::Borrowed(code), message: message.into(), place: None, hint }
    }

    /// Names the file, image or node at fault; untrusted names go through [`printable`].
    pub fn at(mut self, place: impl AsRef<str>) -> Self {
        self.place = Some(printable(place.as_ref()));
        self
    }

    /// A hint that is more exact than the usual one.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{}: {} [{}]", place, self.message, self.code),
            None => write!(f, "{} [{}]", self.message, self.code),
        }
    }
}

impl std::error::Error for Problem {}

/// An untrusted name made safe for a log line, a message or a page: what cannot be seen is shown, by its number or, at either
/// end, a blank as `␣`; cut to 80 characters.
pub fn printable(name: &str) -> String {
    const LIMIT: usize = 80;
    let inner = name.trim_start_matches(' ');
    let leading = name.len() - inner.len();
    let inner = inner.trim_end_matches(' ');
    let trailing = name.len() - inner.len() - leading;
    let shown = std::iter::repeat_n('␣', leading).chain(inner.chars()).chain(std::iter::repeat_n('␣', trailing));
    let mut out = String::new();
    for (i, c) in shown.enumerate() {
        if i == LIMIT {
            out.push('…');
            break;
        }
        if is_hidden(c) || is_invisible(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// A character that changes how others are shown, or ends a line.
pub fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A character of no width, or a blank that looks like another.
fn is_invisible(c: char) -> bool {
    let blank = c.is_whitespace() && !matches!(c, ' ' | '\u{3000}');
    blank || matches!(c, '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}')
}
