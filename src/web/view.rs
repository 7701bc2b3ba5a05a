//! Words and numbers as pages show them.

use chrono::{DateTime, SecondsFormat, Utc};

use super::{
    extract::Viewer,
    lang::{self, Lang, Say, Switch, say, t},
};

/// What every page's frame needs.
#[derive(Debug, Clone)]
pub struct Page {
    pub title: String,
    /// Who is signed in, where it is known.
    pub account: Option<String>,
    pub signed_in: bool,
    /// Whether to lead to the organizers' pages.
    pub organizer: bool,
    pub lang: Lang,
    /// The way to the same page in the other language, where there is one.
    pub switch: Option<Switch>,
}

impl Page {
    pub fn of(title: impl Into<String>, viewer: &Viewer) -> Page {
        let account = viewer.name();
        let signed_in = account.is_some();
        Page { account, organizer: viewer.is_organizer(), ..Page::plain(title, signed_in) }
    }

    /// Without asking the database who it is.
    pub fn plain(title: impl Into<String>, signed_in: bool) -> Page {
        Page {
            title: title.into(),
            account: None,
            signed_in,
            organizer: false,
            lang: Lang::now(),
            switch: lang::switch(),
        }
    }

    /// A text in the page's language.
    pub fn t(&self, english: &'static str) -> &'static str {
        t(english)
    }

    /// A text that values are put into.
    pub fn say(&self, english: &'static str) -> Say {
        say(english)
    }

    /// The texts of scripts as JSON, where they are not English.
    pub fn script_words(&self) -> Option<&'static str> {
        lang::script_words()
    }

    /// The pieces of a text between its values, which the template shows with markup of their own.
    pub fn parts(&self, english: &'static str) -> Vec<&'static str> {
        lang::parts(english)
    }
}

/// A time: in UTC for everybody, in the reader's zone where there is script.
#[derive(Debug, Clone)]
pub struct When {
    /// For `datetime`.
    pub iso: String,
    pub utc: String,
    /// `in 3 d 4 h`, `5 min ago`.
    pub relative: String,
}

impl When {
    pub fn new(at: DateTime<Utc>) -> When {
        When {
            iso: at.to_rfc3339_opts(SecondsFormat::Secs, true),
            utc: at.format("%Y-%m-%d %H:%M UTC").to_string(),
            relative: relative(at, Utc::now()),
        }
    }
}

fn relative(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let ahead = at > now;
    let seconds = (at - now).num_seconds().unsigned_abs();
    if seconds < 45 {
        return if ahead { t("in a moment") } else { t("just now") }.to_owned();
    }
    let words = if ahead { say("in %{span}") } else { say("%{span} ago") };
    words.with("span", span(seconds)).into()
}

/// `3 d 4 h`, `12 min`, `40 s`: the two largest units at most.
pub fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds.div_ceil(60), seconds / 3600, seconds / 86_400);
    let words = match seconds {
        0..60 => say("%{n} s").with("n", seconds),
        60..3600 => say("%{n} min").with("n", minutes),
        3600..86_400 if seconds % 3600 / 60 == 0 => say("%{n} h").with("n", hours),
        3600..86_400 => say("%{n} h %{m} min").with("n", hours).with("m", seconds % 3600 / 60),
        _ if days >= 14 || hours % 24 == 0 => say("%{n} d").with("n", days),
        _ => say("%{n} d %{m} h").with("n", days).with("m", hours % 24),
    };
    words.into()
}

/// `431 KiB`, `12.4 MiB`.
pub fn bytes(n: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    let shown = |unit: u64, name: &str| match n as f64 / unit as f64 {
        value if n.is_multiple_of(unit) || value >= 100.0 => format!("{value:.0} {name}"),
        value => format!("{value:.1} {name}"),
    };
    match n {
        0..KIB => format!("{n} B"),
        KIB..MIB => shown(KIB, "KiB"),
        MIB..GIB => shown(MIB, "MiB"),
        _ => shown(GIB, "GiB"),
    }
}

/// So many decimals, and more where they would show nothing of a small value: 0.000048, not 0.000.
pub fn fixed(value: f64, decimals: usize) -> String {
    let shown = format!("{value:.decimals$}");
    let lost = value != 0.0 && !shown.bytes().any(|b| matches!(b, b'1'..=b'9'));
    if lost && value.is_finite() {
        let leading = (-value.abs().log10().floor()).clamp(0.0, 12.0) as usize;
        format!("{value:.*}", leading + 1)
    } else {
        shown
    }
}

/// `1 517 571`, with narrow spaces that do not break.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// Markdown of organizers as HTML: no raw HTML, no addresses but web and mail.
pub fn markdown(source: &str) -> String {
    use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, html};
    let safe = |url: &CowStr<'_>| {
        let lower = url.trim().to_ascii_lowercase();
        let local = lower.starts_with('/') && !lower.starts_with("//") && !lower.contains('\\');
        local || ["https://", "http://", "mailto:"].iter().any(|scheme| lower.starts_with(scheme))
    };
    let events =
        Parser::new_ext(source, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH).map(|event| match event {
            Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
            Event::Start(Tag::Link { link_type, dest_url, title, id }) if !safe(&dest_url) => {
                Event::Start(Tag::Link { link_type, dest_url: "#".into(), title, id })
            }
            Event::Start(Tag::Image { link_type, title, id, .. }) => {
                Event::Start(Tag::Image { link_type, dest_url: "#".into(), title, id })
            }
            other => other,
        });
    let mut out = String::new();
    html::push_html(&mut out, events);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_what_matters() {
        assert_eq!(fixed(29.0, 2), "29.00");
        assert_eq!(fixed(0.000_048, 3), "0.000048");
        assert_eq!(fixed(0.0, 3), "0.000");
        assert_eq!(grouped(1_517_571), "1\u{202f}517\u{202f}571");
        assert_eq!(span(100_000), "1 d 3 h");
        assert_eq!([bytes(12_400_000), bytes(512 << 20), bytes(900)], ["11.8 MiB", "512 MiB", "900 B"]);
    }

    #[test]
    fn markdown_cannot_hold_script() {
        let html = markdown("# Hi\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1)) ![y](http://evil/p.png)");
        assert!(html.contains("<h1>Hi</h1>") && html.contains("&lt;script&gt;"));
        assert!(!html.contains("<script") && !html.contains("javascript:") && !html.contains("evil"));
    }
}
