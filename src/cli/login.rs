//! `upscore login`: keeps a server's token in the user's configuration, so that no command line need hold it.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{IsTerminal, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};

use super::{
    Outcome, inputs,
    output::{err, outln},
    submit::client::{Answer, Client},
};
use crate::problem::Problem;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server, as `https://sr.example.org`.
    #[arg(long, env = "UPSCORE_URL", value_name = "URL")]
    url: String,
    /// A token that may submit; asked for on stdin where it is not given.
    #[arg(long, env = "UPSCORE_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// Forget the token of this server instead; one that is given counts for nothing.
    #[arg(long)]
    forget: bool,
}

/// What is kept: `upscore/credentials.json` in the user's configuration folder, for its owner's eyes only.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Credentials {
    /// The server that was signed in to last.
    default: Option<String>,
    /// Token by server.
    tokens: BTreeMap<String, String>,
}

pub fn run(args: &Args) -> Outcome {
    let path = path()?;
    let url = args.url.trim_end_matches('/').to_owned();
    let mut kept = match Credentials::read(&path) {
        Ok(kept) => kept,
        Err(problem) => return Ok(Err(vec![problem])),
    };
    if args.forget {
        kept.tokens.remove(&url);
        kept.default = kept.default.filter(|default| *default != url);
        kept.write(&path)?;
        outln!("Forgot the token of {url}.");
        return Ok(Ok(()));
    }
    let token = match &args.token {
        Some(token) => token.trim().to_owned(),
        None => ask(&url)?,
    };
    if token.is_empty() {
        return Ok(Err(vec![Problem::new("token_needed", "No token was given.")]));
    }
    // Refused at once where it is wrong or may not submit.
    let client = match Client::new(&url, Some(&token)) {
        Ok(client) => client,
        Err(problem) => return Ok(Err(vec![problem])),
    };
    if let Answer::Refused(problems) = client.get("/api/v1/uploads")? {
        return Ok(Err(problems));
    }
    kept.tokens.insert(url.clone(), token);
    kept.default = Some(url.clone());
    kept.write(&path)?;
    outln!("Signed in to {url}; the token is in {}.", path.display());
    Ok(Ok(()))
}

fn ask(url: &str) -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        err!("Token for {url}: ");
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("reading the token from stdin")?;
    Ok(line.trim().to_owned())
}

/// The server and token to use: what is given, else what is kept.
pub fn resolve(url: Option<&str>, token: Option<&str>) -> anyhow::Result<Result<(String, String), Vec<Problem>>> {
    if let (Some(url), Some(token)) = (url, token) {
        return Ok(Ok((url.to_owned(), token.to_owned())));
    }
    let kept = match Credentials::read(&path()?) {
        Ok(kept) => kept,
        Err(problem) => return Ok(Err(vec![problem])),
    };
    let Some(url) = url.map(|url| url.trim_end_matches('/').to_owned()).or(kept.default) else {
        let problem = Problem::new("url_needed", "No server is given.");
        return Ok(Err(vec![problem.hint("Say `--url`, set UPSCORE_URL, or run `upscore login --url URL` once.")]));
    };
    match token.or(kept.tokens.get(&url).map(String::as_str)) {
        Some(token) => Ok(Ok((url, token.to_owned()))),
        None => {
            let problem = Problem::new("token_needed", "No token is given.").at(&url);
            Ok(Err(vec![problem.hint("Set UPSCORE_TOKEN, or run `upscore login --url URL` once.")]))
        }
    }
}

fn path() -> anyhow::Result<PathBuf> {
    let folder = |name| env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")));
    let config = config.ok_or_else(|| anyhow!("neither XDG_CONFIG_HOME nor HOME says where configuration is kept"))?;
    Ok(config.join("upscore").join("credentials.json"))
}

impl Credentials {
    fn read(path: &Path) -> Result<Credentials, Problem> {
        let unreadable = |error: std::io::Error| inputs::unreadable(path, &error).hint("Remove it, and sign in again.");
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| unreadable(error.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Credentials::default()),
            Err(error) => Err(unreadable(error)),
        }
    }

    /// Whole or not at all, and never readable by others, not for a moment.
    fn write(&self, path: &Path) -> anyhow::Result<()> {
        let folder = path.parent().context("the configuration has no folder")?;
        let write = || -> anyhow::Result<()> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let new = folder.join(format!(".credentials.{}", std::process::id()));
            let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            Ok(fs::rename(&new, path)?)
        };
        write().with_context(|| format!("writing {}", path.display()))
    }
}
