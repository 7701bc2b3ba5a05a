//! Tells the program which commit it is built from: `UPSCORE_COMMIT` where it is set, as in a container; else, in a release
//! build of a Git checkout, the checkout's. A development build is not of any commit, and is not built anew after each.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=UPSCORE_COMMIT");
    let given = env::var("UPSCORE_COMMIT").ok().filter(|commit| !commit.is_empty());
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if let Some(commit) = given.or_else(|| release.then(checkout).flatten()) {
        println!("cargo::rustc-env=UPSCORE_BUILD_COMMIT={commit}");
    }
}

/// The commit that Git's own files name; `None`: there is no checkout, as in an unpacked archive.
fn checkout() -> Option<String> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
    let mut git = root.join(".git");
    // A worktree has a file here that says where its folder is.
    if let Ok(text) = fs::read_to_string(&git) {
        git = root.join(text.strip_prefix("gitdir:")?.trim());
    }
    let head = watched(&git.join("HEAD"))?;
    let Some(reference) = head.strip_prefix("ref:").map(str::trim) else { return commit(&head) };
    let common = fs::read_to_string(git.join("commondir")).map_or(git.clone(), |text| git.join(text.trim()));
    if let Some(found) = watched(&common.join(reference)) {
        return commit(&found);
    }
    let packed = watched(&common.join("packed-refs"))?;
    packed.lines().find_map(|line| commit(line.strip_suffix(reference)?))
}

fn watched(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    println!("cargo::rerun-if-changed={}", file.display());
    Some(text)
}

fn commit(text: &str) -> Option<String> {
    let text = text.trim();
    (text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| text.to_owned())
}
