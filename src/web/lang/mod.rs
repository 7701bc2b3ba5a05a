//! The language of an answer: English, or simplified Chinese on the pages of visitors and participants.
//!
//! ```text
//! choose   ?lang=, else the cookie, else Accept-Language; the organizers' pages and the API are English
//!   words    t, say, parts: a text of a page, by its English words as the key, out of `locales/`
//!   told     a sentence that was finished in English elsewhere (a problem in a row, a reason), found again by its pattern
//! ```
//!
//! The choice belongs to the request's task, so that no function needs to be handed it. What runs outside of that task, as a
//! stream does, is told it by [`Lang::scoped`].

mod told;
mod words;

use std::{fmt, str::FromStr};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Uri, header, uri::PathAndQuery},
    middleware::Next,
    response::{IntoResponse, Response},
};
use axum_extra::extract::{
    CookieJar,
    cookie::{Cookie, SameSite},
};

use super::App;
pub use told::told;
pub use words::{Say, parts, say, script_words, t};

/// Holds the visitor's choice; it tells nobody apart.
const COOKIE: &str = "lang";
/// Days that it is kept.
const KEPT: i64 = 365;

tokio::task_local! {
    static NOW: Asked;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Lang {
    #[default]
    English,
    /// In simplified characters.
    Chinese,
}

/// What a page needs to know of its request.
#[derive(Debug, Clone)]
struct Asked {
    lang: Lang,
    switch: Option<Switch>,
}

/// The same page in each language: addresses relative to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    pub english: String,
    pub chinese: String,
}

impl Lang {
    /// Of the request that is being answered; English outside of any.
    pub fn now() -> Lang {
        NOW.try_with(|asked| asked.lang).unwrap_or_default()
    }

    /// Runs something in this language, outside of the request's task.
    pub fn scoped<T>(self, run: impl FnOnce() -> T) -> T {
        NOW.sync_scope(Asked { lang: self, switch: None }, run)
    }

    /// As in `<html lang>`.
    pub fn tag(self) -> &'static str {
        match self {
            Lang::English => "en",
            Lang::Chinese => "zh-CN",
        }
    }

    pub fn is_chinese(self) -> bool {
        self == Lang::Chinese
    }
}

impl fmt::Display for Lang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

impl FromStr for Lang {
    type Err = ();

    /// Any Chinese is nearer to simplified Chinese than English is.
    fn from_str(tag: &str) -> Result<Lang, ()> {
        match tag.split('-').next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "en" => Ok(Lang::English),
            "zh" => Ok(Lang::Chinese),
            _ => Err(()),
        }
    }
}

/// The way to the same page in the other language; none where a page is in one language only, or answers a form.
pub fn switch() -> Option<Switch> {
    NOW.try_with(|asked| asked.switch.clone()).ok().flatten()
}

/// Answers in the language that the visitor wants. `?lang=` is taken off the address: no handler knows it.
pub async fn choose(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let wanted = take_wanted(request.uri_mut());
    let place = Place::of(request.uri().path());
    let lang = match place {
        Place::Organizer | Place::File => Lang::English,
        Place::Api => wanted.unwrap_or_default(),
        Place::Page => {
            wanted.or_else(|| kept(request.headers())).or_else(|| accepted(request.headers())).unwrap_or_default()
        }
    };
    let switch = (place == Place::Page && request.method().is_safe()).then(|| Switch::of(request.uri()));
    let answer = NOW.scope(Asked { lang, switch }, next.run(request)).await;
    match wanted {
        Some(lang) if place == Place::Page => {
            let cookie = Cookie::build((COOKIE, lang.tag()))
                .path("/")
                .http_only(true)
                .same_site(SameSite::Lax)
                .secure(app.settings.secure())
                .max_age(time::Duration::days(KEPT));
            (CookieJar::new().add(cookie), answer).into_response()
        }
        _ => answer,
    }
}

/// What decides the language beside the visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// English only.
    Organizer,
    /// English but for who asks for another: programs read it, and pages' scripts.
    Api,
    /// A picture or a feed, English: it is made once, and for everybody.
    File,
    Page,
}

impl Place {
    fn of(path: &str) -> Place {
        let below = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if below("/organizer") {
            Place::Organizer
        } else if below("/api") && path != "/api/docs" {
            Place::Api
        } else if [".svg", ".png", ".atom", ".zip"].iter().any(|ending| path.ends_with(ending)) {
            Place::File
        } else {
            Place::Page
        }
    }
}

/// The language that the query names. The name is gone from the address then; a language that we do not have counts as none.
fn take_wanted(uri: &mut Uri) -> Option<Lang> {
    let query = uri.query()?;
    let (named, others): (Vec<&str>, Vec<&str>) = query.split('&').partition(|pair| pair.starts_with("lang="));
    let wanted = named.last()?.strip_prefix("lang=")?.parse().ok();
    let path = uri.path();
    let rest = if others.is_empty() { path.to_owned() } else { format!("{path}?{}", others.join("&")) };
    let mut parts = uri.clone().into_parts();
    // A part of an address that was one stays one; if not, the handler sees it as it came.
    if let Ok(rest) = rest.parse::<PathAndQuery>() {
        parts.path_and_query = Some(rest);
        if let Ok(without) = Uri::from_parts(parts) {
            *uri = without;
        }
    }
    wanted
}

fn kept(headers: &HeaderMap) -> Option<Lang> {
    CookieJar::from_headers(headers).get(COOKIE)?.value().parse().ok()
}

/// Of the languages that a browser accepts and that we have, the one it likes best; of two the first.
fn accepted(headers: &HeaderMap) -> Option<Lang> {
    let mut best: Option<(f32, Lang)> = None;
    let words = headers.get_all(header::ACCEPT_LANGUAGE).iter().filter_map(|value| value.to_str().ok());
    for range in words.flat_map(|value| value.split(',')) {
        let mut fields = range.split(';').map(str::trim);
        let Ok(lang) = fields.next().unwrap_or_default().parse::<Lang>() else { continue };
        let weight = fields.find_map(|field| field.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(0.0));
        if weight > best.map_or(0.0, |(most, _)| most) {
            best = Some((weight, lang));
        }
    }
    best.map(|(_, lang)| lang)
}

impl Switch {
    fn of(uri: &Uri) -> Switch {
        // Relative to the page, so that no path can make it lead elsewhere.
        let to = |lang: Lang| match uri.query() {
            Some(query) if !query.is_empty() => format!("?{query}&lang={lang}"),
            _ => format!("?lang={lang}"),
        };
        Switch { english: to(Lang::English), chinese: to(Lang::Chinese) }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_browser_is_answered_in_what_it_likes_best() {
        let of = |words: &'static str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, HeaderValue::from_static(words))]);
            accepted(&headers)
        };
        use Lang::{Chinese, English};
        assert_eq!(of("zh-CN,zh;q=0.9,en;q=0.8"), Some(Chinese));
        assert_eq!(of("en-GB,en;q=0.9,zh;q=0.8"), Some(English));
        assert_eq!(of("de, zh-TW;q=0.7, en;q=0.5"), Some(Chinese), "it reads more of it than of English");
        assert_eq!(of("zh-Hans;q=0.3, en;q=0.4"), Some(English));
        assert_eq!(of("zh;q=0, en;q=0.1"), Some(English), "0 is: not this one");
        assert_eq!(of("zh;q=much"), None);
        assert_eq!(of("de, *;q=0.5"), None);
    }

    #[test]
    fn the_address_is_kept_without_the_language() {
        let mut uri: Uri = "/challenges/a/b?track=x&lang=zh-CN&cost=params".parse().expect("an address");
        assert_eq!(take_wanted(&mut uri), Some(Lang::Chinese));
        assert_eq!(uri, "/challenges/a/b?track=x&cost=params");
        assert_eq!(Switch::of(&uri).english, "?track=x&cost=params&lang=en");
        let mut uri: Uri = "/?lang=tlh".parse().expect("an address");
        assert_eq!((take_wanted(&mut uri), uri.to_string().as_str()), (None, "/"));
        let mut uri: Uri = "/?language=en".parse().expect("an address");
        assert_eq!((take_wanted(&mut uri), uri.to_string().as_str()), (None, "/?language=en"));
    }

    #[test]
    fn who_decides_where() {
        assert_eq!(Place::of("/organizer/a/review"), Place::Organizer);
        assert_eq!(Place::of("/organizers"), Place::Page);
        assert_eq!(Place::of("/api/v1/challenges"), Place::Api);
        assert_eq!(Place::of("/challenges/api"), Place::Page);
        assert_eq!(Place::of("/api/docs"), Place::Page);
        assert_eq!(Place::of("/challenges/a/b/feed.atom"), Place::File);
    }
}
