//! Who runs a challenge beside the administrators.

use clap::Subcommand;
use sqlx::PgPool;

use super::{Done, Made, account::no_account, account::refused};
use crate::{
    audit::Actor,
    challenge::{self, organizers},
    problem::Problem,
    team::account,
};

#[derive(Debug, Subcommand)]
pub enum OrganizerCommand {
    /// Lets an account run a challenge too.
    Add {
        /// Slug of the challenge.
        #[arg(long)]
        challenge: String,
        /// Login name.
        #[arg(long)]
        name: String,
    },
    /// Lets an account no longer run a challenge.
    Remove {
        /// Slug of the challenge.
        #[arg(long)]
        challenge: String,
        /// Login name.
        #[arg(long)]
        name: String,
    },
}

pub async fn run(command: OrganizerCommand, pool: &PgPool) -> Done {
    let (challenge, name, add) = match command {
        OrganizerCommand::Add { challenge, name } => (challenge, name, true),
        OrganizerCommand::Remove { challenge, name } => (challenge, name, false),
    };
    let mut conn = pool.acquire().await?;
    let Some(found) = challenge::by_slug(&mut conn, &challenge).await? else {
        return Ok(Err(vec![Problem::new("challenge_not_found", "there is no such challenge").at(challenge)]));
    };
    let Some(account) = account::by_name(&mut conn, &name).await? else { return no_account(name) };
    let done = match add {
        true => organizers::add(&mut conn, found.id, &account.name, &Actor::Shell).await.map(drop),
        false => organizers::remove(&mut conn, found.id, account.id, &Actor::Shell, true).await,
    };
    if let Err(error) = done {
        return refused(error.code(), error);
    }
    let sentence = format!("{} {} {challenge}.", account.name, if add { "runs" } else { "no longer runs" });
    let document = serde_json::json!({ "challenge": challenge, "name": account.name, "organizer": add });
    Ok(Ok(Made::new(sentence, document)?))
}
