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

/// It pays if at least this share of them neither waited nor was executed again, in percent.
const UNTROUBLED: u32 = 25;

/// One transaction of so many is timed.
const TIMED: u32 = 4;

/// So many timed transactions are looked at together.
const TIMED_SAMPLE: u32 = 32;

/// It pays if executing the transactions takes at least this share of the time that goes by, in percent, on one worker
/// as on all. More than 100, since the same transactions take less where there are no cells.
const BUSY: u128 = 125;

/// What became of the transactions that were begun ahead. Belongs to who drains the frontier.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    watches: Watches,
    untroubled: u32,
    troubled: u32,
    timed: u32,
    took: Duration,
    since: Option<Instant>,
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

    /// Whether this is one of them.
    pub(crate) fn times(index: u32) -> bool {
        index.is_multiple_of(TIMED)
    }

    /// A transaction is final, whose last incarnation took so long, if it was timed. Returns whether to stop.
    pub(crate) fn committed(&mut self, course: Course, took: Duration, chaos: Option<&Chaos>) -> bool {
        match self.watches {
            Watches::Nothing => false,
            Watches::Chance => chaos.is_some_and(|chaos| chaos.one_in(24)),
            // Both, so that both go on counting.
            Watches::All => self.is_troubled(course) | (!took.is_zero() && self.is_idle(took)),
        }
    }

    fn is_troubled(&mut self, course: Course) -> bool {
        match course {
            Course::AtTheFrontier => return false,
            Course::Untroubled => self.untroubled += 1,
            Course::Troubled => self.troubled += 1,
        }
        let all = self.untroubled + self.troubled;
        if all < SAMPLE {
            return false;
        }
        let pays = self.untroubled * 100 >= all * UNTROUBLED;
        (self.untroubled, self.troubled) = (0, 0);
        !pays
    }

    fn is_idle(&mut self, took: Duration) -> bool {
        let Some(since) = self.since else {
            self.since = Some(Instant::now());
            return false;
        };
        self.timed += 1;
        self.took += took;
        if self.timed < TIMED_SAMPLE {
            return false;
        }
        let now = Instant::now();
        let passed = now - since;
        self.since = Some(now);
        let busy = self.took.as_nanos() * u128::from(TIMED) * 100;
        if std::env::var_os("CP_DEBUG").is_some() {
            eprintln!("busy {}", busy / passed.as_nanos().max(1));
        }
        (self.timed, self.took) = (0, Duration::ZERO);
        busy < passed.as_nanos() * BUSY && std::env::var_os("CP_HALT").is_some()
    }
}
