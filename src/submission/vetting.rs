//! Whose turn it is to have an entry vetted, and how much memory vetting may take: a model is read whole, so that a few small
//! requests that name large uploads could else take all there is.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedMutexGuard, Semaphore, SemaphorePermit};

use crate::{challenge::dataset::Dataset, ids::TeamId};

const MIB: u64 = 1 << 20;
/// Memory of all vetting in this process, MiB: three usual entries at once beside a server that takes about 100. One that needs
/// more than this alone waits for the others and runs by itself.
const BUDGET: u32 = 320;

/// How large a vetted model is in memory, as a multiple of its file: its bytes, and what is decoded from or merged of them.
const MODEL_COPIES: u64 = 2;
/// Images of a results zip that are decoded at once, each beside its packed bytes.
const IMAGES: u64 = 4;

static VETTING: LazyLock<Budget> = LazyLock::new(|| Budget::new(BUDGET));
static TEAMS: LazyLock<Mutex<HashMap<TeamId, Weak<tokio::sync::Mutex<()>>>>> = LazyLock::new(Mutex::default);

/// Memory that work of one kind may take, in MiB.
struct Budget {
    whole: u32,
    left: Semaphore,
}

/// Memory that is set aside, until it is dropped.
pub struct Share<'a>(#[allow(dead_code, reason = "given back when dropped")] SemaphorePermit<'a>);

impl Budget {
    fn new(whole: u32) -> Budget {
        Budget { whole, left: Semaphore::new(whole as usize) }
    }

    /// Waits for so many bytes, in the order of those who wait; never for more than there is.
    async fn take(&self, bytes: u64) -> anyhow::Result<Share<'_>> {
        let wanted = u32::try_from(bytes.div_ceil(MIB)).unwrap_or(u32::MAX).clamp(1, self.whole);
        Ok(Share(self.left.acquire_many(wanted).await?))
    }

    fn taken(&self) -> u64 {
        (u64::from(self.whole) - self.left.available_permits() as u64) * MIB
    }
}

/// Bytes that vetting a model alone may take.
pub fn of_model(bytes: u64) -> u64 {
    bytes.saturating_mul(MODEL_COPIES)
}

/// Bytes that vetting an entry may take.
pub fn of_entry(model_bytes: u64, dataset: &Dataset) -> u64 {
    let largest = dataset.images.iter().map(|i| u64::from(i.hr_size[0]) * u64::from(i.hr_size[1]) * 3).max();
    of_model(model_bytes).saturating_add(largest.unwrap_or(0).saturating_mul(2 * IMAGES))
}

/// Sets memory aside for vetting. Ask while no connection and no lock of others is held.
pub async fn share(bytes: u64) -> anyhow::Result<Share<'static>> {
    VETTING.take(bytes).await
}

/// Bytes that are set aside now.
pub fn in_flight() -> u64 {
    VETTING.taken()
}

/// The team's turn: one entry of a team is read, vetted and accepted at a time, the others wait in their order.
pub async fn turn(team: TeamId) -> OwnedMutexGuard<()> {
    let turns = {
        let mut teams = TEAMS.lock().unwrap_or_else(PoisonError::into_inner);
        teams.retain(|_, turns| turns.strong_count() > 0);
        let known = teams.get(&team).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let turns = Arc::default();
            teams.insert(team, Arc::downgrade(&turns));
            turns
        })
    };
    turns.lock_owned().await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_budget_is_never_exceeded_and_the_largest_runs_alone() {
        let budget = Budget::new(10);
        let small = budget.take(4 * MIB).await.expect("a share");
        let other = budget.take(3 * MIB + 1).await.expect("a share");
        assert_eq!(budget.taken(), 8 * MIB);
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, budget.take(100 * MIB)).await.is_err(), "it waits for the others");
        drop((small, other));
        let large = budget.take(100 * MIB).await.expect("a share");
        assert!(tokio::time::timeout(soon, budget.take(1)).await.is_err(), "it is alone");
        drop(large);
        assert_eq!(budget.taken(), 0);
    }

    #[tokio::test]
    async fn a_team_has_one_turn_at_a_time() {
        let (a, b) = (TeamId::new(), TeamId::new());
        let first = turn(a).await;
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, turn(a)).await.is_err());
        drop(turn(b).await);
        drop(first);
        drop(turn(a).await);
    }
}
