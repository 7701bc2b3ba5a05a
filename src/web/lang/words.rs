//! Texts of pages. The English text is the key, so that a template can be read; `locales/zh-CN.po` has the Chinese, in
//! gettext's form, which translators' tools read. A value is named as `%{team}`. Tests see to it that no text is missing and none is left over.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::LazyLock,
};

use polib::po_file;

use super::Lang;

/// Built in, so that the program needs no file beside it.
const FILE: &str = include_str!("../../../locales/zh-CN.po");
/// The context of sentences that are finished in English.
const TOLD: &str = "told";
/// The context of what the scripts in `static/` say.
const SCRIPT: &str = "script";

/// English to Chinese.
pub(super) type Texts = HashMap<&'static str, &'static str>;

/// What stands on pages is not found by pattern, as sentences are that were finished in English.
struct Chinese {
    pages: Texts,
    sentences: Texts,
    /// JSON.
    scripts: String,
}

static CHINESE: LazyLock<Chinese> = LazyLock::new(|| {
    let (mut pages, mut sentences, mut scripts) = (Texts::new(), Texts::new(), BTreeMap::new());
    // A file that cannot be read, which a test rules out, leaves the pages English.
    let catalog = po_file::parse_from_reader(FILE.as_bytes()).inspect_err(|error| {
        tracing::error!(%error, "the Chinese texts cannot be read");
    });
    for message in catalog.iter().flat_map(|catalog| catalog.messages()) {
        let Ok(chinese) = message.msgstr() else { continue };
        // They are there as long as the program runs.
        let [english, chinese]: [&'static str; 2] =
            [message.msgid(), chinese].map(|text| text.to_owned().leak() as &str);
        match message.msgctxt() {
            Some(TOLD) => sentences.insert(english, chinese),
            Some(SCRIPT) => scripts.insert(english, chinese),
            _ => pages.insert(english, chinese),
        };
    }
    Chinese { pages, sentences, scripts: serde_json::json!(scripts).to_string() }
});

/// The sentences that are finished in English.
pub(super) fn sentences() -> &'static Texts {
    &CHINESE.sentences
}

/// A text in the asker's language.
pub fn t(english: &'static str) -> &'static str {
    match Lang::now() {
        Lang::English => english,
        Lang::Chinese => CHINESE.pages.get(english).copied().unwrap_or(english),
    }
}

/// What scripts say, as JSON from their English; none where that is the page's language.
pub fn script_words() -> Option<&'static str> {
    Lang::now().is_chinese().then_some(CHINESE.scripts.as_str())
}

/// A text with values in it.
pub fn say(english: &'static str) -> Say {
    Say { text: t(english), values: Vec::new() }
}

/// The pieces of a text between its values, which have markup around them: one piece more than values.
pub fn parts(english: &'static str) -> Vec<&'static str> {
    pieces(t(english)).map(|(text, _)| text).collect()
}

/// A text whose values are still coming.
#[derive(Debug, Clone)]
pub struct Say {
    text: &'static str,
    values: Vec<(&'static str, String)>,
}

impl Say {
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Say {
        self.values.push((name, value.to_string()));
        self
    }
}

impl fmt::Display for Say {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (text, name) in pieces(self.text) {
            f.write_str(text)?;
            let value = self.values.iter().find(|(known, _)| Some(*known) == name);
            f.write_str(value.map_or("", |(_, value)| value))?;
        }
        Ok(())
    }
}

impl From<Say> for String {
    fn from(say: Say) -> String {
        say.to_string()
    }
}

/// Each piece of a text with the name of the value after it; the last has none.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let here = rest.take()?;
        let Some((before, after)) = here.split_once("%{") else { return Some((here, None)) };
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        rest = Some(after);
        Some((before, Some(name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_the_language_wants_them() {
        let english = say("Sign in").to_string();
        assert_eq!((english.as_str(), Lang::Chinese.scoped(|| t("Sign in"))), ("Sign in", "登录"));
        let pair = Say { text: "%{b} before %{a}.", values: Vec::new() };
        assert_eq!(pair.with("a", "%{b}").with("b", 2).to_string(), "2 before %{b}.", "a value is no text");
        assert_eq!(pieces("a %{x} b %{y}").collect::<Vec<_>>(), [("a ", Some("x")), (" b ", Some("y")), ("", None)]);
        assert_eq!(t("Nobody wrote this down"), "Nobody wrote this down");
    }
}
