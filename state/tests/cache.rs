//! The cache that outlives blocks: what it keeps, what goes, and many threads at once.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use counterpoint_state::Cache;

/// What each of many threads does.
const STEPS: u64 = if cfg!(miri) { 200 } else { 40_000 };

#[test]
fn what_was_added_is_found_from_its_moment_on() {
    let cache = Cache::new(1 << 16);
    cache.add(1, "first", 0, 5);
    cache.add(1, "second", 0, 6);
    assert_eq!([4, 5, 6].map(|moment| cache.get(&1, moment)), [None, Some("first"), Some("first")]);
    cache.remove(&1);
    cache.add(1, "third", 0, 7);
    assert_eq!([6, 7].map(|moment| cache.get(&1, moment)), [None, Some("third")]);
    assert_eq!((cache.len(), cache.evicted()), (1, 0));
}

#[test]
#[cfg_attr(miri, ignore = "takes too long there")]
fn what_is_large_takes_more_of_the_budget() {
    let cache = Cache::new(1 << 20);
    (0..1_000).for_each(|key| cache.add(key, (), 10_000, 1));
    assert!((90..=104).contains(&cache.len()), "{}", cache.len());
    // What was used at this moment stays.
    assert_eq!(cache.evicted(), 0);
    cache.add(1_000, (), 2 << 20, 2);
    assert_eq!((cache.get(&1_000, 2), cache.evicted()), (None, 0), "larger than all there is");
    cache.add(1_001, (), 500_000, 2);
    assert_eq!(cache.get(&1_001, 2), Some(()));
    assert!(cache.evicted() >= 40 && cache.bytes() <= 1 << 20, "{} evicted", cache.evicted());
}

#[test]
#[cfg_attr(miri, ignore = "takes too long there")]
fn what_was_not_used_for_the_longest_time_goes() {
    let cache = Cache::new(1 << 18);
    (0..1_000).for_each(|key: u64| cache.add(key, key, 0, 1));
    // Ten are used all the time, the others never again.
    for moment in 2..1_000 {
        (0..10).for_each(|key| assert_eq!(cache.get(&key, moment), Some(key), "at {moment}"));
        (0..30).for_each(|key| cache.add(moment * 1_000 + key, key, 0, moment));
    }
    assert!(cache.evicted() > 20_000, "{}", cache.evicted());
    assert!(cache.len() > 1_000 && cache.bytes() <= 1 << 18, "{} of {} bytes", cache.len(), cache.bytes());
}

#[test]
fn nothing_is_kept_without_a_budget() {
    let cache = Cache::new(0);
    cache.add(1, (), 0, 1);
    assert!(cache.is_empty());
}

#[test]
#[cfg_attr(miri, ignore = "takes too long there")]
fn what_goes_is_freed() {
    let value = Arc::new(());
    {
        let cache = Cache::new(1 << 14);
        (0..10_000).for_each(|key| cache.add(key, Arc::clone(&value), 0, key));
        assert!(cache.evicted() > 9_000);
        cache.retain(|key| key % 2 == 0);
        assert!(Arc::strong_count(&value) > cache.len() && !cache.is_empty());
    }
    assert!(before_long(|| Arc::strong_count(&value) == 1), "{} are left", Arc::strong_count(&value));
}

/// The collector frees what was let go when later batches come, and when no thread reads any more that did then.
fn before_long(what: impl Fn() -> bool) -> bool {
    for _ in 0..10_000 {
        if what() {
            return true;
        }
        crossbeam_epoch::pin().flush();
        thread::sleep(Duration::from_millis(1));
    }
    false
}

#[test]
fn many_threads_find_what_they_added_or_nothing() {
    /// A value that says whether it is still there.
    #[derive(Clone)]
    struct Value(u64, Arc<u64>);
    let cache = Cache::new(1 << 15);
    let (found, made) = (AtomicUsize::new(0), AtomicU64::new(0));
    let some: Vec<Weak<u64>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8u64)
            .map(|seed| {
                let (cache, found, made) = (&cache, &found, &made);
                scope.spawn(move || {
                    let mut random = seed;
                    let mut some = Vec::new();
                    for step in 0..STEPS {
                        random = random
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1_442_695_040_888_963_407);
                        let (key, moment) = ((random >> 40) % 400, step / 100 + 1);
                        match (random >> 33) % 8 {
                            0..4 => {
                                if let Some(Value(of, number)) = cache.get(&key, moment) {
                                    assert_eq!((of, *number), (key, key * 7));
                                    found.fetch_add(1, Ordering::Relaxed);
                                }
                            }
                            4..7 => {
                                let number = Arc::new(key * 7);
                                some.push(Arc::downgrade(&number));
                                made.fetch_add(1, Ordering::Relaxed);
                                cache.add(key, Value(key, number), (random >> 50) as usize % 300, moment);
                            }
                            _ => cache.remove(&key),
                        }
                    }
                    some
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it does not panic")).collect()
    });
    assert!(cfg!(miri) || found.into_inner() > 10_000 && cache.len() > 10);
    assert!(cache.bytes() <= 1 << 15, "{} bytes", cache.bytes());
    let live = || some.iter().filter(|value| value.strong_count() > 0).count();
    assert!(live() >= cache.len());
    cache.retain(|_| false);
    assert_eq!((cache.len(), cache.bytes()), (0, 0));
    drop(cache);
    assert!(before_long(|| live() == 0), "{} of {} are left", live(), made.into_inner());
}
