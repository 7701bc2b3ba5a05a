//! A challenge's file in the making, and the report on it: what both versions of bundles have, however they call it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, SecondsFormat, Utc};

use super::{
    Bundle, contents::Contents, dates, fields::Fields, html, images, inside, report::Report, text, yaml::Node,
};
use crate::{
    challenge::{
        self,
        file::format::{ChallengeFile, Moment, PageFile, PhaseFile, QuotaFile, Text, TextFile},
        joining::JoinPolicy,
        phase::Visibility,
        protocol::Metric,
    },
    problem::{Problem, printable},
    submission::fact_sheet::{Field, Kind},
};

/// Phases, pages, tasks and columns of a bundle, each: as many as a challenge's file may have.
const MAX_PARTS: usize = 50;
/// Bytes of a page.
const MAX_PAGE: u64 = 4 << 20;
/// Characters of a text; more are refused when the file is applied.
const MAX_TEXT: usize = 100_000;
/// More than anybody allows, less than the database holds.
const MAX_QUOTA: u32 = 1_000_000;

pub const NOTHING_IS_RUN: &str = "nothing in a bundle is run: entries are measured by this server's own workers";
pub const OWN_DISPLAY: &str = "pages and boards here show what they show";

pub struct Draft {
    pub file: ChallengeFile,
    /// Relative to the challenge's folder.
    pub texts: Vec<(PathBuf, String)>,
    /// From where to where, the latter relative to the challenge's folder.
    pub images: Vec<(PathBuf, PathBuf)>,
    pub report: Report,
    /// The unpacked bundle.
    folder: PathBuf,
    contents: Contents,
    order: dates::Order,
    tasks: Vec<Task>,
    /// What each phase is about: a page is made of it.
    about: Vec<(String, String)>,
}

/// A set of data that phases are measured on.
pub struct Task {
    /// What phases call it.
    pub index: String,
    /// Name of the field, and the path or key that it holds.
    pub reference: Option<(String, String)>,
    pub input: Option<(String, String)>,
    /// Places of the phases that use it.
    pub phases: Vec<usize>,
}

/// What the fields of a phase are called.
pub struct PhaseKeys {
    pub name: &'static str,
    pub start: &'static str,
    /// Absent: phases end as the next one begins.
    pub end: Option<&'static str>,
    pub carried: &'static str,
}

/// A column of the bundle's board.
pub struct Column {
    pub field: String,
    pub title: String,
    pub key: String,
    pub lower_is_better: Option<bool>,
}

impl Draft {
    pub fn open(kind: &str, fields: &mut Fields, bundle: Bundle<'_>) -> Result<Draft, Problem> {
        let Bundle { folder, contents, order, slug } = bundle;
        let mut report = Report { bundle: kind.to_owned(), rows: Vec::new() };
        let Some(said) = fields.text("title") else {
            return Err(Problem::new("bad_bundle", "the bundle has no title").at("title"));
        };
        let plain: String =
            said.split_whitespace().collect::<Vec<_>>().join(" ").chars().filter(|c| !c.is_control()).collect();
        let title: String = plain.chars().take(200).collect();
        // It is a folder of the zip and a name in a header; a database is not asked before.
        if let Some(wanted) = slug.filter(|slug| !challenge::is_slug(slug)) {
            return Err(Problem::new("bad_slug", challenge::BAD_SLUG).at(printable(wanted)));
        }
        let slug = slug.map_or_else(|| slug_of(&title, "challenge"), str::to_owned);
        let words = format!("the title; in addresses `{slug}`");
        match title == said {
            true => report.imported("title", &said, words),
            false => report.changed("title", &said, format!("{words}; cut to 200 characters on one line")),
        }
        let mut draft = Draft {
            file: ChallengeFile { slug, title, ..ChallengeFile::default() },
            texts: Vec::new(),
            images: Vec::new(),
            report,
            folder: folder.to_owned(),
            contents,
            order,
            tasks: Vec::new(),
            about: Vec::new(),
        };
        if let Some(said) = fields.text("description") {
            let words = if said.contains('<') { html::to_markdown(&said).markdown } else { said.clone() };
            let cut: String = words.chars().filter(|c| *c != '\0').take(MAX_TEXT).collect();
            match cut == said {
                true => draft.report.imported("description", &said, "the text at the top of the challenge's page"),
                false => draft.report.changed("description", &said, "as Markdown, at the top of the challenge's page"),
            }
            draft.file.description = Text::Inline(cut);
        }
        Ok(draft)
    }

    /// Refuses a bundle that has more of something than a challenge can have.
    pub fn at_most<T>(what: &str, list: &[T]) -> Result<(), Problem> {
        if list.len() > MAX_PARTS {
            let message = format!("the bundle has {} {what}, a challenge has at most {MAX_PARTS}", list.len());
            return Err(Problem::new("bad_bundle", message).at(what));
        }
        Ok(())
    }

    /// Whether everybody is let in.
    pub fn joining(&mut self, field: &str, said: Option<bool>, open: bool) {
        let policy = if open { JoinPolicy::Open } else { JoinPolicy::Approval };
        let words = match policy {
            JoinPolicy::Open => "whoever accepts the terms takes part",
            JoinPolicy::Approval => "an organizer lets each account in",
        };
        match said {
            Some(said) => self.report.imported(field, &said.to_string(), words),
            None => self.report.changed(field, "", format!("not said, so as there: {words}")),
        }
        self.file.joining.policy = policy;
    }

    pub fn contact(&mut self, field: &str, address: &str) {
        if !address.contains('@')
            || address.contains(|c: char| c.is_whitespace() || c.is_control() || "<>()[]\\`".contains(c))
        {
            return self.report.ignored(field, address, "this is no mail address");
        }
        let before = match &self.file.description {
            Text::Inline(words) if !words.is_empty() => format!("{words}\n\n"),
            _ => String::new(),
        };
        self.file.description = Text::Inline(format!("{before}Contact: [{address}](mailto:{address})"));
        self.report.changed(field, address, "a line at the end of the challenge's description");
    }

    pub fn terms(&mut self, field: &str, path: &str) {
        if let Some(words) = self.words(field, path, "the terms that everybody accepts who joins") {
            self.file.joining.terms = self.keep("terms.md".into(), words);
        }
    }

    pub fn page(&mut self, field: &str, title: &str, path: &str) {
        let title: String = title.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(100).collect();
        let title = if title.is_empty() { format!("Page {}", self.file.pages.len() + 1) } else { title };
        let what = format!("the page “{}”", printable(&title));
        if let Some(words) = self.words(field, path, &what) {
            self.add_page(title, words);
        }
    }

    fn add_page(&mut self, title: String, words: String) {
        let name = format!("pages/{}-{}.md", self.file.pages.len() + 1, slug_of(&title, "page"));
        let text = self.keep(name.into(), words);
        self.file.pages.push(PageFile { title, text });
    }

    fn keep(&mut self, name: PathBuf, words: String) -> Text {
        self.texts.push((name.clone(), words));
        Text::File(TextFile { file: name })
    }

    /// The text of a file of the bundle as Markdown, and a row on it.
    fn words(&mut self, field: &str, path: &str, what: &str) -> Option<String> {
        let outcome = read_text(&self.folder, path, &self.contents);
        let (words, left_out) = match outcome {
            Ok(read) => read,
            Err(why) => {
                self.report.ignored(field, path, why);
                return None;
            }
        };
        match left_out {
            None => self.report.imported(field, path, what),
            Some(how) => self.report.changed(field, path, format!("{what}; {how}")),
        }
        Some(words)
    }

    /// Reads a phase. Its dates are put in order by [`Draft::settle`], once all are there.
    pub fn phase(&mut self, mut fields: Fields, keys: &PhaseKeys) {
        let place = self.file.phases.len() + 1;
        let said = fields.text(keys.name);
        let title: String = said.as_deref().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        let title: String = title.chars().filter(|c| !c.is_control()).take(200).collect();
        let title = if title.is_empty() { format!("Phase {place}") } else { title };
        let slug = self.free_slug(&title);
        let name = fields.name(keys.name);
        match said {
            Some(said) if said == title => self.report.imported(&name, &said, format!("the phase `{slug}`")),
            said => {
                self.report.changed(&name, &said.unwrap_or_default(), format!("the phase `{slug}`, called “{title}”"))
            }
        }
        let opens = self.moment(&mut fields, keys.start, "opens");
        let closes = keys.end.map_or(Ok(None), |end| self.moment(&mut fields, end, "closes"));
        let daily = self.quota(&mut fields, "max_submissions_per_day", "completed evaluations a team and day");
        let total = self.quota(&mut fields, "max_submissions", "completed evaluations a team in the phase");
        let mut phase = PhaseFile::new(&slug);
        phase.title = (title != slug).then(|| title.clone());
        for (moment, field, key) in [(opens, &mut phase.opens, "opens"), (closes, &mut phase.closes, "closes")] {
            match moment {
                Ok(at) => *field = at.map(Moment::At),
                Err(why) => phase.undecided.push(format!("{key}: {why}")),
            }
        }
        phase.quota = QuotaFile { daily: daily.unwrap_or(QuotaFile::default().daily), total, daily_attempts: None };
        if let Some(about) = fields.text("description") {
            let words = if about.contains('<') { html::to_markdown(&about).markdown } else { about.clone() };
            self.report.changed(&fields.name("description"), &about, "stands on the page “Phases”");
            self.about.push((title, words));
        }
        for key in ["hide_score_output", "hide_scores"] {
            match fields.flag(key) {
                Some(true) => {
                    phase.visibility = Visibility::Hidden;
                    let words = "figures are the organizers' until they publish them";
                    self.report.changed(&fields.name(key), "true", words);
                }
                Some(false) => self.report.imported(&fields.name(key), "false", "figures are seen at once"),
                None => {}
            }
        }
        if let Some(mode) = fields.text("leaderboard_management_mode") {
            let name = fields.name("leaderboard_management_mode");
            match mode.as_str() {
                "hide_results" => {
                    phase.visibility = Visibility::Hidden;
                    self.report.imported(&name, &mode, "figures are the organizers' until they publish them");
                }
                "default" => self.report.imported(&name, &mode, "figures are seen at once"),
                _ => self.report.ignored(&name, &mode, "this mode is not known; figures are seen at once"),
            }
        }
        if let Some(true) = fields.flag(keys.carried) {
            let words = "entries are not carried over by themselves: an organizer carries them when the phase is open";
            self.report.ignored(&fields.name(keys.carried), "true", words);
        }
        if let Some(limit) = fields.text("execution_time_limit").or_else(|| fields.text("execution_time_limit_ms")) {
            let words = "the protocol has its own limits; a run that takes too long fails and says so";
            self.report.ignored(&fields.name("execution_time_limit"), &limit, words);
        }
        let programs = ["ingestion_program", "scoring_program", "scoring_program_docker_image", "default_docker_image"];
        fields.ignore(&programs, NOTHING_IS_RUN, &mut self.report);
        let given = "what participants download is made here from the images; offer other files on a page, as links";
        fields.ignore(&["starting_kit", "public_data"], given, &mut self.report);
        let display = ["color", "hide_output", "hide_prediction_output", "datasets", "hidden_columns"];
        fields.ignore(&display, OWN_DISPLAY, &mut self.report);
        fields.ignore(&["index", "phasenumber", "status", "id"], "phases are in their order", &mut self.report);
        let kinds = "an entry here is always both: the images and the model that makes them";
        fields.ignore(&["is_scoring_only", "accepts_only_result_submissions"], kinds, &mut self.report);
        fields.rest(&mut self.report);
        self.file.phases.push(phase);
    }

    fn free_slug(&self, title: &str) -> String {
        let slug = slug_of(title, "phase");
        // Words that stand in the organizers' addresses are no slugs.
        let reserved = [
            "review",
            "reruns",
            "participants",
            "organizers",
            "announcements",
            "webhook",
            "audit",
            "settings",
            "exports",
        ];
        let taken = |slug: &str| reserved.contains(&slug) || self.file.phases.iter().any(|p| p.slug == slug);
        let more = (2..).map(|n| format!("{slug}-{n}"));
        std::iter::once(slug.clone()).chain(more).find(|slug| !taken(slug)).unwrap_or(slug)
    }

    /// A time, where the bundle says one. What it says and nobody can read for certain is for an organizer to decide.
    pub fn moment(&mut self, fields: &mut Fields, key: &str, what: &str) -> Result<Option<DateTime<Utc>>, String> {
        let Some(said) = fields.text(key) else { return Ok(None) };
        let name = fields.name(key);
        match dates::read(&said, &self.order) {
            Ok(read) if read.assumed.is_empty() => {
                self.report.imported(&name, &said, format!("{what} {}", utc(read.at)));
                Ok(Some(read.at))
            }
            Ok(read) => {
                self.report.changed(&name, &said, format!("{what} {} ({})", utc(read.at), read.assumed.join("; ")));
                Ok(Some(read.at))
            }
            Err(_) if matches!(said.as_str(), "null" | "none" | "None" | "~") => Ok(None),
            Err(why) => {
                let words = "it cannot be applied until this is decided";
                self.report.ignored(&name, &said, format!("it {why}; {words}"));
                Err(format!("“{}” {why}", printable(&said)))
            }
        }
    }

    fn quota(&mut self, fields: &mut Fields, key: &str, what: &str) -> Option<u32> {
        let said = fields.text(key)?;
        let name = fields.name(key);
        let number = said.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0).map(|n| n as u64);
        match number {
            Some(0) => {
                self.report.changed(&name, &said, "no quota can be 0 here: close the phase to let nobody submit");
                None
            }
            Some(n) if n <= u64::from(MAX_QUOTA) => {
                self.report.changed(&name, &said, format!("{n} {what}; there it counts a person's, here a team's"));
                Some(n as u32)
            }
            Some(_) => {
                self.report.changed(&name, &said, format!("{MAX_QUOTA} {what}"));
                Some(MAX_QUOTA)
            }
            None => {
                self.report.ignored(&name, &said, "this is no number");
                None
            }
        }
    }

    /// Where phases state no end of their own: each ends as the next one begins, the last one at `end`.
    pub fn end_each_at_the_next(&mut self, end: Result<Option<DateTime<Utc>>, String>) {
        let open: Vec<bool> = self.file.phases.iter().map(|phase| !phase.undecided.is_empty()).collect();
        let starts: Vec<_> = self.file.phases.iter().map(|phase| at(phase.opens)).collect();
        for (place, phase) in self.file.phases.iter_mut().enumerate() {
            // Some that run side by side begin together.
            let next = starts[place + 1..].iter().flatten().filter(|next| Some(**next) > starts[place]).min();
            if open[place..].contains(&true) {
                phase
                    .undecided
                    .push("closes: it ends as a later phase begins, and when that is was not decided".into());
                continue;
            }
            phase.closes = match (next, &end) {
                (Some(next), _) => Some(Moment::At(*next)),
                (None, Ok(end)) => end.map(Moment::At),
                (None, Err(why)) => {
                    phase.undecided.push(format!("closes: {why}"));
                    None
                }
            };
            if let Some(closes) = at(phase.closes) {
                let words = format!("closes {}, as the next phase begins or the competition ends", utc(closes));
                self.report.changed(&format!("phases[{place}]"), &phase.slug, words);
            }
        }
    }

    /// Says which phases end before they begin, and makes a page of what is said about the phases.
    pub fn settle(&mut self) {
        for (place, phase) in self.file.phases.iter().enumerate() {
            if let (Some(opens), Some(closes)) = (at(phase.opens), at(phase.closes))
                && closes <= opens
            {
                let words = format!(
                    "it would close {} and open {}: it cannot be applied until `opens` or `closes` is another",
                    utc(closes),
                    utc(opens)
                );
                self.report.ignored(&format!("phases[{place}]"), &phase.slug, words);
            }
        }
        let about = std::mem::take(&mut self.about);
        if !about.is_empty() {
            let parts =
                about.iter().map(|(title, words)| format!("### {}\n\n{words}", title.replace(['#', '\n'], " ")));
            let words: String = parts.collect::<Vec<_>>().join("\n\n").chars().take(MAX_TEXT).collect();
            self.add_page("Phases".into(), words);
        }
    }

    /// Hides the figures of all phases that show them, as a board did that was hidden.
    pub fn hide_boards(&mut self) {
        for phase in self.file.phases.iter_mut().filter(|phase| phase.visibility == Visibility::Live) {
            phase.visibility = Visibility::Own;
        }
    }

    pub fn columns(&mut self, columns: Vec<Column>) {
        let mut order = None;
        for (place, Column { field, title, key, lower_is_better }) in columns.into_iter().enumerate() {
            let value = if title == key { title.clone() } else { format!("{title} ({key})") };
            let Some(metric) = metric(&title).or_else(|| metric(&key)) else {
                let more = if place == 0 { "; the board is ordered by runtime, as AIM 2020's was" } else { "" };
                self.report.ignored(&field, &value, format!("this is not measured here{more}"));
                continue;
            };
            let name = metric.words();
            if lower_is_better.is_some_and(|lower| lower != metric.is_cost()) {
                let better = if metric.is_cost() { "lower" } else { "higher" };
                self.report.changed(
                    &field,
                    &value,
                    format!("{name}, measured here, of which a {better} one is better"),
                );
            } else if place == 0 {
                order = Some(metric);
                self.report.changed(&field, &value, format!("{name}, measured here; the board is ordered by it"));
            } else {
                self.report.changed(&field, &value, format!("{name}, measured here, is on every board"));
            }
        }
        if let Some(metric) = order.filter(|metric| *metric != Metric::Runtime) {
            self.ranking("metric", metric.as_str());
        }
    }

    /// Sets a key of `rules.ranking` in all phases.
    pub fn ranking(&mut self, key: &str, value: &str) {
        for phase in &mut self.file.phases {
            let rules = phase.rules.get_or_insert_default();
            let ranking = rules.entry("ranking").or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let Some(table) = ranking.as_table_mut() {
                table.insert(key.into(), value.into());
            }
        }
    }

    /// The fields that teams fill in.
    pub fn fact_sheet(&mut self, questions: Vec<(String, Node)>) {
        let mut fields: Vec<Field> = Vec::new();
        for (key, node) in questions {
            let name = format!("fact_sheet.{key}");
            let mut said = Fields::open(&name, node);
            let key = said.text("key").unwrap_or(key);
            let title = said.text("title").unwrap_or_else(|| key.clone());
            let kind = said.text("type").unwrap_or_default();
            let mut options = Vec::new();
            if let Some(node) = said.take("selection") {
                node.scalars(&mut |text| options.push(text.trim().to_owned()));
            }
            options.retain(|option| !option.is_empty());
            options.truncate(100);
            let required = said.flag("is_required").unwrap_or(false);
            let plain = slug_of(&key, "").replace('-', "_");
            let plain: String = plain.chars().take(40).collect();
            let kind_here = match kind.as_str() {
                "text" => Some(Kind::Text),
                "checkbox" => Some(Kind::Bool),
                "select" if !options.is_empty() => Some(Kind::Choice { options }),
                _ => None,
            };
            let reserved = ["", "results", "model", "results_upload", "model_upload", "token"];
            let Some(kind_here) = kind_here else {
                self.report.ignored(
                    &name,
                    &title,
                    format!("a question of the kind “{}” is not asked here", printable(&kind)),
                );
                continue;
            };
            if reserved.contains(&plain.as_str()) || fields.iter().any(|field| field.key == plain) || fields.len() == 24
            {
                let words = "its key is another's or a file's, or there are 24 questions already";
                self.report.ignored(&name, &title, words);
                continue;
            }
            let words = format!("the question `{plain}`");
            match plain == key {
                true => self.report.imported(&name, &title, words),
                false => self.report.changed(&name, &title, words),
            }
            if said.flag("is_on_leaderboard") == Some(true) {
                let words = "answers stand on the entry's page, not on the board";
                self.report.ignored(&said.name("is_on_leaderboard"), "true", words);
            }
            said.rest(&mut self.report);
            let label = title.chars().take(200).collect();
            fields.push(Field { key: plain, label, kind: kind_here, required, help: String::new(), lines: 1 });
        }
        if !fields.is_empty() {
            self.file.fact_sheet = Some(fields);
        }
    }

    pub fn add_task(&mut self, task: Task) {
        self.tasks.push(task);
    }

    pub fn use_task(&mut self, phase: usize, index: &str) -> bool {
        let found = self.tasks.iter_mut().find(|task| task.index == index);
        found.map(|task| task.phases.push(phase)).is_some()
    }

    /// Makes HR of the reference data of each phase where they are images, and LR of its input data where those are theirs.
    pub fn choose_images(&mut self, dataset: Option<&str>) -> anyhow::Result<()> {
        let mut moved: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
        for task in std::mem::take(&mut self.tasks) {
            let waiting: Vec<usize> =
                task.phases.iter().copied().filter(|p| self.file.phases[*p].hr.is_none()).collect();
            let look = |said: &Option<(String, String)>| {
                said.as_ref().map(|(_, path)| images::look(&self.folder, path, &self.contents)).transpose()
            };
            let (reference, input) = (look(&task.reference)?, look(&task.input)?);
            let slugs = waiting.iter().map(|p| self.file.phases[*p].slug.as_str()).collect::<Vec<_>>().join(", ");
            let mut hr = None;
            if let (Some((field, path)), Some(found)) = (&task.reference, reference) {
                match found {
                    Ok(_) if waiting.is_empty() => {
                        let why = match task.phases.is_empty() {
                            true => "no phase uses it",
                            false => "a phase is measured on one set of images, and has one",
                        };
                        self.report.ignored(field, path, why);
                    }
                    Ok(found) => {
                        let n = found.sizes.len();
                        self.report.changed(field, path, format!("{n} PNGs: the hidden HR images of {slugs}"));
                        hr = Some(found);
                    }
                    Err(why) => {
                        let more = if slugs.is_empty() {
                            String::new()
                        } else {
                            format!("; name the HR images of {slugs} in the file")
                        };
                        self.report.ignored(field, path, format!("{why}{more}"));
                    }
                }
            }
            let mut lr = None;
            if let (Some((field, path)), Some(found)) = (&task.input, input) {
                match (&hr, found) {
                    (Some(hr), Ok(found)) => match images::scale(hr, &found) {
                        Some(scale) => {
                            let words = format!("{} PNGs: the LR images of {slugs}, ×{scale}", found.sizes.len());
                            self.report.changed(field, path, words);
                            lr = Some((found, scale));
                        }
                        None => {
                            let words = "its images are not the reference data's by any scale; LR is made by MATLAB-style bicubic, ×4";
                            self.report.ignored(field, path, words);
                        }
                    },
                    (None, Ok(_)) => self.report.ignored(field, path, "LR images are used only with their HR images"),
                    (_, Err(why)) => self.report.ignored(field, path, why),
                }
            }
            if let Some(hr) = hr {
                let mut place = |source: &Path| match moved.get(source) {
                    Some(name) => name.clone(),
                    None => {
                        let file = source.file_name().map(PathBuf::from).unwrap_or_default();
                        let taken = |name: &PathBuf| moved.values().any(|other| other == name);
                        let names = std::iter::once(Path::new("images").join(&file))
                            .chain((2..).map(|n| Path::new("images").join(n.to_string()).join(&file)));
                        let name = names.into_iter().find(|name| !taken(name)).unwrap_or(file);
                        moved.insert(source.to_owned(), name.clone());
                        name
                    }
                };
                let hr = place(&hr.source);
                let lr = lr.map(|(lr, scale)| (place(&lr.source), scale));
                for phase in waiting {
                    let phase = &mut self.file.phases[phase];
                    phase.hr = Some(hr.clone());
                    phase.lr = lr.as_ref().map(|(lr, _)| lr.clone());
                    phase.scale = lr.as_ref().map(|(_, scale)| *scale);
                }
            }
        }
        self.images = moved.into_iter().collect();
        for phase in self.file.phases.iter_mut().filter(|phase| phase.hr.is_none()) {
            let field = format!("phase {}", phase.slug);
            if let Some(name) = dataset {
                phase.dataset = Some(name.to_owned());
                self.report.changed(&field, "", format!("the bundle has no images for it: it is measured on {name}"));
                continue;
            }
            let words =
                "there are no images to measure on: name a `dataset`, or a folder or zip as `hr`, before it is applied";
            self.report.ignored(&field, "", words);
        }
        Ok(())
    }
}

/// The text of a file as Markdown, and how it was changed; or why it is ignored.
fn read_text(folder: &Path, path: &str, contents: &Contents) -> Result<(String, Option<String>), String> {
    let Some(inner) = inside(path) else { return Err("the path leads out of the bundle".into()) };
    let ending = inner.extension().map(|ending| ending.to_ascii_lowercase().to_string_lossy().into_owned());
    let is_html = match ending.as_deref() {
        Some("html" | "htm") => true,
        Some("md" | "markdown" | "txt") | None => false,
        Some("pdf") => return Err("a PDF is no text: put it on the web and link to it".into()),
        Some(other) => return Err(format!("a page is HTML or Markdown, not {}", printable(other))),
    };
    let file = folder.join(&inner);
    let Some(about) = fs::metadata(&file).ok().filter(fs::Metadata::is_file) else {
        return Err(contents.why_not(&inner));
    };
    if about.len() > MAX_PAGE {
        return Err(format!("the file has more than {MAX_PAGE} bytes"));
    }
    let bytes = fs::read(&file).map_err(|error| error.to_string())?;
    let Some((text, encoding)) = text::decode(&bytes) else {
        return Err("the file is text in no encoding that is known: save it as UTF-8".into());
    };
    let text = text.replace("\r\n", "\n");
    let read_as = encoding.map(|encoding| format!("read as {encoding}"));
    let (words, how) = if is_html {
        let page = html::to_markdown(&text);
        let left = page.left_out.iter().map(|(what, n)| format!("{n} × {what}")).collect::<Vec<_>>();
        let left = if left.is_empty() { String::new() } else { format!("; left out: {}", left.join(", ")) };
        (page.markdown, Some(format!("from HTML to Markdown{left}")))
    } else {
        let mut notes = Vec::new();
        if text.contains("![") || text.contains("<img") {
            notes.push("images in it are not shown");
        }
        if text.contains("</") || text.contains("<br") {
            notes.push("HTML in it is shown as it is written");
        }
        (text.trim().to_owned(), (!notes.is_empty()).then(|| notes.join("; ")))
    };
    let how = match (read_as, how) {
        (Some(read_as), Some(how)) => Some(format!("{read_as}; {how}")),
        (read_as, how) => read_as.or(how),
    };
    match words.chars().count() {
        0 => Err("the file has no text".into()),
        n if n > MAX_TEXT => Err(format!("the text has more than {MAX_TEXT} characters")),
        _ => Ok((words, how)),
    }
}

/// A name as a slug.
fn slug_of(name: &str, without: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let joined = plain.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    let cut: String = joined.chars().take(56).collect();
    let cut = cut.trim_end_matches('-');
    if cut.is_empty() { without.to_owned() } else { cut.to_owned() }
}

/// Which of our figures a column is.
fn metric(name: &str) -> Option<Metric> {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let is = |words: &[&str]| words.iter().any(|word| plain.contains(word));
    Some(match () {
        () if is(&["psnr"]) => Metric::Psnr,
        () if is(&["msssim", "macs", "lpips"]) => return None,
        () if is(&["ssim"]) => Metric::Ssim,
        () if is(&["flop"]) => Metric::Flops,
        () if is(&["param"]) => Metric::Params,
        () if is(&["activation"]) => Metric::Activations,
        () if is(&["memory"]) => Metric::Memory,
        () if is(&["runtime", "latency", "inferencetime"]) => Metric::Runtime,
        () => return None,
    })
}

fn at(moment: Option<Moment>) -> Option<DateTime<Utc>> {
    match moment {
        Some(Moment::At(at)) => Some(at),
        _ => None,
    }
}

fn utc(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
