//! English and Chinese: who is answered in which, and that nothing is left untranslated.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};

use crate::support::web::{Reply, Web, request};

async fn get(web: &Web, path: &str, headers: &[(header::HeaderName, &str)]) -> Reply {
    let mut head = request(Method::GET, path, None);
    for (name, value) in headers {
        head = head.header(name, *value);
    }
    web.send(head.body(Body::empty()).expect("a request")).await
}

const CHINESE: &str = "<html lang=\"zh-CN\">";
const ENGLISH: &str = "<html lang=\"en\">";

#[tokio::test]
async fn everybody_is_answered_in_their_language() {
    let web = Web::start().await;
    let accept = (header::ACCEPT_LANGUAGE, "zh-CN,zh;q=0.9,en;q=0.8");
    let cookie = (header::COOKIE, "lang=zh-CN");
    let plain = get(&web, "/signin", &[]).await;
    assert!(plain.text.contains(ENGLISH) && plain.text.contains("Sign in") && !plain.text.contains("登录"));
    let chinese = get(&web, "/signin", std::slice::from_ref(&accept)).await;
    assert!(chinese.text.contains(CHINESE) && chinese.text.contains("登录") && !chinese.text.contains("Sign in"));

    // What is asked for lasts, and is stronger than what the browser says.
    let asked = get(&web, "/signin?next=%2Fteam&lang=zh-CN", &[(header::ACCEPT_LANGUAGE, "en")]).await;
    assert!(asked.text.contains(CHINESE));
    assert!(asked.text.contains("name=\"next\" value=\"/team\""), "the rest of the address holds: {}", asked.text);
    assert!(asked.text.contains("href=\"?next=%2Fteam&#38;lang=en\""), "{}", asked.text);
    let set = asked.header("set-cookie");
    assert!(set.starts_with("lang=zh-CN;") && set.contains("SameSite=Lax") && set.contains("Max-Age="), "{set}");
    assert!(get(&web, "/", &[cookie.clone(), (header::ACCEPT_LANGUAGE, "en")]).await.text.contains(CHINESE));
    let back = get(&web, "/?lang=en", &[cookie.clone(), accept.clone()]).await;
    assert!(back.text.contains(ENGLISH) && back.header("set-cookie").starts_with("lang=en;"));
    let unknown = get(&web, "/?lang=tlh", std::slice::from_ref(&accept)).await;
    assert!(unknown.text.contains(CHINESE) && unknown.header("set-cookie").is_empty(), "a language that we lack");

    // A cache keeps the two apart.
    let varies = plain.headers.get_all(header::VARY);
    assert!(
        varies.iter().any(|by| by.to_str().is_ok_and(|by| by.contains("cookie") && by.contains("accept-language")))
    );
    let tag = (header::IF_NONE_MATCH, chinese.header("etag"));
    assert_eq!(get(&web, "/signin", &[accept.clone(), tag.clone()]).await.status, StatusCode::NOT_MODIFIED);
    assert_eq!(get(&web, "/signin", std::slice::from_ref(&tag)).await.status, StatusCode::OK);

    // Refusals too; a form's answer has no address of its own to switch on.
    let lost = get(&web, "/nowhere", std::slice::from_ref(&cookie)).await;
    assert!(lost.text.contains("此地址没有内容。") && lost.text.contains("not_found"), "{}", lost.text);
    let head = request(Method::POST, "/signin", None)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header("sec-fetch-site", "same-origin")
        .header(header::COOKIE, "lang=zh-CN");
    let refused = web.send(head.body(Body::from("name=nobody&password=nothing+at+all")).expect("a request")).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(refused.text.contains("没有与此用户名和密码匹配的账号。"), "{}", refused.text);
    assert!(!refused.text.contains("lang=en"), "{}", refused.text);
}

#[tokio::test]
async fn programs_and_organizers_are_answered_in_english() {
    let web = Web::start().await;
    let accept = (header::ACCEPT_LANGUAGE, "zh-CN");
    let lost = get(&web, "/api/v1/challenges/none", &[accept.clone(), (header::COOKIE, "lang=zh-CN")]).await;
    assert_eq!(lost.json()["error"]["message"], "There is no such challenge.");
    let asked = get(&web, "/api/v1/challenges/none?lang=zh-CN", &[]).await;
    assert_eq!(asked.json()["error"]["message"], "没有这个挑战赛。", "a page's script asks for its own language");
    assert_eq!(asked.code(), "challenge_not_found");
    let mut organizer = web.organizer().await;
    let head = request(Method::GET, "/organizer", None).header(header::ACCEPT_LANGUAGE, "zh-CN");
    let page = organizer.send_head(head, Body::empty()).await.text;
    assert!(page.contains(ENGLISH) && page.contains("Sign out") && !page.contains("hreflang"), "{page}");
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, ending, found);
            } else if path.extension().is_some_and(|e| e == ending) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), ending, &mut found);
    found
}

fn read(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a text");
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned()
}

/// The string that begins here, as the compiler reads it.
fn literal(source: &str) -> Option<String> {
    let mut letters = source.strip_prefix('"')?.chars().peekable();
    let mut text = String::new();
    loop {
        match letters.next()? {
            '"' => return Some(text),
            '\\' => match letters.next()? {
                '\n' => while letters.next_if(|c| c.is_whitespace()).is_some() {},
                'n' => text.push('\n'),
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
}

/// The strings right behind an opening, as `t("…")` behind `t(`; the letter before it is no part of a name.
fn behind(source: &str, opening: &str) -> Vec<String> {
    let whole = |at: usize| !source[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let found = source.match_indices(opening).filter(|(at, _)| whole(*at));
    found.filter_map(|(at, _)| literal(source[at + opening.len()..].trim_start())).collect()
}

/// A key or a format string with each of its values as one letter.
fn shape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before.strip_suffix('%').unwrap_or(before));
        out.push('\u{1}');
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    out + rest
}

/// The values of a text, in the order of their names.
fn values(text: &str) -> Vec<&str> {
    let mut names: Vec<&str> = text.split("%{").skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect();
    names.sort();
    names
}

/// What `locales/zh-CN.po` says of pages, and of sentences that are finished in English.
fn translations() -> [BTreeMap<String, String>; 2] {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("locales/zh-CN.po");
    let catalog = polib::po_file::parse(&path).expect("a catalog");
    let mut found = [BTreeMap::new(), BTreeMap::new()];
    for message in catalog.messages() {
        assert!(!message.is_fuzzy(), "{}", message.msgid());
        let of = &mut found[usize::from(message.msgctxt() == Some("told"))];
        of.insert(message.msgid().to_owned(), message.msgstr().expect("one form").to_owned());
    }
    found
}

/// Every text that a page asks for by its English words, and the file that does.
fn asked_for() -> BTreeMap<String, String> {
    let mut asked = BTreeMap::new();
    for path in files("templates", "html").iter().chain(&files("src/web", "rs")) {
        let source = read(path);
        for opening in ["t(", "say(", "parts("] {
            for text in behind(&source, opening) {
                asked.insert(text, path.display().to_string());
            }
        }
    }
    asked
}

#[test]
fn every_text_of_a_page_is_translated() {
    let [pages, told] = translations();
    let asked = asked_for();
    assert!(asked.len() > 100, "{}", asked.len());
    let missing: Vec<_> = asked.iter().filter(|(text, _)| !pages.contains_key(*text)).collect();
    assert!(missing.is_empty(), "not in locales/zh-CN.po: {missing:#?}");
    let left: Vec<_> = pages.keys().filter(|text| !asked.contains_key(*text)).collect();
    assert!(left.is_empty(), "no page says: {left:#?}");
    for (english, chinese) in pages.iter().chain(&told) {
        assert_eq!(values(english), values(chinese), "{english}");
        assert!(!chinese.trim().is_empty(), "{english}");
    }
}

/// Shapes of every string in the sources: with a capital and without a full stop, as an error's words become a sentence.
fn strings() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in files("src", "rs") {
        let source = read(&path);
        found.extend(
            source.match_indices('"').filter_map(|(at, _)| literal(&source[at..])).map(|text| plain(&shape(&text))),
        );
    }
    found
}

fn plain(text: &str) -> String {
    text.trim_end_matches('.').to_lowercase()
}

#[test]
fn every_sentence_that_is_told_is_one_that_somebody_says() {
    let [_, told] = translations();
    let said = strings();
    let left: Vec<_> = told.keys().filter(|text| !said.contains(&plain(&shape(text)))).collect();
    assert!(left.is_empty(), "nobody says: {left:#?}");
}
