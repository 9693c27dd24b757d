//! Cells on real threads, in rounds small enough for Miri: what loom does not see is plain memory and pointers.
#![cfg(not(loom))]

use std::{sync::Barrier, thread};

use counterpoint_state::{
    Arena, Base, Chain, Failure, Fields, Known, Reader, Readers, SourceError, Version, Waiter,
};

const ROUNDS: usize = if cfg!(miri) { 4 } else { 400 };

#[test]
fn several_threads_insert_into_one_chain() {
    const THREADS: u32 = 3;
    const LAST: u32 = if cfg!(miri) { 12 } else { 300 };
    let mut arenas: [Arena; THREADS as usize] = Default::default();
    let chain: Chain<'_, u64> = Chain::new();
    thread::scope(|scope| {
        for (thread, arena) in (0..THREADS).zip(&mut arenas) {
            let chain = &chain;
            scope.spawn(move || {
                let arena: &Arena = arena;
                for index in (1..=LAST).filter(|index| index % THREADS == thread) {
                    let value = arena.alloc(u64::from(index) * 7);
                    let displaced = chain.entry(index, arena).publish(value);
                    assert!(displaced.changed);
                    // What is there meanwhile is in order, and whole.
                    let mut above = u32::MAX;
                    for entry in chain.below(u32::MAX) {
                        let at = entry.common().index();
                        assert!(at < above, "{at} comes after {above}");
                        above = at;
                        if let Version::Value(value) = entry.read() {
                            assert_eq!(*value, u64::from(at) * 7);
                        }
                    }
                }
            });
        }
    });
    let found: Vec<_> = chain.below(u32::MAX).map(|entry| entry.common().index()).collect();
    assert!(found.into_iter().eq((1..=LAST).rev()), "each index has one entry");
}

#[test]
fn who_waits_is_woken_or_sees_that_there_is_nothing_to_wait_for() {
    for _ in 0..ROUNDS {
        let mut arenas: [Arena; 3] = Default::default();
        let chain: Chain<'_, u64> = Chain::new();
        let [owner, waiters @ ..] = &mut arenas;
        let owner: &Arena = owner;
        let entry = chain.entry(1, owner);
        entry.common().estimate();
        let value = owner.alloc(5);
        let start = Barrier::new(3);
        thread::scope(|scope| {
            let waiting: Vec<_> = (2..)
                .zip(waiters)
                .map(|(index, arena)| {
                    let start = &start;
                    scope.spawn(move || {
                        let waiter = arena.alloc(Waiter::new(index, index + 10));
                        start.wait();
                        let waits = entry.common().waiting().wait(waiter);
                        if !waits {
                            assert!(matches!(entry.read(), Version::Value(5)));
                        }
                        (index, waits)
                    })
                })
                .collect();
            start.wait();
            let mut woken: Vec<_> = entry.publish(value).waiters.map(|w| (w.index, w.ticket)).collect();
            woken.sort_unstable();
            let waited: Vec<_> = waiting
                .into_iter()
                .map(|thread| thread.join().expect("nothing panicked"))
                .filter_map(|(index, waits)| waits.then_some((index, index + 10)))
                .collect();
            assert_eq!(woken, waited);
        });
    }
}

#[test]
fn a_reader_is_found_or_sees_the_write() {
    for _ in 0..ROUNDS {
        let mut arenas: [Arena; 2] = Default::default();
        let chain: Chain<'_, u64> = Chain::new();
        let readers = Readers::new();
        let [writer, reader] = &mut arenas;
        let start = Barrier::new(2);
        let (chain, readers, start) = (&chain, &readers, &start);
        thread::scope(|scope| {
            let sees = scope.spawn(move || {
                let arena: &Arena = reader;
                start.wait();
                let look = || chain.below(2).any(|entry| matches!(entry.read(), Version::Value(9)));
                let first = look();
                readers.register(arena.alloc(Reader::new(2, 0, 0, Fields::SLOT)));
                // Either look found it: then the reader does not rely on what was before.
                first || look()
            });
            let arena: &Arena = writer;
            start.wait();
            assert!(chain.entry(1, arena).publish(arena.alloc(9)).changed);
            let mut found = false;
            readers.affected(1, Fields::SLOT, |reader| {
                assert_eq!((reader.index, reader.incarnation), (2, 0));
                found = true;
                false
            });
            assert!(
                sees.join().expect("nothing panicked") || found,
                "the reader is misled, and nobody knows"
            );
        });
    }
}

#[test]
fn a_source_is_asked_once_and_whoever_waits_is_woken() {
    for _ in 0..ROUNDS {
        let mut arenas: [Arena; 3] = Default::default();
        let [owner, askers @ ..] = &mut arenas;
        let owner: &Arena = owner;
        let base: &Base<'_, u64> = owner.alloc(Base::default());
        let start = Barrier::new(3);
        thread::scope(|scope| {
            let asking: Vec<_> = (1..)
                .zip(askers)
                .map(|(index, arena)| {
                    let start = &start;
                    scope.spawn(move || {
                        let waiter = arena.alloc(Waiter::new(index, index + 10));
                        start.wait();
                        let asks = base.ask();
                        let waits = matches!(base.known(), Known::Asked(word) if word.wait(waiter));
                        assert!(waits || base.get() == Some(&5));
                        (asks, waits)
                    })
                })
                .collect();
            start.wait();
            while !matches!(base.known(), Known::Asked(_)) {
                thread::yield_now();
            }
            let woken = base.set(owner.alloc(5)).count();
            let (asked, waited): (Vec<_>, Vec<_>) =
                asking.into_iter().map(|thread| thread.join().expect("nothing panicked")).unzip();
            assert_eq!(asked.iter().filter(|asks| **asks).count(), 1);
            assert_eq!(waited.iter().filter(|waits| **waits).count(), woken);
        });
        let failed: &Base<'_, u64> = owner.alloc(Base::default());
        assert!(failed.ask());
        let failure = owner.alloc_owned(Failure(SourceError::new("broken")));
        assert_eq!(failed.fail(failure).count(), 0);
        assert!(matches!(failed.known(), Known::Failed(error) if error.0.to_string() == "broken"));
    }
}
