//! Version 2: Codabench's.

use super::{
    Bundle,
    draft::{Column, Draft, NOTHING_IS_RUN, OWN_DISPLAY, PhaseKeys, Task},
    fields::Fields,
    yaml::Node,
};
use crate::problem::Problem;

const PHASE: PhaseKeys =
    PhaseKeys { name: "name", start: "start", end: Some("end"), carried: "auto_migrate_to_this_phase" };

pub fn read(mut fields: Fields, bundle: Bundle<'_>) -> Result<Draft, Problem> {
    let mut draft = Draft::open("Codabench 2", &mut fields, bundle)?;
    let said = fields.flag("registration_auto_approve");
    draft.joining("registration_auto_approve", said, said.unwrap_or(false));
    if let Some(address) = fields.text("contact_email") {
        draft.contact("contact_email", &address);
    }
    if let Some(path) = fields.text("terms") {
        draft.terms("terms", &path);
    }
    let pages = fields.list("pages");
    Draft::at_most("pages", &pages)?;
    for (place, node) in pages {
        let mut page = Fields::open(format!("pages[{place}]"), node);
        let title = page.text("title").unwrap_or_default();
        match page.text("file") {
            Some(path) => draft.page(&page.name("file"), &title, &path),
            None => draft.report.ignored(&page.name("file"), &title, "the page names no file"),
        }
        page.ignore(&["index"], "pages are in their order", &mut draft.report);
        page.rest(&mut draft.report);
    }

    let tasks = fields.list("tasks");
    Draft::at_most("tasks", &tasks)?;
    for (place, node) in tasks {
        task(&mut draft, Fields::open(format!("tasks[{place}]"), node), &place);
    }
    let mut phases = fields.list("phases");
    Draft::at_most("phases", &phases)?;
    phases.sort_by_key(|(_, node)| index(node));
    for (place, (written, node)) in phases.into_iter().enumerate() {
        let mut phase = Fields::open(format!("phases[{written}]"), node);
        let uses: Vec<_> =
            phase.list("tasks").into_iter().filter_map(|(_, node)| node.text().map(str::to_owned)).collect();
        for task in &uses {
            if !draft.use_task(place, task) {
                draft.report.ignored(&phase.name("tasks"), task, "the bundle has no task of this index");
            }
        }
        if uses.len() > 1 {
            let words = "a phase is measured on one set of images: the first of its tasks that has some";
            draft.report.changed(&phase.name("tasks"), &uses.join(", "), words);
        }
        let solutions = "solutions are no entries: submit them as a team, or as the baseline";
        phase.ignore(&["solutions"], solutions, &mut draft.report);
        draft.phase(phase, &PHASE);
    }
    boards(&mut draft, fields.list("leaderboards"))?;
    let questions = fields.list("fact_sheet");
    Draft::at_most("fact_sheet", &questions)?;
    draft.fact_sheet(questions);

    let solutions = fields.list("solutions");
    if !solutions.is_empty() {
        let words = "solutions are no entries: submit them as a team, or as the baseline";
        draft.report.ignored("solutions", &format!("{} of them", solutions.len()), words);
    }
    general(&mut draft, fields);
    draft.settle();
    Ok(draft)
}

fn task(draft: &mut Draft, mut task: Fields, place: &str) {
    let index = task.text("index").unwrap_or_else(|| place.to_owned());
    if let Some(key) = task.text("key") {
        let words = "a task that the platform keeps: its data are not in the bundle";
        draft.report.ignored(&task.name("key"), &key, words);
    }
    let mut data = |key: &str| task.text(key).map(|path| (task.name(key), path));
    let (reference, input) = (data("reference_data"), data("input_data"));
    draft.add_task(Task { index, reference, input, phases: Vec::new() });
    let programs = ["scoring_program", "ingestion_program", "ingestion_only_during_scoring"];
    task.ignore(&programs, NOTHING_IS_RUN, &mut draft.report);
    task.ignore(&["name", "description"], "tasks have no names here: phases have", &mut draft.report);
    task.rest(&mut draft.report);
}

fn boards(draft: &mut Draft, boards: Vec<(String, Node)>) -> Result<(), Problem> {
    Draft::at_most("leaderboards", &boards)?;
    for (place, (written, node)) in boards.into_iter().enumerate() {
        let mut board = Fields::open(format!("leaderboards[{written}]"), node);
        let name = board.text("title").or_else(|| board.text("key")).unwrap_or_default();
        if place > 0 {
            let words = "each phase has one board, with all figures; more orders are sub-tracks of its protocol";
            draft.report.ignored(&format!("leaderboards[{written}]"), &name, words);
            continue;
        }
        board.ignore(&["key"], "no program writes to it", &mut draft.report);
        draft.report.changed(&board.name("title"), &name, "each phase has its board, called as the phase");
        if let Some(rule) = board.text("submission_rule") {
            let field = board.name("submission_rule");
            match rule.as_str() {
                "Force_Best" => draft.report.imported(&field, &rule, "a team's best entry stands on the board"),
                "Add" | "Add_And_Delete" => {
                    draft.ranking("entry", "chosen");
                    draft.report.changed(
                        &field,
                        &rule,
                        "the entry that the team chose stands on the board, else its best",
                    );
                }
                _ => draft.report.changed(
                    &field,
                    &rule,
                    "a team's best entry stands on the board, or the one it chooses",
                ),
            }
        }
        match board.flag("hidden") {
            Some(true) => {
                draft.hide_boards();
                let words = "a team sees its own figures, everybody all of them once they are published";
                draft.report.changed(&board.name("hidden"), "true", words);
            }
            Some(false) => draft.report.imported(&board.name("hidden"), "false", "the board is public"),
            None => {}
        }
        let mut columns = board.list("columns");
        Draft::at_most("columns", &columns)?;
        columns.sort_by_key(|(_, node)| index(node));
        let columns = columns.into_iter().map(|(written, node)| {
            let mut column = Fields::open(format!("{}[{written}]", board.name("columns")), node);
            let key = column.text("key").unwrap_or_default();
            let sorting = column.text("sorting");
            let known = ["index", "precision", "hidden", "computation", "computation_indexes"];
            let words = "figures here have their own decimals, order and place";
            column.ignore(&known, words, &mut draft.report);
            let title = column.text("title").unwrap_or_else(|| key.clone());
            let field = column.name("title");
            column.rest(&mut draft.report);
            Column { field, title, key, lower_is_better: sorting.map(|sorting| sorting == "asc") }
        });
        let columns = columns.collect();
        draft.columns(columns);
        board.rest(&mut draft.report);
    }
    Ok(())
}

/// What the competition as a whole says besides.
fn general(draft: &mut Draft, mut fields: Fields) {
    let report = &mut draft.report;
    fields.ignore(&["docker_image", "queue", "auto_run_submissions"], NOTHING_IS_RUN, report);
    fields.ignore(&["image", "logo"], "a challenge has no picture here", report);
    let people = "accounts are this server's: `upscore admin challenge organizer add` names who runs it with you";
    fields.ignore(&["collaborators", "created_by", "admin_names"], people, report);
    let display = [
        "enable_detailed_results",
        "show_detailed_results_in_submission_panel",
        "show_detailed_results_in_leaderboard",
        "make_programs_available",
        "make_input_data_available",
        "can_participants_make_submissions_public",
        "force_submission_to_leaderboard",
        "disallow_leaderboard_modifying",
        "competition_type",
        "published",
    ];
    fields.ignore(&display, OWN_DISPLAY, report);
    fields.ignore(&["forum_enabled", "enable_forum"], "there is no forum here; announcements there are", report);
    fields.ignore(&["reward"], "write it on a page", report);
    fields.rest(report);
}

/// The `index` of a node, for sorting; without one, it stays where it is among its like.
fn index(node: &Node) -> i64 {
    let Node::Map(map) = node else { return 0 };
    let text = map.iter().find(|(key, _)| key == "index").and_then(|(_, node)| node.text());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}
