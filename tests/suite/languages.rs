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

use upscore::{
    ids::{AccountId, SubmissionId, TeamId},
    team::token::Scope,
};

use crate::support::{
    app::Team,
    showcase,
    web::{Reply, Web, request},
};

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

/// Every source of ours.
fn sources() -> Vec<PathBuf> {
    [files("src", "rs"), files("crates", "rs")].concat()
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

/// The values of a text.
fn values(text: &str) -> Vec<&str> {
    text.split("%{").skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect()
}

/// What `locales/zh-CN.po` says, by the context: of pages, of scripts (`script`), of sentences that are finished in English
/// (`told`).
fn translations(context: &str) -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("locales/zh-CN.po");
    let catalog = polib::po_file::parse(&path).expect("a catalog");
    let of_it = catalog.messages().filter(|m| m.msgctxt().unwrap_or_default() == context);
    let found: BTreeMap<_, _> =
        of_it.map(|m| (m.msgid().to_owned(), m.msgstr().expect("one form").to_owned())).collect();
    for (english, chinese) in &found {
        let sorted = |text| {
            let mut values = values(text);
            values.sort();
            values
        };
        assert_eq!(sorted(english), sorted(chinese), "{english}");
        assert!(!chinese.trim().is_empty(), "{english}");
    }
    found
}

/// Every text that a page asks for by its English words, and the file that does.
fn asked_for(openings: &[&str]) -> BTreeMap<String, String> {
    let mut asked = BTreeMap::new();
    for path in files("templates", "html").iter().chain(&files("src/web", "rs")) {
        let source = read(path);
        for opening in openings {
            for text in behind(&source, opening) {
                asked.insert(text, path.display().to_string());
            }
        }
    }
    asked
}

fn agree(asked: &BTreeMap<String, String>, translated: &BTreeMap<String, String>) {
    let missing: Vec<_> = asked.iter().filter(|(text, _)| !translated.contains_key(*text)).collect();
    assert!(missing.is_empty(), "not in locales/zh-CN.po: {missing:#?}");
    let left: Vec<_> = translated.keys().filter(|text| !asked.contains_key(*text)).collect();
    assert!(left.is_empty(), "nobody says: {left:#?}");
}

#[test]
fn every_text_of_a_page_is_translated() {
    let (asked, pages) = (asked_for(&["t(", "say(", "parts("]), translations(""));
    assert!(asked.len() > 300, "{}", asked.len());
    agree(&asked, &pages);
    // A template shows the values itself, in the order of the English.
    for (text, path) in asked_for(&["parts("]) {
        assert_eq!(values(&text), values(&pages[&text]), "{path}: {text}");
    }
    let mut asked = BTreeMap::new();
    for path in files("static", "js") {
        asked.extend(behind(&read(&path), "say(").into_iter().map(|text| (text, path.display().to_string())));
    }
    agree(&asked, &translations("script"));
}

/// Scripts of organizers' pages, and those that we did not write.
const ENGLISH_SCRIPTS: [&str; 4] = ["send.js", "viewer.js", "tus.min.js", "d3-zoom.min.js"];

#[test]
fn scripts_show_no_words_but_through_say() {
    let ours = |path: &PathBuf| !ENGLISH_SCRIPTS.iter().any(|name| path.ends_with(name));
    let mut left = BTreeMap::new();
    for path in files("static", "js").into_iter().filter(ours) {
        let source = read(&path);
        for line in source.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for quote in ['"', '`'] {
                let pieces: Vec<&str> = line.split(quote).collect();
                for pair in pieces.chunks_exact(2).filter(|pair| !pair[0].ends_with("say(")) {
                    if pair[1].contains(' ') && pair[1] != "use strict" && is_english(pair[1]) {
                        left.insert(pair[1].to_owned(), path.display().to_string());
                    }
                }
            }
        }
    }
    assert!(left.is_empty(), "not through say(): {left:#?}");
}

/// With a capital and without a full stop, as an error's words become a sentence.
fn plain(text: &str) -> String {
    shape(text).trim_end_matches('.').to_lowercase()
}

#[test]
fn every_sentence_that_is_told_is_said_somewhere() {
    let mut said = BTreeSet::new();
    for path in sources().iter().chain(&files("migrations", "sql")) {
        // A quote in a string of SQL is written twice.
        let source = read(path).replace("''", "'");
        said.extend(source.match_indices('"').filter_map(|(at, _)| literal(&source[at..])).map(|text| plain(&text)));
    }
    let told = translations("told");
    let left: Vec<_> = told.keys().filter(|text| !said.contains(&plain(text))).collect();
    assert!(left.is_empty(), "nobody says: {left:#?}");
}

#[test]
fn every_problem_of_participants_is_told_in_chinese() {
    // What only organizers and the command line see.
    let others = [
        "cli",
        "demo",
        "challenge",
        "organizer",
        "codabench",
        "webhook",
        "record",
        "rerun",
        "rules",
        "publishing",
        "review",
        "filing",
        "editor",
        "settings",
        "datasets",
        "posted",
    ];
    let told: BTreeSet<String> = translations("told").keys().map(|text| plain(text)).collect();
    let mut missing = BTreeMap::new();
    let mut seen = 0;
    for path in sources() {
        let place = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("ours").with_extension("");
        if place.iter().any(|part| others.iter().any(|other| part == *other)) {
            continue;
        }
        let source = read(&path);
        for opening in ["Problem::new(", "Reason::new(", ".hint("] {
            for rest in source.split(opening).skip(1) {
                // The code comes before the sentence.
                let rest = if opening == ".hint(" { rest } else { rest.split_once(',').map_or("", |(_, rest)| rest) };
                let rest = rest.trim_start();
                let rest = rest.strip_prefix("format!(").unwrap_or(rest).trim_start();
                let Some(text) = literal(rest).filter(|text| text.contains(' ')) else { continue };
                seen += 1;
                if !told.contains(&plain(&text)) {
                    missing.insert(text, path.display().to_string());
                }
            }
        }
    }
    for rest in
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/evaluation/src/problem/usual.rs")).split("=> ").skip(1)
    {
        let Some(text) = literal(rest.trim_start_matches(['{', ' ', '\n'])) else { continue };
        seen += 1;
        if !told.contains(&plain(&text)) {
            missing.insert(text, "crates/evaluation/src/problem/usual.rs".into());
        }
    }
    assert!(seen > 150, "{seen}");
    assert!(missing.is_empty(), "not in locales/zh-CN.po with the context \"told\": {missing:#?}");
}

/// What a visitor reads of a page: its text and the attributes that are read out, shown or asked, without what is marked as
/// code or as somebody's own words.
fn read_of(html: &str) -> Vec<String> {
    let body = html.split_once("<body").and_then(|(_, body)| body.split_once('>')).map_or(html, |(_, body)| body);
    let mut found = Vec::new();
    // Depth below an element that is not ours to translate, and its name.
    let mut inside: Option<(&str, usize)> = None;
    let mut rest = body;
    while let Some((text, after)) = rest.split_once('<') {
        let text = text.trim();
        if inside.is_none() && !text.is_empty() {
            found.push(text.to_owned());
        }
        let Some((tag, after)) = after.split_once('>') else { break };
        rest = after;
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap_or_default();
        match inside {
            Some((outer, depth)) if outer == name => {
                inside = match (tag.starts_with('/'), depth) {
                    (true, 1) => None,
                    (true, depth) => Some((outer, depth - 1)),
                    (false, depth) => Some((outer, depth + 1)),
                };
            }
            Some(_) => {}
            None => {
                let words = ["title=\"", "aria-label=\"", "alt=\"", "placeholder=\"", "data-confirm=\""];
                let values = words.iter().flat_map(|word| tag.split(word).skip(1));
                found.extend(values.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
                let not_ours = ["code", "pre", "script", "style"].contains(&name)
                    || tag.contains("class=\"prose\"")
                    || tag.contains("lang=\"en\"");
                if not_ours && !tag.starts_with('/') && !tag.ends_with('/') {
                    inside = Some((name, 1));
                }
            }
        }
    }
    found
}

/// Whether somebody who reads no English is left with some: three words of it in a row that are no names.
fn is_english(text: &str) -> bool {
    let mut run = 0;
    for word in text.split(|c: char| c.is_whitespace()) {
        let plain = word.trim_matches(|c: char| c.is_ascii_punctuation());
        run = if plain.len() > 1 && plain.bytes().all(|b| b.is_ascii_lowercase() || b == b'\'') { run + 1 } else { 0 };
        if run == 3 {
            return true;
        }
    }
    // A word that stands alone is a label.
    let alone = text.trim_matches(|c: char| c.is_ascii_punctuation() || c.is_whitespace());
    const NAMES: [&str; 21] = [
        "Upscore",
        "English",
        "API",
        "PSNR",
        "SSIM",
        "FLOPs",
        "JSON",
        "CSV",
        "Markdown",
        "LaTeX",
        "Python",
        "curl",
        "upscore",
        "dB",
        "ms",
        "MiB",
        "zip",
        "Organizers",
        "Validation",
        "validation",
        "test",
    ];
    let letters = alone.chars().all(|c| c.is_ascii_alphabetic() || c == ' ');
    let small = alone.split(' ').all(|word| !word.is_empty() && word.chars().skip(1).all(|c| c.is_ascii_lowercase()));
    letters && small && alone.len() > 2 && !NAMES.contains(&alone)
}

async fn of_its_team(web: &Web, submission: SubmissionId) -> Team {
    let (id, account): (uuid::Uuid, uuid::Uuid) = sqlx::query_as(
        "select m.team_id, m.account_id from submission s join membership m on m.team_id = s.team_id where s.id = $1",
    )
    .bind(submission.0)
    .fetch_one(&web.app.pool)
    .await
    .expect("a member");
    Team { id: TeamId(id), account: AccountId(account) }
}

/// What the showcase makes up: a team's name, and a problem that no code has.
const MADE_UP: [&str; 3] =
    ["MLVC & friends of efficient networks", "the model failed while it ran", "Run it once with onnxruntime"];

#[tokio::test]
async fn no_english_is_left_on_the_pages_of_participants() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    let board = format!("/challenges/{}/{}", shown.phase.challenge_slug, shown.phase.slug);
    let other: uuid::Uuid = sqlx::query_scalar(
        "select submission_id from evaluation where state = 'scored' and submission_id <> $1 limit 1",
    )
    .bind(shown.scored.0)
    .fetch_one(&web.app.pool)
    .await
    .expect("another entry");
    let team = of_its_team(&web, shown.scored).await;
    let holder = web.token_that_may(team, Scope::Admin).await;
    let slug = &shown.phase.challenge_slug;
    let mut paths: Vec<(String, Option<&str>)> =
        ["/", "/signin", "/signup", "/forgotten", "/nowhere", "/team", "/api/docs"]
            .map(|path| (path.to_owned(), None))
            .into_iter()
            .chain([
                (format!("/challenges/{slug}"), None),
                (format!("/join/{slug}"), None),
                (board.clone(), None),
                (format!("{board}?q=nobody"), None),
                (format!("{board}?at=2001-01-01T00:00"), None),
                (format!("{board}?y=ssim&scale=linear&size=flops"), None),
                (format!("{board}/study"), None),
                (format!("{board}/compare"), None),
                (format!("{board}/compare?a={}&b={}", shown.scored, other), None),
                (format!("{board}/submit"), None),
                (format!("{board}/embed"), None),
                (format!("/submissions/{}", shown.scored), None),
                (format!("/submissions/{}/model", shown.scored), None),
                (format!("/teams/{}", team.id), None),
            ])
            .collect();
    paths.extend([
        (format!("{board}/submit"), Some(holder.as_str())),
        (format!("/submissions/{}", shown.scored), Some(holder.as_str())),
        (format!("/submissions/{}", shown.failed), Some(holder.as_str())),
        ("/team".to_owned(), Some(holder.as_str())),
        ("/account".to_owned(), Some(holder.as_str())),
        (format!("/challenges/{slug}"), Some(holder.as_str())),
    ]);
    let waiting = web.token(of_its_team(&web, shown.queued).await).await;
    paths.push((format!("/submissions/{}", shown.queued), Some(waiting.as_str())));
    let names: BTreeSet<String> = sqlx::query_scalar("select name from team union select name from account")
        .fetch_all(&web.app.pool)
        .await
        .expect("names")
        .into_iter()
        .collect();
    let mut left = BTreeMap::new();
    for (path, token) in paths {
        let head = request(Method::GET, &path, token).header(header::ACCEPT_LANGUAGE, "zh-CN");
        let reply = web.send(head.body(Body::empty()).expect("a request")).await;
        assert!(reply.text.contains("lang=\"zh-CN\""), "{path}: {} {}", reply.status, reply.text);
        assert!(reply.status != StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        for text in read_of(&reply.text) {
            let text = text.replace("&#39;", "'").replace("&#38;", "&").replace("&nbsp;", " ");
            let made_up = MADE_UP.iter().any(|words| text.contains(words));
            if is_english(&text) && !made_up && !names.contains(text.trim()) {
                left.insert(text, path.clone());
            }
        }
    }
    assert!(left.is_empty(), "still in English: {left:#?}");
}

#[test]
fn english_is_told_from_names_and_figures() {
    for text in ["Sign in", "Submitted", "the other sessions were ended", "12 of the entries were lost", "not ranked"] {
        assert!(is_english(text), "{text}");
    }
    for text in ["PSNR dB", "NJU_MCG", "29.04 dB", "没有 such 阶段", "FLOPs", "1×3×256×256", "ONNX Runtime 1.22"]
    {
        assert!(!is_english(text), "{text}");
    }
    let html =
        "<body><p title=\"A tip\">One <code>not this</code> two</p><div class=\"prose\"><div>theirs</div></div></body>";
    assert_eq!(read_of(html), ["A tip", "One", "two"]);
}

/// Names, values and addresses are of the program, not of a language: what is shared leads others to the same place.
#[tokio::test]
async fn addresses_and_values_are_the_same_in_every_language() {
    let web = Web::start().await;
    let shown = showcase::furnish(&web).await;
    let slug = &shown.phase.challenge_slug;
    let board = format!("/challenges/{slug}/{}", shown.phase.slug);
    let team = of_its_team(&web, shown.scored).await;
    let holder = web.token_that_may(team, Scope::Admin).await;
    let mut seen = 0;
    for path in [
        "/".to_owned(),
        format!("/challenges/{slug}"),
        board.clone(),
        format!("{board}?cost=activations&size=memory&y=ssim&scale=linear"),
        format!("{board}/study"),
        format!("{board}/compare"),
        format!("{board}/submit"),
        format!("{board}/embed"),
        format!("/submissions/{}", shown.scored),
        format!("/submissions/{}/model", shown.scored),
        format!("/teams/{}", team.id),
        "/team".to_owned(),
        "/account".to_owned(),
    ] {
        let head = request(Method::GET, &path, Some(&holder)).header(header::ACCEPT_LANGUAGE, "zh-CN");
        let page = web.send(head.body(Body::empty()).expect("a request")).await.text;
        assert!(page.contains(CHINESE), "{path}");
        for name in ["href", "action", "id", "name", "for", "form", "data-key", "data-address"] {
            for value in page.split(&format!(" {name}=\"")).skip(1).filter_map(|rest| rest.split('"').next()) {
                seen += 1;
                assert!(value.is_ascii(), "{path}: {name}=\"{value}\"");
            }
        }
        for choice in page.split("<option value=\"").chain(page.split("<button ")).skip(1) {
            let tag = choice.split('>').next().unwrap_or_default();
            assert!(tag.split(" title=").next().is_some_and(str::is_ascii) || tag.contains("data-"), "{path}: {tag}");
        }
    }
    assert!(seen > 300, "{seen}");
    let head = request(Method::GET, &board, None).header(header::ACCEPT_LANGUAGE, "zh-CN");
    let page = web.send(head.body(Body::empty()).expect("a request")).await.text;
    assert!(page.contains("cost=activations"), "{page}");
}
