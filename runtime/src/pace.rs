//! Whether executing a block in parallel pays, as it goes.
//!
//! Where every transaction waits for the one before it, or is executed again because of it, execution ahead only moves
//! a serial chain from core to core, and costs more than one worker alone. What was begun ahead is counted as it
//! becomes final, and what executing took is set against the time that went by. Where it does not pay, the workers
//! stop, and transactions run one after the other for a while (`plan.rs` says for how long).

use std::time::{Duration, Instant};

use counterpoint_actors::Chaos;

/// So many transactions that began ahead are looked at together.
const SAMPLE: u32 = 24;

/// Long ones are looked at sooner: so many of which none went well, if that took at least so long.
const FEW: (u32, Duration) = (3, Duration::from_millis(1));

/// It pays if at least this share of them neither waited nor was executed again, in percent.
const UNTROUBLED: u32 = 12;

/// The clock is looked at once in so many transactions, and what was done is summed up when at least so much time has
/// passed.
const LOOK: u32 = 32;
const STRETCH: Duration = Duration::from_millis(2);

/// It pays if executing the transactions takes at least this share of the time that goes by, in percent, on one worker
/// as on all. More than 100, since the same transactions take less where there are no cells.
const BUSY: u128 = 112;

/// It does not pay if that is missed so often in a row, and in so large a part of the times that it was met before: who
/// has gained from it for long does not stop for a moment in which the machine was busy with something else.
const IDLE: u32 = 2;
const OF_MET: u32 = 8;

/// What became of the transactions that were begun ahead. Belongs to who drains the frontier.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    watches: Watches,
    untroubled: u32,
    troubled: u32,
    committed: u32,
    /// When the first of the troubled was final.
    trouble: Option<Instant>,
    /// When what was done was summed up last, and the nanoseconds of useful work by then.
    since: Option<(Instant, u64)>,
    idle: u32,
    /// How often that was enough.
    met: u32,
}

/// What the workers have done so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// Of execution that was not in vain, modulo 2^64.
    pub(crate) nanoseconds: u64,
    /// Whether several of the next transactions wait for nothing but the frontier: to stop would throw them away.
    pub(crate) ahead: bool,
}

/// What the pace goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Watches {
    /// Nothing: it never stops.
    #[default]
    Nothing,
    /// What is counted and timed.
    All,
    /// Chaos: chance.
    Chance,
}

/// How a transaction that is final now was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// When the frontier had arrived.
    AtTheFrontier,
    /// Ahead of it, without waiting and once.
    Untroubled,
    /// Ahead of it, but it waited or was executed again.
    Troubled,
}

impl Pace {
    /// A stretch of parallel execution begins.
    pub(crate) fn begin(&mut self, watches: Watches) {
        *self = Self { watches, ..Self::default() };
    }

    /// Whether some transactions are timed.
    pub(crate) fn is_timed(&self) -> bool {
        self.watches == Watches::All
    }

    /// A transaction is final. Returns whether to stop. `would_lose`: whether that throws away more than it spares.
    pub(crate) fn committed(
        &mut self,
        course: Course,
        chaos: Option<&Chaos>,
        work: impl Fn() -> Work,
        would_lose: impl FnOnce() -> bool,
    ) -> bool {
        match self.watches {
            Watches::Nothing => false,
            Watches::Chance => chaos.is_some_and(|chaos| chaos.one_in(12)),
            // Both, so that both go on counting.
            Watches::All => (self.is_troubled(course, &work) | self.is_idle(&work)) && !would_lose(),
        }
    }

    fn is_troubled(&mut self, course: Course, work: impl FnOnce() -> Work) -> bool {
        match course {
            Course::AtTheFrontier => return false,
            Course::Untroubled => self.untroubled += 1,
            Course::Troubled => self.troubled += 1,
        }
        let all = self.untroubled + self.troubled;
        if all < SAMPLE {
            return self.untroubled == 0 && self.is_long_trouble() && !work().ahead;
        }
        let pays = self.untroubled * 100 >= all * UNTROUBLED;
        (self.untroubled, self.troubled, self.trouble) = (0, 0, None);
        !pays
    }

    /// Whether those in trouble, and so far all are, take long.
    fn is_long_trouble(&mut self) -> bool {
        let since = *self.trouble.get_or_insert_with(Instant::now);
        self.troubled >= FEW.0 && since.elapsed() >= FEW.1
    }

    fn is_idle(&mut self, work: impl FnOnce() -> Work) -> bool {
        self.committed += 1;
        if !self.committed.is_multiple_of(LOOK) {
            return false;
        }
        let now = Instant::now();
        let passed = self.since.map(|(since, _)| now - since);
        if passed.is_some_and(|passed| passed < STRETCH) {
            return false;
        }
        let work = work();
        let Some(((_, before), passed)) = self.since.replace((now, work.nanoseconds)).zip(passed) else {
            return false;
        };
        // Less than before, if much was done in vain.
        let done = work.nanoseconds.wrapping_sub(before).cast_signed().max(0).cast_unsigned();
        let is_idle = u128::from(done) * 100 < passed.as_nanos() * BUSY;
        if is_idle {
            self.idle += 1;
        } else {
            self.met += 1;
            self.idle = 0;
        }
        self.idle >= IDLE.max(self.met / OF_MET) && !work.ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Work = Work { nanoseconds: 0, ahead: false };

    fn watching() -> Pace {
        let mut pace = Pace::default();
        pace.begin(Watches::All);
        pace
    }

    #[test]
    fn a_chain_is_noticed_at_once() {
        let mut pace = watching();
        for _ in 1..SAMPLE {
            assert!(!pace.committed(Course::Troubled, None, || NOTHING, || false));
            assert!(!pace.committed(Course::AtTheFrontier, None, || NOTHING, || false));
        }
        assert!(pace.committed(Course::Troubled, None, || NOTHING, || false));
    }

    #[test]
    fn what_goes_well_goes_on() {
        let mut pace = watching();
        for number in 0..10_000 {
            let course = if number % 2 == 0 { Course::Untroubled } else { Course::Troubled };
            assert!(!pace.is_troubled(course, || NOTHING));
        }
    }

    #[test]
    fn it_goes_on_while_stopping_would_lose_more() {
        let mut pace = watching();
        for _ in 0..SAMPLE {
            assert!(!pace.committed(Course::Troubled, None, || NOTHING, || true));
        }
        let stops = (0..SAMPLE).any(|_| pace.committed(Course::Troubled, None, || NOTHING, || false));
        assert!(stops, "as soon as it would not");
    }

    #[test]
    fn a_chain_of_long_ones_is_noticed_soon() {
        let mut pace = watching();
        let ago = |pace: &mut Pace| pace.trouble = pace.trouble.map(|since| since - FEW.1);
        for _ in 1..FEW.0 {
            assert!(!pace.is_troubled(Course::Troubled, || NOTHING));
            ago(&mut pace);
        }
        assert!(pace.is_troubled(Course::Troubled, || NOTHING));
        let mut pace = watching();
        assert!(!pace.is_troubled(Course::Untroubled, || NOTHING));
        for _ in 0..FEW.0 {
            assert!(!pace.is_troubled(Course::Troubled, || NOTHING), "one went well");
            ago(&mut pace);
        }
    }

    #[test]
    fn a_troubled_start_does_not_throw_away_what_follows() {
        let mut pace = watching();
        let ahead = || Work { nanoseconds: 0, ahead: true };
        for _ in 0..FEW.0 + 3 {
            assert!(!pace.is_troubled(Course::Troubled, ahead));
            pace.trouble = pace.trouble.map(|since| since - FEW.1);
        }
        assert!(pace.is_troubled(Course::Troubled, || NOTHING));
    }

    #[test]
    fn who_has_gained_for_long_does_not_stop_for_a_moment() {
        let mut pace = watching();
        pace.met = 10 * OF_MET;
        assert_eq!(until_it_stops(&mut pace, 20, false), None);
        let mut pace = watching();
        assert!(until_it_stops(&mut pace, 50, false).is_some());
    }

    /// Commits so much work at a time, each of which takes a bit more than a stretch, until it stops.
    fn until_it_stops(pace: &mut Pace, share: u128, ahead: bool) -> Option<u32> {
        let nanoseconds = u64::try_from(STRETCH.as_nanos() * share / 100).unwrap();
        let mut work = Work { nanoseconds: u64::MAX - 10, ahead };
        for stretch in 0..5 {
            for _ in 0..LOOK {
                if pace.is_idle(|| work) {
                    return Some(stretch);
                }
            }
            let (since, _) = pace.since.as_mut().unwrap();
            // As if the time had passed.
            *since -= STRETCH;
            work.nanoseconds = work.nanoseconds.wrapping_add(nanoseconds);
        }
        None
    }

    #[test]
    fn idle_workers_are_noticed_unless_there_is_something_to_lose() {
        assert_eq!(until_it_stops(&mut watching(), 20, false), Some(IDLE));
        assert_eq!(until_it_stops(&mut watching(), 20, true), None);
        // Time goes by in the test, too: far more than is needed.
        assert_eq!(until_it_stops(&mut watching(), 100 * BUSY, false), None);
    }

    #[test]
    fn what_was_done_in_vain_is_less_than_nothing() {
        let mut pace = watching();
        let mut work = Work { nanoseconds: 1_000_000, ahead: false };
        let mut stops = false;
        for _ in 0..3 * LOOK {
            stops |= pace.is_idle(|| work);
            if let Some((since, _)) = &mut pace.since {
                *since -= STRETCH;
            }
            work.nanoseconds = work.nanoseconds.saturating_sub(100_000);
        }
        assert!(stops);
    }

    #[test]
    fn nobody_stops_who_does_not_watch() {
        let mut pace = Pace::default();
        for _ in 0..1_000 {
            assert!(!pace.committed(Course::Troubled, None, || NOTHING, || false));
        }
    }
}
