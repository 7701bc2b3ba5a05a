//! Pages as a browser reads them: the fields of a form, the links.

/// An attribute of a tag.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let start = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    Some(unescape(tag[start..].split('"').next()?))
}

fn has(tag: &str, word: &str) -> bool {
    tag.split_whitespace().any(|part| part.trim_end_matches('>') == word)
}

pub fn unescape(text: &str) -> String {
    [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&"), ("&amp;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// What a browser would send of the form with this id when nobody touched it, buttons and files left out.
pub fn fields(page: &str, form: &str) -> Vec<(String, String)> {
    let start = page.find(&format!("<form id=\"{form}\"")).unwrap_or_else(|| panic!("no form {form}: {page}"));
    let mut rest = &page[start..page[start..].find("</form>").expect("its end") + start];
    let mut found = Vec::new();
    while let Some(at) = rest.find('<') {
        rest = &rest[at..];
        let (tag, after) = rest.split_at(rest.find('>').expect("a tag's end") + 1);
        rest = after;
        let Some(name) = attribute(tag, "name") else { continue };
        if tag.starts_with("<input") {
            let kind = attribute(tag, "type").unwrap_or_default();
            if kind == "file" || kind == "checkbox" && !has(tag, "checked") {
                continue;
            }
            found.push((name, attribute(tag, "value").unwrap_or_default()));
        } else if tag.starts_with("<textarea") {
            let (text, after) = after.split_once("</textarea>").expect("its end");
            // The first line break in it is the markup's.
            found.push((name, unescape(text.strip_prefix('\n').unwrap_or(text))));
            rest = after;
        } else if tag.starts_with("<select") {
            let (options, after) = after.split_once("</select>").expect("its end");
            let options: Vec<_> = options.split("<option").skip(1).map(|option| format!(" {option}")).collect();
            let tags = || options.iter().map(|option| option.split('>').next().unwrap_or_default());
            let chosen = tags().find(|tag| has(tag, "selected")).or(tags().next());
            found.extend(chosen.and_then(|tag| attribute(tag, "value")).map(|value| (name, value)));
            rest = after;
        }
    }
    found
}

/// The addresses of all links and forms of a page, without what follows a `#`.
pub fn links(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in [" href=\"", " src=\"", " action=\""] {
        for rest in page.split(name).skip(1) {
            let address = unescape(rest.split('"').next().unwrap_or_default());
            let address = address.split('#').next().unwrap_or_default().to_owned();
            if !address.is_empty() {
                found.push(address);
            }
        }
    }
    found
}
