//! Accounts, teams and tokens.

use clap::Subcommand;
use sqlx::{Acquire, PgConnection, PgPool};

use super::{Done, Made};
use crate::{
    audit::{self, Act, Actor},
    challenge,
    problem::Problem,
    team::{
        self, Role, TeamError,
        account::{self, NewAccount},
        reset::{self, Maker},
        token::{self, Scope},
    },
};

#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Makes an account.
    Create {
        #[arg(long)]
        name: String,
        #[arg(long)]
        email: Option<String>,
        /// Read a password from the first line of stdin; without it the account signs in by token only.
        #[arg(long)]
        password_stdin: bool,
        /// May run challenges.
        #[arg(long)]
        organizer: bool,
    },
    /// Prints a link that sets a new password, once, within 24 hours.
    ResetLink {
        /// Login name.
        #[arg(long)]
        name: String,
        /// The address that participants use.
        #[arg(long, env = "UPSCORE_PUBLIC_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
        public_url: String,
    },
    /// Shuts an account out: none of its sessions and tokens works any more. Its entries stay.
    Disable {
        /// Login name.
        #[arg(long)]
        name: String,
    },
    /// Lets an account in again.
    Enable {
        /// Login name.
        #[arg(long)]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum TeamCommand {
    /// Makes a team; the first member owns it.
    Create {
        /// Slug of the challenge.
        #[arg(long)]
        challenge: String,
        #[arg(long)]
        name: String,
        /// Login name; may be repeated.
        #[arg(long = "member", required = true)]
        members: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Makes a token and prints it: the only time that it is shown.
    Create {
        /// Login name.
        #[arg(long)]
        account: String,
        #[arg(long, default_value = "command line")]
        name: String,
        #[arg(long, value_enum, default_value_t = Scope::Submit)]
        scope: Scope,
        /// Days until it expires; never where not given.
        #[arg(long)]
        days: Option<u32>,
    },
}
pub async fn account_command(command: AccountCommand, pool: &PgPool) -> Done {
    let mut conn = pool.acquire().await?;
    match command {
        AccountCommand::Create { name, email, password_stdin, organizer } => {
            let password = if password_stdin { Some(first_line()?) } else { None };
            let new = NewAccount { name: name.clone(), email, password, is_organizer: organizer };
            let mut tx = conn.begin().await?;
            let id = match account::create(&mut tx, new).await {
                Ok(id) => id,
                Err(error) => return refused(error.code(), error),
            };
            let details = serde_json::json!({ "account": id, "administrator": organizer });
            audit::note(&mut tx, &Actor::Shell, Act::of_server("account.create", &name).with(details)).await?;
            tx.commit().await?;
            Ok(Ok(Made::new(format!("Made account {name}."), serde_json::json!({ "id": id, "name": name }))?))
        }
        AccountCommand::ResetLink { name, public_url } => {
            let Some(account) = account::by_name(&mut conn, &name).await? else { return no_account(name) };
            let mut tx = conn.begin().await?;
            let secret = reset::create(&mut tx, account.id, Maker::Shell).await?;
            audit::note(&mut tx, &Actor::Shell, Act::of_server("account.reset_link", &account.name)).await?;
            tx.commit().await?;
            let link = format!("{}/reset?key={}", public_url.trim_end_matches('/'), secret.expose());
            Ok(Ok(Made::new(link.clone(), serde_json::json!({ "name": account.name, "link": link }))?))
        }
        AccountCommand::Disable { name } => set_disabled(&mut conn, name, true).await,
        AccountCommand::Enable { name } => set_disabled(&mut conn, name, false).await,
    }
}

async fn set_disabled(conn: &mut PgConnection, name: String, disabled: bool) -> Done {
    let Some(account) = account::by_name(conn, &name).await? else { return no_account(name) };
    let mut tx = conn.begin().await?;
    account::set_disabled(&mut tx, account.id, disabled).await?;
    let action = if disabled { "account.disable" } else { "account.enable" };
    audit::note(&mut tx, &Actor::Shell, Act::of_server(action, &account.name)).await?;
    tx.commit().await?;
    let sentence = format!("{} is {}.", account.name, if disabled { "shut out" } else { "let in" });
    Ok(Ok(Made::new(sentence, serde_json::json!({ "name": account.name, "disabled": disabled }))?))
}

pub fn no_account(name: String) -> Done {
    Ok(Err(vec![Problem::new("account_not_found", "there is no such account").at(name)]))
}

pub async fn team_command(command: TeamCommand, pool: &PgPool) -> Done {
    let TeamCommand::Create { challenge, name, members } = command;
    let mut conn = pool.acquire().await?;
    let mut tx = conn.begin().await?;
    let Some(found) = challenge::by_slug(&mut tx, &challenge).await? else {
        return Ok(Err(vec![Problem::new("challenge_not_found", "there is no such challenge").at(challenge)]));
    };
    let mut accounts = Vec::new();
    for member in members {
        match account::by_name(&mut tx, &member).await? {
            Some(account) => accounts.push(account.id),
            None => return no_account(member),
        }
    }
    let made: Result<_, TeamError> = async {
        let id = team::create(&mut tx, found.id, &name, accounts[0]).await?;
        for member in &accounts[1..] {
            team::join(&mut tx, id, *member, Role::Member).await?;
        }
        Ok(id)
    }
    .await;
    match made {
        Ok(id) => {
            audit::note(&mut tx, &Actor::Shell, Act::of(found.id, "team.create", &name)).await?;
            tx.commit().await?;
            let document = serde_json::json!({ "id": id, "name": name, "challenge": challenge });
            Ok(Ok(Made::new(format!("Made team {name} in {challenge}."), document)?))
        }
        Err(error) => refused(error.code(), error),
    }
}

pub async fn token_command(command: TokenCommand, pool: &PgPool) -> Done {
    let TokenCommand::Create { account, name, scope, days } = command;
    let mut conn = pool.acquire().await?;
    let Some(owner) = account::by_name(&mut conn, &account).await? else {
        return no_account(account);
    };
    let mut tx = conn.begin().await?;
    let (id, secret) = match token::make(&mut tx, owner.id, &name, scope, days).await {
        Ok(made) => made,
        Err(error) => return refused(error.code(), error),
    };
    let details = serde_json::json!({ "token": name, "scope": scope });
    audit::note(&mut tx, &Actor::Shell, Act::of_server("token.create", &owner.name).with(details)).await?;
    tx.commit().await?;
    let document = serde_json::json!({ "id": id, "token": secret.expose(), "account": account, "scope": scope });
    Ok(Ok(Made::new(secret.expose().to_owned(), document)?))
}

/// A situation is the input's fault; the rest is ours.
pub fn refused(code: Option<&'static str>, error: impl std::error::Error + Send + Sync + 'static) -> Done {
    match code {
        Some(code) => Ok(Err(vec![Problem::new(code, error.to_string())])),
        None => Err(error.into()),
    }
}

fn first_line() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}
