//! Version 1 and 1.5: CodaLab's.

use super::{
    Bundle,
    draft::{Column, Draft, NOTHING_IS_RUN, OWN_DISPLAY, PhaseKeys, Task},
    fields::Fields,
    yaml::Node,
};
use crate::problem::Problem;

const PHASE: PhaseKeys = PhaseKeys { name: "label", start: "start_date", end: None, carried: "auto_migration" };

pub fn read(mut fields: Fields, bundle: Bundle<'_>) -> Result<Draft, Problem> {
    let mut draft = Draft::open("CodaLab 1.5", &mut fields, bundle)?;
    let said = fields.flag("has_registration");
    draft.joining("has_registration", said, said == Some(false));
    let pages = fields.list("html");
    Draft::at_most("pages", &pages)?;
    for (title, node) in pages {
        let field = format!("html.{title}");
        match node.text() {
            Some(path) if title == "terms" => draft.terms(&field, path),
            Some(path) => draft.page(&field, &capitalized(&title), path),
            None => draft.report.ignored(&field, &node.shown(), "the page names no file"),
        }
    }

    let mut phases = fields.list("phases");
    Draft::at_most("phases", &phases)?;
    phases.sort_by_key(|(key, node)| number(key, node));
    let mut place = 0;
    for (key, node) in phases {
        let mut phase = Fields::open(format!("phases.{key}"), node);
        if phase.flag("is_parallel_parent") == Some(true) {
            let label = phase.text("label").unwrap_or_default();
            let words = "it only gathers the phases that run side by side; these are phases of their own here";
            draft.report.ignored(&format!("phases.{key}"), &label, words);
            continue;
        }
        let mut data = |key: &str| phase.text(key).map(|path| (phase.name(key), path));
        let (reference, input) = (data("reference_data"), data("input_data"));
        draft.add_task(Task { index: key.clone(), reference, input, phases: Vec::new() });
        draft.use_task(place, &key);
        place += 1;
        let parent = "phases that run side by side are phases of their own here";
        phase.ignore(&["parent_phasenumber"], parent, &mut draft.report);
        let programs = ["ingestion_program_only_during_scoring", "ingestion_program_docker_image"];
        phase.ignore(&programs, NOTHING_IS_RUN, &mut draft.report);
        let display = [
            "participants_can_see_scoring_output",
            "force_best_submission_to_leaderboard",
            "disable_custom_docker_image",
            "allow_organizer_teams",
            "delete_submissions_except_best_and_last",
            "auto_run_submissions",
            "max_concurrent_submissions",
        ];
        phase.ignore(&display, OWN_DISPLAY, &mut draft.report);
        draft.phase(phase, &PHASE);
    }
    let end = draft.moment(&mut fields, "end_date", "the last phase closes");
    draft.end_each_at_the_next(end);
    board(&mut draft, fields.take("leaderboard"))?;
    general(&mut draft, fields);
    draft.settle();
    Ok(draft)
}

fn board(draft: &mut Draft, node: Option<Node>) -> Result<(), Problem> {
    let mut board = Fields::open("leaderboard", node.unwrap_or(Node::Nothing));
    for (name, node) in board.list("leaderboards") {
        let label = Fields::open("", node).text("label").unwrap_or_default();
        let words = "each phase has its board, called as the phase";
        draft.report.changed(&format!("leaderboard.leaderboards.{name}"), &label, words);
    }
    let groups = board.list("column_groups");
    if !groups.is_empty() {
        draft.report.ignored("leaderboard.column_groups", &format!("{} of them", groups.len()), OWN_DISPLAY);
    }
    let mut columns = board.list("columns");
    Draft::at_most("columns", &columns)?;
    columns.sort_by_key(|(_, node)| rank(node));
    let columns = columns.into_iter().map(|(key, node)| {
        let field = format!("leaderboard.columns.{key}");
        let mut column = Fields::open(&field, node);
        let title = column.text("label").unwrap_or_else(|| key.clone());
        let sort = column.text("sort");
        let known =
            ["leaderboard", "numeric_format", "rank", "computed", "column_group", "selection_default", "hidden"];
        column.ignore(&known, "figures here have their own decimals, order and place", &mut draft.report);
        column.rest(&mut draft.report);
        Column { field, title, key, lower_is_better: sort.map(|sort| sort == "asc") }
    });
    let columns = columns.collect();
    draft.columns(columns);
    board.rest(&mut draft.report);
    Ok(())
}

/// What the competition as a whole says besides.
fn general(draft: &mut Draft, mut fields: Fields) {
    let report = &mut draft.report;
    let programs = ["competition_docker_image", "docker_image", "queue", "auto_run_submissions"];
    fields.ignore(&programs, NOTHING_IS_RUN, report);
    fields.ignore(&["image", "logo"], "a challenge has no picture here", report);
    let people = "accounts are this server's: `upscore admin challenge organizer add` names who runs it with you";
    fields.ignore(&["admin_names"], people, report);
    fields.ignore(&["start_date"], "each phase has its own", report);
    fields.ignore(&["allow_teams", "require_team_approval"], "entries here are always a team's", report);
    fields.ignore(&["enable_forum"], "there is no forum here; announcements there are", report);
    fields.ignore(&["reward"], "write it on a page", report);
    let display = [
        "allow_public_submissions",
        "anonymous_leaderboard",
        "disallow_leaderboard_modifying",
        "enable_detailed_results",
        "enable_medical_image_viewer",
        "enable_per_submission_metadata",
        "force_submission_to_leaderboard",
        "hide_chart",
        "hide_top_three",
        "show_datasets_from_yaml",
    ];
    fields.ignore(&display, OWN_DISPLAY, report);
    fields.rest(report);
}

/// `get_starting_kit` → `Get starting kit`.
fn capitalized(key: &str) -> String {
    let words = key.replace('_', " ");
    let mut chars = words.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// A phase's number: what it says, else its key.
fn number(key: &str, node: &Node) -> i64 {
    of(node, "phasenumber").or_else(|| key.parse().ok()).unwrap_or(0)
}

fn rank(node: &Node) -> i64 {
    of(node, "rank").unwrap_or(1)
}

fn of(node: &Node, key: &str) -> Option<i64> {
    let Node::Map(map) = node else { return None };
    map.iter().find(|(name, _)| name == key)?.1.text()?.parse().ok()
}
