//! Where the Postgres server's programs are.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use crate::config;

/// Folders that hold one folder a version, as packages install them: Debian, PGDG's RPMs, Homebrew, Postgres.app.
const PACKAGES: [&str; 5] = [
    "/usr/lib/postgresql",
    "/usr",
    "/opt/homebrew/opt",
    "/usr/local/opt",
    "/Applications/Postgres.app/Contents/Versions",
];

const ADVICE: &str = "run `make setup`, install the PostgreSQL server (Debian, Ubuntu: postgresql; Homebrew: \
                      postgresql@18), set PG_BIN_DIR to the folder of its programs, or set DATABASE_URL to a running server";

/// The folder of `postgres` and `initdb`: `PG_BIN_DIR`'s, else those of the cluster's `version`, else the newest.
pub fn find(version: Option<u32>) -> anyhow::Result<PathBuf> {
    if let Some(folder) = env::var_os("PG_BIN_DIR").filter(|folder| !folder.is_empty()) {
        let folder = PathBuf::from(folder);
        if !complete(&folder) {
            bail!("PG_BIN_DIR={} holds no postgres and initdb", folder.display());
        }
        return Ok(folder.canonicalize()?);
    }
    let mut found: Vec<(u32, PathBuf)> =
        candidates().into_iter().filter(|folder| complete(folder)).filter_map(|f| Some((major(&f)?, f))).collect();
    // Stable: among equal versions the first stays first.
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    let Some(version) = version else {
        let newest = found.into_iter().next();
        return newest
            .map(|(_, folder)| folder)
            .with_context(|| format!("no PostgreSQL server programs found: {ADVICE}"));
    };
    if let Some((_, folder)) = found.iter().find(|(major, _)| *major == version) {
        return Ok(folder.clone());
    }
    let others: Vec<String> = found.iter().map(|(major, _)| major.to_string()).collect();
    let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
    bail!(
        "the data folder's cluster is of PostgreSQL {version}, found here: {others}; install PostgreSQL {version} or set \
         PG_BIN_DIR"
    )
}

fn candidates() -> Vec<PathBuf> {
    let ours = config::runtime_dirs("postgres").into_iter().map(|folder| folder.join("bin"));
    let packages = PACKAGES.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
    let packages = packages.map(|entry| entry.path().join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    // The system's before ours: they get its updates.
    packages.chain(ours).chain(env::split_paths(&path)).collect()
}

fn complete(folder: &Path) -> bool {
    folder.join("postgres").is_file() && folder.join("initdb").is_file()
}

/// 15 of `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`.
fn major(folder: &Path) -> Option<u32> {
    let said = Command::new(folder.join("postgres")).arg("--version").stderr(Stdio::null()).output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let version = said.split_whitespace().nth(2)?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
