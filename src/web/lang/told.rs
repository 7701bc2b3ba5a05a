//! Sentences that were finished in English below the web, and lie so in rows, logs and JSON: a problem of a file, the reason
//! why an entry is not ranked. Their Chinese is found by their pattern: a key with `%{value}` in it matches any value there.

use std::{borrow::Cow, sync::LazyLock};

use super::{
    Lang,
    words::{pieces, sentences},
};

/// A sentence about a value may hold a sentence, which may hold another; no deeper.
const DEPTH: usize = 3;
/// Bytes: a sentence with several values that is longer stays English.
const LONG: usize = 500;

/// A key with values, and what it becomes.
struct Pattern {
    /// The pieces of the English text between its values.
    pieces: Vec<&'static str>,
    names: Vec<&'static str>,
    chinese: &'static str,
}

/// Those that say most of their own first: what fits several patterns is meant by the one with the fewest free places.
static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    let mut all: Vec<Pattern> = sentences()
        .iter()
        .map(|(english, chinese)| Pattern {
            pieces: pieces(english).map(|(text, _)| text).collect(),
            names: pieces(english).filter_map(|(_, name)| name).collect(),
            chinese,
        })
        .filter(|pattern| !pattern.names.is_empty())
        .collect();
    all.sort_by(|a, b| b.own().cmp(&a.own()).then_with(|| a.pieces.cmp(&b.pieces)));
    all
});

/// An English sentence in the asker's language; as it is where nobody wrote down how.
pub fn told(english: &str) -> Cow<'_, str> {
    match Lang::now() {
        Lang::English => Cow::Borrowed(english),
        Lang::Chinese => in_chinese(english, DEPTH),
    }
}

fn in_chinese(english: &str, depth: usize) -> Cow<'_, str> {
    if let Some(chinese) = sentences().get(english) {
        return Cow::Borrowed(chinese);
    }
    let Some(values) = depth.checked_sub(1) else { return Cow::Borrowed(english) };
    let found = PATTERNS.iter().find_map(|pattern| Some((pattern, fit(&pattern.pieces, english)?)));
    let Some((pattern, found)) = found else { return Cow::Borrowed(english) };
    let mut chinese = String::new();
    for (text, name) in pieces(pattern.chinese) {
        chinese.push_str(text);
        let at = pattern.names.iter().position(|known| Some(*known) == name);
        if let Some(value) = at.and_then(|at| found.get(at)) {
            // A single word is a name or a figure, and stays.
            let sentence = value.contains(' ');
            chinese.push_str(&if sentence { in_chinese(value, values) } else { Cow::Borrowed(*value) });
        }
    }
    Cow::Owned(chinese)
}

impl Pattern {
    /// Letters that are not values.
    fn own(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len()).sum()
    }
}

/// The values between the pieces of a pattern that a text is made of. Values are as short as the rest allows, and not empty
/// but at the end.
fn fit<'t>(pieces: &[&str], text: &'t str) -> Option<Vec<&'t str>> {
    // Trying takes long only where there is much to try.
    if pieces.len() > 3 && text.len() > LONG {
        return None;
    }
    let (first, rest) = pieces.split_first()?;
    between(rest, text.strip_prefix(first)?)
}

fn between<'t>(pieces: &[&str], text: &'t str) -> Option<Vec<&'t str>> {
    let Some((piece, rest)) = pieces.split_first() else { return text.is_empty().then(Vec::new) };
    if rest.is_empty() {
        let value = text.strip_suffix(piece)?;
        return (!value.is_empty() || piece.is_empty()).then(|| vec![value]);
    }
    for (at, _) in text.match_indices(piece).filter(|(at, _)| *at > 0) {
        if let Some(mut values) = between(rest, &text[at + piece.len()..]) {
            values.insert(0, &text[..at]);
            return Some(values);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_sentence_is_found_by_its_pattern() {
        assert_eq!(fit(&["The ", " of ", "."], "The size of x of y."), Some(vec!["size", "x of y"]));
        assert_eq!(fit(&["", " of ", " images"], "3 of 7 images"), Some(vec!["3", "7"]));
        assert_eq!(fit(&["", " of ", " images"], "3 of 7 pictures"), None);
        assert_eq!(fit(&["a ", "."], "a ."), None, "a value is not empty");
        assert_eq!(
            fit(&["not a PNG file", ""], "not a PNG file"),
            Some(vec![""]),
            "but what may be left out at the end"
        );
        let tell = |english: &'static str| Lang::Chinese.scoped(|| told(english).into_owned());
        assert_eq!(tell("There is no such phase."), "没有这个阶段。");
        assert_eq!(tell("This phase closed at 2026-01-02 03:04 UTC."), "本阶段已于 2026-01-02 03:04 UTC 结束。");
        assert_eq!(told("There is no such phase."), "There is no such phase.");
        assert_eq!(tell("Words of nobody."), "Words of nobody.");
        assert_eq!(tell("Your team has used 5 of its 5 evaluations of today."), "您的队伍已用完今日的评测次数：5/5。");
        let inner = "at an input of 8×9: stopped after 60 s";
        assert_eq!(tell(inner), "在 8×9 的 输入 上：在 60 秒后被终止", "a sentence in a sentence");
    }
}
