//! What other rules would make of a board, before they are saved.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::{PgConnection, types::Json};
use utoipa::ToSchema;

use super::{Board, GateView, ranking};
use crate::{
    challenge::{
        phase::{GateRule, Phase},
        protocol::Rules,
    },
    ids::SubmissionId,
    queue,
    scoring::Reason,
};

/// A board under other rules, beside the present one.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Preview {
    /// `aim2020@1`: the present rules.
    pub protocol: String,
    /// The other rules measure as the present ones do: every score stands. If not, ranks cannot be told beforehand, and
    /// `changes` is empty.
    pub measured_alike: bool,
    /// Entries that would have to be measured again to be on the board.
    pub measure_again: i64,
    /// The gate that would be compared with.
    pub gate: Option<GateView>,
    /// Every team on either board, in the order of the new one.
    pub changes: Vec<Change>,
}

/// One team before and after.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Change {
    pub team: String,
    /// The entry that would stand.
    pub submission: SubmissionId,
    pub before: Stand,
    pub after: Stand,
}

/// Where a team stands: ranked, or not and why; neither: not on that board.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct Stand {
    pub rank: Option<u32>,
    pub reason: Option<Reason>,
}

impl Change {
    /// Whether the team's place is another. One that is ranked neither before nor after has none, whatever the reason says.
    pub fn moves(&self) -> bool {
        self.before.rank != self.after.rank
    }

    pub fn is_ranked(&self) -> bool {
        self.before.rank.is_some() || self.after.rank.is_some()
    }
}

/// What `rules` with this gate (dB, or a rule where there is no figure) would make of the phase's board.
pub async fn what_if(
    conn: &mut PgConnection,
    phase: &Phase,
    rules: &Rules,
    (gate_psnr, gate_rule): (Option<f64>, Option<GateRule>),
) -> anyhow::Result<Preview> {
    let measuring_sha256 =
        sqlx::query_scalar!(r#"select protocol_measuring_sha256($1) as "sha256!""#, Json(rules) as _)
            .fetch_one(&mut *conn)
            .await?;
    let mut supposed = phase.clone();
    supposed.protocol.rules = rules.clone();
    (supposed.gate.stated, supposed.gate.rule) = (gate_psnr, gate_rule);
    let measured_alike = measuring_sha256 == phase.protocol.measuring_sha256;
    supposed.protocol.measuring_sha256 = measuring_sha256;
    let measured_by = (supposed.protocol.measuring_sha256.as_str(), supposed.dataset);
    let measure_again = queue::unmeasured(conn, phase.id, measured_by, true).await?.len() as i64;
    let after = ranking(conn, &supposed).await?;
    let changes = match measured_alike {
        true => changes(&ranking(conn, phase).await?, &after),
        false => Vec::new(),
    };
    Ok(Preview { protocol: phase.protocol.name.clone(), measured_alike, measure_again, gate: after.gate, changes })
}

fn changes(before: &Board, after: &Board) -> Vec<Change> {
    let mut old: BTreeMap<_, _> = stands(before).map(|(team, at)| (team.0, (team.1, at))).collect();
    let mut changes: Vec<_> = stands(after)
        .map(|((id, team), (submission, after))| {
            let before = old.remove(&id).map(|(_, (_, stand))| stand).unwrap_or_default();
            Change { team: team.to_owned(), submission, before, after }
        })
        .collect();
    // A baseline that was an entry, or the other way round.
    changes.extend(old.into_values().map(|(team, (submission, before))| Change {
        team: team.to_owned(),
        submission,
        before,
        after: Stand::default(),
    }));
    changes
}

type At<'a> = ((crate::ids::TeamId, &'a str), (SubmissionId, Stand));

fn stands(board: &Board) -> impl Iterator<Item = At<'_>> {
    let ranked = board.ranked.iter().map(|r| {
        let stand = Stand { rank: Some(r.rank), reason: None };
        ((r.team_id, r.team.as_str()), (r.submission, stand))
    });
    let unranked = board.unranked.iter().map(|u| {
        let stand = Stand { rank: None, reason: Some(u.reason.clone()) };
        ((u.team_id, u.team.as_str()), (u.submission, stand))
    });
    ranked.chain(unranked)
}
