//! A challenge's file: applied, written, and made of a competition bundle.

use std::{fs, path::Path};

use anyhow::Context;
use sqlx::PgPool;

use super::{
    super::inputs::{self, Kind},
    Done, Made,
};
use crate::{
    audit::Actor,
    challenge::{
        self,
        bundle::{self, Wish},
        file::{self, How, Of, Reach, Source},
    },
    problem::Problem,
    storage::Storage,
};

pub async fn apply(
    pool: &PgPool,
    storage: &Storage,
    path: &Path,
    dry_run: bool,
    measure_again: bool,
    reason: &str,
) -> Done {
    let read = inputs::file(path, Kind::Text)
        .and_then(|()| fs::read_to_string(path).map_err(|error| inputs::unreadable(path, &error)));
    let text = match read {
        Ok(text) => text,
        Err(problem) => return Ok(Err(vec![problem])),
    };
    let file = match file::parse(&text) {
        Ok(file) => file,
        Err(problem) => return Ok(Err(vec![problem])),
    };
    let source = Source::shell(path.parent().unwrap_or(Path::new("")));
    let how = How { dry_run, measure_again, actor: &Actor::Shell, reason, reach: Reach::All, of: Of::Any };
    Ok(match file::apply(pool, storage, &file, &source, how).await? {
        Ok(applied) => Ok(Made::new(applied.words(), &applied)?),
        Err(problems) => Err(problems),
    })
}

pub async fn export(pool: &PgPool, storage: &Storage, slug: &str, out: Option<&Path>) -> Done {
    let mut conn = pool.acquire().await?;
    let Some(found) = challenge::by_slug(&mut conn, slug).await? else {
        return Ok(Err(vec![Problem::new("challenge_not_found", "there is no such challenge").at(slug)]));
    };
    let exported = file::export(&mut conn, &found, out.is_some()).await?;
    let Some(out) = out else {
        let document = serde_json::json!({ "file": exported.toml });
        return Ok(Ok(Made { sentence: exported.toml.trim_end().to_owned(), document }));
    };
    if let Err(problem) = vet_empty(out)? {
        return Ok(Err(vec![problem]));
    }
    let shown = out.display().to_string();
    let mut written = vec!["challenge.toml".to_owned()];
    let write = |name: &str, bytes: &[u8]| {
        let path = out.join(name);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, bytes));
        made.with_context(|| format!("writing {}", path.display()))
    };
    write("challenge.toml", exported.toml.as_bytes())?;
    for (name, words) in &exported.texts {
        write(name, words.as_bytes())?;
        written.push(name.clone());
    }
    for (name, hash) in &exported.models {
        let from = storage.path(hash);
        fs::copy(&from, out.join(name)).with_context(|| format!("copying {} to {name}", from.display()))?;
        written.push(name.clone());
    }
    let sentence = format!("Wrote {} to {shown}.", written.join(", "));
    Ok(Ok(Made::new(sentence, serde_json::json!({ "folder": shown, "files": written }))?))
}

pub fn import(zip: &Path, out: &Path, wish: Wish<'_>) -> Done {
    let shown = out.display().to_string();
    if let Err(problem) = inputs::file(zip, Kind::Bundle) {
        return Ok(Err(vec![problem]));
    }
    if let Err(problem) = vet_empty(out)? {
        return Ok(Err(vec![problem]));
    }
    fs::create_dir_all(out).with_context(|| format!("making {shown}"))?;
    let imported = match bundle::import(zip, out, wish)? {
        Ok(imported) => imported,
        Err(problem) => return Ok(Err(vec![problem])),
    };
    let left: String = imported.left.iter().map(|line| format!("\n- {line}")).collect();
    let left = if left.is_empty() { left } else { format!("\nBefore it can be applied:{left}") };
    let sentence = format!(
        "{}\nWrote {} files to {shown}.{left}\nLook at them, then: upscore admin challenge apply {shown}/challenge.toml --dry-run",
        imported.report.words(),
        imported.files.len()
    );
    let document = serde_json::json!({
        "challenge": imported.file.slug, "folder": shown, "files": imported.files, "report": imported.report,
        "left": imported.left
    });
    Ok(Ok(Made::new(sentence, document)?))
}

fn vet_empty(folder: &Path) -> anyhow::Result<Result<(), Problem>> {
    if folder.exists()
        && let Err(problem) = inputs::folder(folder)
    {
        return Ok(Err(problem));
    }
    if folder.is_dir() && fs::read_dir(folder)?.next().is_some() {
        let problem = Problem::new("folder_not_empty", "the folder has files already");
        return Ok(Err(problem.at(folder.display().to_string())));
    }
    Ok(Ok(()))
}
