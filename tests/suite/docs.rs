//! What the documentation promises to hold.

use std::{collections::BTreeMap, path::Path};

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
