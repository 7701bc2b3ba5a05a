//! HTML pages as Markdown: headings, paragraphs, lists, tables, links and code are kept; what runs, embeds or only decorates is
//! left out. Read as a stream, without a tree, so that no nesting is too deep for it.

use std::{borrow::Cow, collections::BTreeMap, mem};

use html5gum::{DefaultEmitter, HtmlString, StartTag, Token, Tokenizer};

/// Lists and quotes in one another; deeper ones are written at this depth.
const MAX_DEPTH: usize = 10;
/// And beyond this many they are taken for mere blocks.
const MAX_OPEN: usize = 200;

/// A page, and what of it was left out, as `("script", 2)`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub markdown: String,
    pub left_out: BTreeMap<&'static str, usize>,
}

/// Headings begin below those of the page that the text stands on.
pub fn to_markdown(html: &str) -> Page {
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let mut writer = Writer::default();
    for token in Tokenizer::new_with_emitter(html, emitter) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => writer.start(&tag),
            Token::EndTag(tag) => writer.end(&text(&tag.name)),
            Token::String(words) => writer.words(&text(&words.value)),
            Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    writer.finish()
}

fn text(bytes: &HtmlString) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// What is left out with all that is in it.
const WITH_CONTENTS: [&str; 14] = [
    "script", "style", "iframe", "object", "svg", "math", "template", "noscript", "video", "audio", "canvas", "select",
    "title", "textarea",
];
/// Of these nobody is told.
const UNSAID: [&str; 3] = ["style", "title", "template"];

/// A list or a quote that is open.
struct Open {
    name: &'static str,
    /// Of an ordered list, the number of the next item.
    number: u32,
    /// What its first line begins with, once it is known; and every other line.
    first: Option<String>,
    other: String,
}

#[derive(Default)]
struct Table {
    rows: Vec<Vec<String>>,
    in_cell: bool,
    /// Tables inside the table.
    inner: usize,
}

#[derive(Default)]
struct Writer {
    out: String,
    /// The paragraph, heading or cell that is being written.
    line: String,
    /// A space that is written once a word follows.
    space: bool,
    /// `**` and `*` that are open, and where in `line` they stand.
    marks: Vec<(&'static str, usize)>,
    /// Where the open link began in `line`, and where it leads.
    link: Option<(usize, String)>,
    heading: Option<usize>,
    open: Vec<Open>,
    /// The next block follows without a blank line, as an item of a list does.
    tight: bool,
    /// Text that is copied as it is, of `code` or of `pre`.
    code: Option<String>,
    pre: Option<String>,
    table: Option<Table>,
    /// The element whose contents are left out.
    skipping: Option<&'static str>,
    left_out: BTreeMap<&'static str, usize>,
}

impl Writer {
    fn start(&mut self, tag: &StartTag<()>) {
        let name = text(&tag.name);
        if self.skipping.is_some() {
            return;
        }
        if let Some(skip) = WITH_CONTENTS.iter().find(|skip| **skip == name) {
            if !UNSAID.contains(skip) {
                *self.left_out.entry(skip).or_default() += 1;
            }
            if !tag.self_closing || !matches!(*skip, "svg" | "math") {
                self.skipping = Some(skip);
            }
            return;
        }
        if let Some(pre) = &mut self.pre {
            if name == "br" {
                pre.push('\n');
            }
            return;
        }
        match &*name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.block();
                let level = name.as_bytes()[1] - b'0';
                self.heading = Some((usize::from(level) + 2).min(6));
            }
            "br" if self.code.is_some() => self.words(" "),
            "br" if self.table.is_some() || self.heading.is_some() => self.space = true,
            "br" if !self.line.is_empty() => {
                self.line.push_str("\\\n");
                self.space = false;
            }
            "hr" => {
                self.block();
                self.put("---");
            }
            "strong" | "b" => self.mark("**"),
            "em" | "i" | "cite" | "var" => self.mark("*"),
            "sup" => self.line.push('^'),
            "code" | "tt" | "kbd" | "samp" => {
                self.code.get_or_insert_default();
            }
            "pre" if self.table.is_none() => {
                self.block();
                self.pre = Some(String::new());
            }
            "a" => self.link(tag),
            "img" => {
                *self.left_out.entry("image").or_default() += 1;
                if let Some(alt) = attribute(tag, "alt") {
                    self.words(&alt);
                }
            }
            "input" | "button" | "embed" | "form" => {
                let what = if name == "embed" { "embed" } else { "form" };
                *self.left_out.entry(what).or_default() += 1;
                self.space = true;
            }
            "ul" | "ol" | "menu" => self.open(if name == "ol" { "ol" } else { "ul" }),
            "blockquote" => self.open("blockquote"),
            "li" => self.item(),
            "table" => self.table(),
            "tr" => {
                self.cell(false);
                if let Some(table) = self.table.as_mut().filter(|table| table.inner == 0) {
                    table.rows.push(Vec::new());
                }
            }
            "td" | "th" => self.cell(true),
            _ if is_block(&name) => self.block(),
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        if let Some(skip) = self.skipping {
            if skip == name {
                self.skipping = None;
            }
            return;
        }
        if self.pre.is_some() {
            if name == "pre" {
                self.fence();
            }
            return;
        }
        match name {
            "strong" | "b" => self.unmark("**"),
            "em" | "i" | "cite" | "var" => self.unmark("*"),
            "code" | "tt" | "kbd" | "samp" => self.end_code(),
            "a" => self.end_link(),
            "ul" | "menu" => self.close("ul"),
            "ol" => self.close("ol"),
            "blockquote" => self.close("blockquote"),
            "li" => self.close("li"),
            "td" | "th" | "tr" => self.cell(false),
            "table" => self.end_table(),
            _ if is_block(name) || name.starts_with('h') && name.len() == 2 => self.block(),
            _ => {}
        }
    }

    fn words(&mut self, words: &str) {
        if self.skipping.is_some() {
            return;
        }
        if let Some(raw) = self.pre.as_mut().or(self.code.as_mut()) {
            raw.push_str(words);
            return;
        }
        let mut before = ' ';
        let mut chars = words.chars().peekable();
        while let Some(c) = chars.next() {
            if c.is_whitespace() || c == '\u{feff}' {
                self.space = true;
                before = ' ';
                continue;
            }
            if c.is_control() {
                continue;
            }
            let starts = self.line.is_empty() || self.line.ends_with("\\\n");
            self.gap();
            let wordy = |c: char| c.is_alphanumeric();
            let escape = match c {
                '\\' | '`' | '*' | '[' | ']' | '<' | '~' | '|' => true,
                '_' => !(wordy(before) && chars.peek().is_some_and(|next| wordy(*next))),
                '&' => chars.peek().is_some_and(|next| next.is_ascii_alphabetic() || *next == '#'),
                '#' | '>' | '+' | '-' | '=' => starts,
                // `2018.` and `1)` at the start of a line would be a list's.
                '.' | ')' => ends_with_a_first_number(&self.line),
                _ => false,
            };
            if escape {
                self.line.push('\\');
            }
            self.line.push(c);
            before = c;
        }
    }

    /// The space between words, where one is due.
    fn gap(&mut self) {
        if !mem::take(&mut self.space) || self.line.is_empty() || self.line.ends_with(['\n', ' ']) {
            return;
        }
        // Marks that were just opened stand at the word, the space before them.
        let mut at = self.line.len();
        loop {
            let mark = self.marks.iter().find(|(mark, start)| start + mark.len() == at).map(|(_, start)| *start);
            let link = self.link.as_ref().map(|(start, _)| *start).filter(|start| start + 1 == at);
            match mark.or(link) {
                Some(start) => at = start,
                None => break,
            }
        }
        if at == 0 || self.line[..at].ends_with(['\n', ' ']) {
            return;
        }
        self.line.insert(at, ' ');
        let starts = self.marks.iter_mut().map(|(_, start)| start).chain(self.link.as_mut().map(|(start, _)| start));
        starts.filter(|start| **start >= at).for_each(|start| *start += 1);
    }

    fn mark(&mut self, mark: &'static str) {
        // One inside its like, or inside code, would end it.
        let within = self.marks.iter().any(|(open, _)| *open == mark);
        if self.code.is_some() || within || self.heading.is_some() && mark == "**" {
            return;
        }
        self.gap();
        self.marks.push((mark, self.line.len()));
        self.line.push_str(mark);
    }

    fn unmark(&mut self, mark: &'static str) {
        // Those opened after it end with it.
        while self.code.is_none() && self.marks.iter().any(|(open, _)| *open == mark) {
            let Some((last, at)) = self.marks.pop() else { break };
            self.end_mark(last, at);
            if last == mark {
                break;
            }
        }
    }

    fn end_mark(&mut self, mark: &str, at: usize) {
        while let Some(kept) = self.line.strip_suffix("\\\n").map(str::len) {
            self.line.truncate(kept);
        }
        // Nothing in it: as if it had not been.
        match self.line.len() <= at + mark.len() {
            true => self.line.truncate(at),
            false => self.line.push_str(mark),
        }
    }

    fn end_marks(&mut self) {
        while let Some((mark, at)) = self.marks.pop() {
            self.end_mark(mark, at);
        }
    }

    fn end_code(&mut self) {
        let Some(raw) = self.code.take() else { return };
        let raw = raw.split_whitespace().collect::<Vec<_>>().join(" ");
        if raw.is_empty() {
            return;
        }
        self.gap();
        let ticks = "`".repeat(longest(&raw, '`') + 1);
        let pad = if raw.starts_with('`') || raw.ends_with('`') { " " } else { "" };
        // In a table a pipe would end the cell, in code too.
        let raw = if self.table.is_some() { raw.replace('|', "\\|") } else { raw };
        self.line.push_str(&format!("{ticks}{pad}{raw}{pad}{ticks}"));
    }

    fn link(&mut self, tag: &StartTag<()>) {
        self.end_link();
        let Some(address) = attribute(tag, "href").and_then(|href| address(&href)) else { return };
        if self.code.is_none() {
            self.gap();
            self.link = Some((self.line.len(), address));
            self.line.push('[');
        }
    }

    fn end_link(&mut self) {
        let Some((at, address)) = self.link.take() else { return };
        let inside = self.line.get(at..).map_or(0, |words| words.trim_matches(['[', '*', ' ']).len());
        if inside == 0 {
            self.line.truncate(at);
            self.marks.retain(|(_, start)| *start < at);
            return;
        }
        self.line.push_str(&format!("]({address})"));
    }

    /// Ends what is being written as a block of its own.
    fn block(&mut self) {
        if self.table.is_some() {
            self.space = true;
            return;
        }
        self.end_code();
        self.end_link();
        self.end_marks();
        self.space = false;
        let line = mem::take(&mut self.line);
        let line = line.trim().trim_end_matches("\\\n").trim_end();
        let heading = self.heading.take();
        if line.is_empty() {
            return;
        }
        match heading {
            Some(level) => {
                let line = line.replace('\n', " ");
                self.put(&format!("{} {line}", "#".repeat(level)));
            }
            None => self.put(line),
        }
    }

    /// Writes a block's lines, each below the lists and quotes that it is in.
    fn put(&mut self, block: &str) {
        if !self.out.is_empty() && !mem::take(&mut self.tight) {
            let blank: String = self.open.iter().filter(|o| o.first.is_none()).map(|o| o.other.as_str()).collect();
            self.out.push_str(blank.trim_end());
            self.out.push('\n');
        }
        self.tight = false;
        for line in block.lines() {
            let mut start = String::new();
            for open in &mut self.open {
                start.push_str(open.first.take().as_deref().unwrap_or(&open.other));
            }
            self.out.push_str(if line.is_empty() { start.trim_end() } else { &start });
            self.out.push_str(line);
            self.out.push('\n');
        }
    }

    fn open(&mut self, name: &'static str) {
        self.block();
        if self.table.is_some() || self.open.len() >= MAX_OPEN {
            return;
        }
        // A list in an item follows its words at once.
        self.tight = self.open.last().is_some_and(|open| open.name == "li") && name != "blockquote";
        let other = if name == "blockquote" && self.deep() { "> " } else { "" };
        self.open.push(Open { name, number: 1, first: None, other: other.to_owned() });
    }

    fn deep(&self) -> bool {
        self.open.iter().filter(|open| !open.other.is_empty()).count() < MAX_DEPTH
    }

    fn item(&mut self) {
        if self.table.is_some() {
            self.space = true;
            return;
        }
        // The item before it, where nobody ended it; not one of an outer list.
        if self.open.last().is_some_and(|open| open.name == "li") {
            self.close("li");
        } else {
            self.block();
        }
        if self.open.len() >= MAX_OPEN {
            return;
        }
        let deep = self.deep();
        let list = self.open.last_mut().filter(|open| open.name != "blockquote");
        let mut first = "- ".to_owned();
        if let Some(list) = list {
            self.tight |= list.number > 1;
            if list.name == "ol" {
                first = format!("{}. ", list.number);
            }
            list.number += 1;
        }
        let (first, other) = if deep { (Some(first.clone()), " ".repeat(first.len())) } else { (None, String::new()) };
        self.open.push(Open { name: "li", number: 1, first, other });
    }

    fn close(&mut self, name: &'static str) {
        self.block();
        if self.table.is_some() {
            return;
        }
        let Some(place) = self.open.iter().rposition(|open| open.name == name) else { return };
        // An item's end does not end the list that it is in.
        if name == "li" && self.open[place..].iter().any(|open| open.name != "li") {
            return;
        }
        self.open.truncate(place);
        self.tight = false;
    }

    fn fence(&mut self) {
        let Some(raw) = self.pre.take() else { return };
        let raw = raw.trim_matches('\n').trim_end();
        if raw.is_empty() {
            return;
        }
        let fence = "`".repeat(longest(raw, '`').max(2) + 1);
        let kept: String = raw.chars().filter(|c| *c == '\n' || *c == '\t' || !c.is_control()).collect();
        self.put(&format!("{fence}\n{kept}\n{fence}"));
    }

    fn table(&mut self) {
        match &mut self.table {
            Some(table) => table.inner += 1,
            None => {
                self.block();
                self.table = Some(Table::default());
            }
        }
    }

    /// Ends the cell that is open, and begins one.
    fn cell(&mut self, begin: bool) {
        let Some(table) = &self.table else {
            return self.block();
        };
        if table.inner > 0 {
            self.space = true;
            return;
        }
        let in_cell = table.in_cell;
        self.end_code();
        self.end_link();
        self.end_marks();
        self.space = false;
        let words = mem::take(&mut self.line).replace("\\\n", " ").trim().to_owned();
        let Some(table) = &mut self.table else { return };
        if in_cell || !words.is_empty() {
            if table.rows.is_empty() {
                table.rows.push(Vec::new());
            }
            if let Some(row) = table.rows.last_mut() {
                row.push(words);
            }
        }
        table.in_cell = begin;
    }

    fn end_table(&mut self) {
        if let Some(table) = &mut self.table
            && table.inner > 0
        {
            table.inner -= 1;
            return;
        }
        self.cell(false);
        let Some(Table { mut rows, .. }) = self.table.take() else { return };
        rows.retain(|row| row.iter().any(|cell| !cell.is_empty()));
        let Some(columns) = rows.iter().map(Vec::len).max() else { return };
        // Shorter rows need no filling: only the head says how many columns there are.
        rows[0].resize(columns, String::new());
        let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
        let mut lines = vec![line(&rows[0]), format!("|{}", "---|".repeat(columns))];
        lines.extend(rows[1..].iter().map(|row| line(row)));
        self.put(&lines.join("\n"));
    }

    fn finish(mut self) -> Page {
        self.fence();
        while let Some(table) = &mut self.table {
            table.inner = 0;
            self.end_table();
        }
        self.block();
        Page { markdown: self.out.trim().to_owned(), left_out: self.left_out }
    }
}

fn is_block(name: &str) -> bool {
    const BLOCKS: [&str; 30] = [
        "p",
        "div",
        "section",
        "article",
        "header",
        "footer",
        "main",
        "nav",
        "aside",
        "center",
        "figure",
        "figcaption",
        "address",
        "dl",
        "dt",
        "dd",
        "details",
        "summary",
        "fieldset",
        "legend",
        "body",
        "html",
        "head",
        "caption",
        "thead",
        "tbody",
        "tfoot",
        "hgroup",
        "search",
        "dialog",
    ];
    BLOCKS.contains(&name)
}

fn attribute(tag: &StartTag<()>, name: &str) -> Option<String> {
    tag.attributes.get(name.as_bytes()).map(|value| text(&value.value).into_owned())
}

/// An address that may stand in a page, as Markdown writes it.
fn address(href: &str) -> Option<String> {
    let href = href.trim();
    let lower = href.to_ascii_lowercase();
    if !["https://", "http://", "mailto:"].iter().any(|scheme| lower.starts_with(scheme)) || href.len() > 2000 {
        return None;
    }
    let mut out = String::new();
    for c in href.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            c if c.is_whitespace() || c.is_control() || "()<>\\[]*_`|".contains(c) => {
                let mut utf8 = [0; 4];
                for byte in c.encode_utf8(&mut utf8).bytes() {
                    out.push_str(&format!("%{byte:02X}"));
                }
            }
            c => out.push(c),
        }
    }
    Some(out)
}

/// Whether the last line is a number, as a list's item would begin.
fn ends_with_a_first_number(text: &str) -> bool {
    let before = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = text.len() - before.len();
    (1..10).contains(&digits) && (before.is_empty() || before.ends_with('\n'))
}

/// The longest run of `c`.
fn longest(text: &str, c: char) -> usize {
    text.split(|other| other != c).map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn markdown(html: &str) -> String {
        to_markdown(html).markdown
    }

    #[test]
    fn pages_keep_their_structure() {
        let cases = [
            (
                "<h1>The <b>data</b></h1>\n<p>800 images,\n  <strong>hidden </strong>ones <em>too</em>.</p>",
                "### The data\n\n800 images, **hidden** ones *too*.",
            ),
            (
                "<ul><li>one<li>two <ol><li>a</li><li>b</li></ol></li></ul><p>end</p>",
                "- one\n- two\n  1. a\n  2. b\n\nend",
            ),
            (
                "<p>See <a href='https://x.org/a_b?c=1&amp;d=(2)'>the page</a> or <a href='javascript:x()'>this</a>.",
                "See [the page](https://x.org/a%5Fb?c=1&amp;d=%282%29) or this.",
            ),
            (
                "<table><tr><th>Team<th>PSNR</tr><tr><td>A|B</td><td><b>29.00</b></td></tr></table>",
                "| Team | PSNR |\n|---|---|\n| A\\|B | **29.00** |",
            ),
            (
                "<pre><code>a = 1\n\n# b &lt; c</code></pre><p>run <code>x`y</code>",
                "```\na = 1\n\n# b < c\n```\n\nrun ``x`y``",
            ),
            ("<blockquote><p>a</p><p>b</p></blockquote>", "> a\n>\n> b"),
            ("one<br>two<br/><br>three", "one\\\ntwo\\\n\\\nthree"),
            (
                "<p># no *head* <i></i> snake_case _x_ 2 &lt; 3 &copy; 2020. <b>",
                "\\# no \\*head\\* snake_case \\_x\\_ 2 \\< 3 © 2020.",
            ),
            ("<p>1. not a list<p>- neither<p>10<sup>3</sup>", "1\\. not a list\n\n\\- neither\n\n10^3"),
        ];
        for (html, expected) in cases {
            assert_eq!(markdown(html), expected, "{html}");
        }
    }

    #[test]
    fn what_runs_or_embeds_is_left_out_and_said() {
        let page = to_markdown(
            "<head><title>T</title><style>p {}</style></head><script>alert('<p>x</p>')</script><p onclick=x>a\
             <img src=x alt='a plot'><iframe src=y>z</iframe><script src=a></script><svg><text>q</text></svg>",
        );
        assert_eq!(page.markdown, "aa plot");
        let left: Vec<_> = page.left_out.into_iter().collect();
        assert_eq!(left, [("iframe", 1), ("image", 1), ("script", 2), ("svg", 1)]);
    }

    #[test]
    fn no_input_is_too_deep_or_blows_up() {
        for part in [
            "<ul><li>",
            "<blockquote>",
            "<b><i>",
            "<table><tr><td>",
            "<div>",
            "<ol><li>x<blockquote>y",
            "<a href=https://x>",
        ] {
            let html = part.repeat(40_000);
            let page = markdown(&html);
            assert!(page.len() < 20 * html.len(), "{part}: {}", page.len());
        }
        let wide = format!("<table><tr>{}{}", "<td>x".repeat(20_000), "<tr><td>y".repeat(20_000));
        assert!(markdown(&wide).len() < 10 * wide.len());
    }
}
