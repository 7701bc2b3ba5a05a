//! A challenge's file that somebody sends, by REST or by a form: the same way in for both, with the sender's reach.

use std::path::Path;

use axum::{body::Body, http::StatusCode};
use sqlx::PgConnection;

use super::{App, Error, extract::Signed, upload::Piece};
use crate::{
    challenge::{
        Challenge,
        file::{self, Applied, How, Of, Parcel, Reach},
    },
    problem::Problem,
    storage::TempBlob,
    team::account::Account,
};

/// What becomes of a file.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    pub of: Of,
    /// Say what would change, and change nothing.
    pub dry_run: bool,
    /// Queue the entries that have no score by the rules and images as they are then.
    pub measure_again: bool,
    /// For the audit log; at most 2000 characters.
    pub reason: &'a str,
}

/// Bytes of a file, or of a zip with what it names.
pub fn most(app: &App) -> u64 {
    app.settings.results_bytes + app.settings.model_bytes
}

/// Streams a body to disk.
pub async fn take(app: &App, body: Body) -> Result<TempBlob, Error> {
    let most = most(app);
    let mut piece = Piece::open(body, most);
    let mut writer = app.storage.writer(most).await?;
    while let Some(chunk) = piece.next().await? {
        writer.write(&chunk).await?;
    }
    Ok(writer.finish().await?)
}

/// Opens what was sent, and lies at `path`.
pub async fn open(app: &App, path: &Path) -> Result<Parcel, Error> {
    file::open(&app.storage, path).await?.map_err(|problem| refused(vec![problem]))
}

pub async fn apply(app: &App, signed: &Signed, parcel: &Parcel, wish: Wish<'_>) -> Result<Applied, Error> {
    let done = apply_and_look(app, signed, parcel, wish, async |_: &mut PgConnection, _: &Challenge| ()).await?;
    Ok(done.0)
}

/// See [`file::apply_and_look`].
pub async fn apply_and_look<T>(
    app: &App,
    signed: &Signed,
    parcel: &Parcel,
    wish: Wish<'_>,
    look: impl AsyncFnOnce(&mut PgConnection, &Challenge) -> T,
) -> Result<(Applied, T), Error> {
    let Wish { of, dry_run, measure_again, reason } = wish;
    let reason = reason.trim();
    if reason.chars().count() > 2000 || reason.contains('\0') {
        let problem = Problem::new("bad_reason", "A reason has at most 2000 characters.").at("reason");
        return Err(Error::Refused(StatusCode::UNPROCESSABLE_ENTITY, problem));
    }
    let how = How { dry_run, measure_again, actor: &signed.actor(), reason, reach: reach(&signed.account), of };
    file::apply_and_look(&app.pool, &app.storage, &parcel.file, &parcel.source, how, look).await?.map_err(refused)
}

/// Which challenges and datasets somebody's file may name.
fn reach(account: &Account) -> Reach {
    if account.is_organizer { Reach::All } else { Reach::Only(account.organizes.clone()) }
}

fn refused(problems: Vec<Problem>) -> Error {
    let taken = problems.iter().all(|problem| problem.code == "slug_taken");
    Error::Problems(if taken { StatusCode::CONFLICT } else { StatusCode::UNPROCESSABLE_ENTITY }, problems)
}
