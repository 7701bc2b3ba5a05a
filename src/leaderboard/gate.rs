//! The gate of a phase, and the machines behind its scores.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::GateView;
use crate::{
    challenge::phase::{GateSource, Phase},
    figures,
    scoring::{Gate, GateState},
};

/// Where the gate of a phase stands, as of `phase.as_of`.
pub async fn gate(conn: &mut PgConnection, phase: &Phase) -> sqlx::Result<GateState> {
    gate_at(conn, phase, phase.as_of).await
}

/// Where it stood at a time, by the rules of `phase`; `None`: now.
pub(super) async fn gate_at(
    conn: &mut PgConnection,
    phase: &Phase,
    at: Option<DateTime<Utc>>,
) -> sqlx::Result<GateState> {
    let comparison = phase.protocol.rules.gate;
    let figure = match phase.gate_source() {
        GateSource::Stated(figure) => Some(figure),
        GateSource::None => return Ok(GateState::None),
        // A gate that waits for its baseline is no open gate.
        GateSource::Baseline(None) => None,
        GateSource::Baseline(Some(baseline)) => {
            sqlx::query_scalar!(
                "select c.psnr from evaluation e join score c on c.evaluation_id = e.id
                 where e.submission_id = $1 and e.state = 'scored' and e.official
                   and e.protocol_id in (select id from protocol where measuring_sha256 = $2)
                   and e.dataset_id = $3
                   and ($4::timestamptz is null or evaluation_counted_by(e, $4))
                 order by e.number desc limit 1",
                baseline.0,
                phase.protocol.measuring_sha256,
                phase.dataset.0,
                at
            )
            .fetch_optional(conn)
            .await?
        }
    };
    Ok(figure.map_or(GateState::Pending, |figure| GateState::At(Gate { figure, comparison })))
}

/// The gate of a phase as pages print it.
pub async fn gate_view(conn: &mut PgConnection, phase: &Phase) -> sqlx::Result<Option<GateView>> {
    Ok(view_of(gate(conn, phase).await?, phase))
}

pub(super) fn view_of(gate: GateState, phase: &Phase) -> Option<GateView> {
    let psnr = match gate {
        GateState::None => return None,
        GateState::Pending => None,
        GateState::At(gate) => Some(figures::of_set(gate.figure)),
    };
    let follows_baseline = phase.gate.stated.is_none();
    Some(GateView { psnr, comparison: phase.protocol.rules.gate, follows_baseline })
}

/// The machines that measured the phase's present scores, by name: more than one, and only ratios compare.
pub async fn devices(conn: &mut PgConnection, phase: &Phase) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"select distinct c.provenance ->> 'device_name' as "name!"
           from score c join evaluation e on e.id = c.evaluation_id join submission s on s.id = e.submission_id
           where s.phase_id = $1 and (s.withdrawn_at is null or s.withdrawn_at > $4) and e.official
             and e.protocol_id in (select id from protocol where measuring_sha256 = $2) and e.dataset_id = $3
             and ($4::timestamptz is null or evaluation_counted_by(e, $4))
           order by 1"#,
        phase.id.0,
        phase.protocol.measuring_sha256,
        phase.dataset.0,
        phase.as_of
    )
    .fetch_all(conn)
    .await
}
