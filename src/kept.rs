//! Values that many ask for and one makes: whoever asks meanwhile waits for it, so that many cost no more than one. The wait
//! holds nothing: `make` takes its connection itself, when it is its turn.

use std::{
    hash::Hash,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use lru::LruCache;

type Slot<V> = Arc<tokio::sync::Mutex<Option<V>>>;

/// At most so many values; those that were asked for last stay.
pub struct Kept<K: Eq + Hash, V>(Mutex<LruCache<K, Slot<V>>>);

impl<K: Eq + Hash, V: Clone> Kept<K, V> {
    pub fn new(most: NonZeroUsize) -> Kept<K, V> {
        Kept(Mutex::new(LruCache::new(most)))
    }

    /// The value that is kept, if it is good still; else what `make` makes, which is then kept. What fails is not kept, and the
    /// next who waits tries again.
    pub async fn get<E>(
        &self,
        key: K,
        good: impl FnOnce(&V) -> bool,
        make: impl Future<Output = Result<V, E>>,
    ) -> Result<V, E> {
        let slot = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(key, Slot::default).clone();
        let mut slot = slot.lock().await;
        if let Some(value) = slot.as_ref().filter(|value| good(value)) {
            return Ok(value.clone());
        }
        let value = make.await?;
        *slot = Some(value.clone());
        Ok(value)
    }
}

impl<K: Eq + Hash, V> std::fmt::Debug for Kept<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    const MOST: NonZeroUsize = NonZeroUsize::new(2).unwrap();

    #[tokio::test]
    async fn many_who_ask_cost_one_and_a_failure_is_not_kept() {
        let (kept, made) = (Kept::<u8, usize>::new(MOST), AtomicUsize::new(0));
        let make = || async {
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(made.fetch_add(1, Ordering::SeqCst))
        };
        let all = futures::future::join_all((0..20).map(|_| kept.get(1, |_| true, make()))).await;
        assert!(all.into_iter().all(|value| value == Ok(0)) && made.load(Ordering::SeqCst) == 1);
        assert_eq!(kept.get(1, |_| false, make()).await, Ok(1), "no longer good");
        assert_eq!(kept.get(2, |_| true, async { Err("no") }).await, Err("no"));
        assert_eq!(kept.get(2, |_| true, async { Ok::<_, Infallible>(9) }).await, Ok(9));
        kept.get(3, |_| true, make()).await.expect("made");
        assert_eq!(kept.get(1, |_| true, async { Ok::<_, Infallible>(77) }).await, Ok(77), "the oldest went");
    }
}
