//! What the documentation promises to hold.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The codes in a source file: of `Problem::new("…"` and `Reason::new("…"`, of the `code()` functions, and of pairs with a
/// sentence.
fn codes(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = Vec::new();
    for opening in ["Problem::new(", "Reason::new(", "limit(", "=> (\"", "=> Some(\""] {
        for rest in source.split(opening).skip(1) {
            let rest = if opening.ends_with('"') { rest } else { rest.trim_start().strip_prefix('"').unwrap_or("\"") };
            let code = rest.split('"').next().unwrap_or_default();
            let plain =
                !code.is_empty() && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            // `=> Some("…")` and `=> ("…", "…")` are many things; of codes only those of two words are told from the rest.
            if plain && (!opening.starts_with("=>") || code.contains('_')) {
                found.push(code.to_owned());
            }
        }
    }
    found
}

fn sources(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            for code in codes(&std::fs::read_to_string(&path).expect("a source")) {
                found.insert(code, path.display().to_string());
            }
        }
    }
}

#[test]
fn every_error_code_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    sources(&root.join("src"), &mut found);
    sources(&root.join("crates"), &mut found);
    assert!(found.len() > 80 && found.contains_key("zip_crc") && found.contains_key("below_baseline"), "{found:?}");
    let page = std::fs::read_to_string(root.join("docs/participants.md")).expect("the page");
    let missing: Vec<_> = found.iter().filter(|(code, _)| !page.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "not in docs/participants.md: {missing:#?}");
}

/// Whoever finds the fault, what to do about it is said.
#[test]
fn every_problem_of_a_file_or_a_run_has_a_hint() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/participants.md")).expect("it");
    let mut seen = 0;
    for title in ["### The results zip", "### The model"] {
        let table = page.split_once(title).expect("a section").1.split("###").next().unwrap_or_default();
        for row in table.lines().filter(|line| line.starts_with("| `")) {
            for code in row.split('|').nth(1).unwrap_or_default().split('`').filter(|code| code.contains('_')) {
                // That is why an entry is not ranked, not a fault.
                if code != "not_reproduced" {
                    let problem = upscore::problem::Problem::new(code.to_owned().leak(), "A sentence.");
                    assert!(problem.hint.is_some_and(|hint| hint.ends_with(['.', 'g'])), "{code}");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 35, "{seen}");
}

/// Every file below some folders, by its path from the root.
fn texts(root: &Path, folders: &[&str], endings: &[&str]) -> BTreeMap<String, String> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    folders.iter().for_each(|folder| walk(&root.join(folder), &mut found));
    let known = |path: &PathBuf| path.extension().is_some_and(|e| endings.iter().any(|ending| e == *ending));
    let named = |path: PathBuf| {
        let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(&path).expect("a text"))
    };
    found.into_iter().filter(known).map(named).collect()
}

/// What shows an attack's outcome is a test that runs, or an attack that the script plays.
#[test]
fn every_test_that_the_attacks_name_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/security.md")).expect("the page");
    let sources =
        texts(root, &["tests/suite", "crates/evaluation/tests/suite", "src", "crates/evaluation/src"], &["rs"]);
    let script = std::fs::read_to_string(root.join("scripts/attack.py")).expect("the script");
    let played = script.split_once("ATTACKS = [").and_then(|(_, list)| list.split_once(']')).expect("its attacks").0;
    let (mut rows, mut missing) = (0, Vec::new());
    for row in page.lines().filter(|line| line.starts_with("| ") && line.contains("::")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, attack, outcome, tests, _] = cells[..] else { panic!("three cells: {row}") };
        assert!(!attack.is_empty() && !outcome.is_empty(), "an attack and what happens: {row}");
        rows += 1;
        for test in tests.split('`').skip(1).step_by(2) {
            let (file, name) = test.split_once("::").unwrap_or((test, ""));
            let there = if file == "attack.py" {
                script.contains(&format!("\ndef {name}(t):")) && played.split([',', ' ', '\n']).any(|n| n == name)
            } else {
                sources.iter().any(|(path, source)| {
                    let folder = if file.contains('/') { file } else { &format!("/{file}") };
                    let test = source.split("#[test]").chain(source.split("#[tokio::test")).skip(1);
                    path.ends_with(folder)
                        && test
                            .filter_map(|rest| rest.split_once("fn "))
                            .any(|(attributes, rest)| attributes.len() < 200 && rest.starts_with(&format!("{name}()")))
                })
            };
            if !there {
                missing.push(test.to_owned());
            }
        }
    }
    assert!(rows >= 60, "{rows} attacks");
    assert!(missing.is_empty(), "named in docs/security.md and nowhere else: {missing:#?}");
}
