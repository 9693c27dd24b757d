//! Whether more than one worker is worth it: for a block, and for what is left of it after its first transactions.

use std::time::{Duration, Instant};

use counterpoint_actors::Chaos;
use revm::{context::TxEnv, primitives::Address};

/// A block whose gas limits sum up to less than this is not worth waking another worker for, in gas.
const WORTH_HELP: u64 = 200_000;

/// Transactions run one after the other for so long before the others are called in: whoever is done by then has
/// been spared the cost of that.
const ALONE: Duration = Duration::from_micros(40);

/// A block whose gas limits sum up to this, in gas, and that has so many transactions, is shared from the start: it
/// takes long enough.
const LARGE: (u64, usize) = (15_000_000, 16);

/// What is left after that has to take about this long to be worth the cost, for few workers and for many, who spare more.
const WORTH_SHARING: Duration = Duration::from_micros(1_500);
const WORTH_SHARING_AMONG_MANY: Duration = Duration::from_micros(600);

/// A plain transfer takes about so much less here than a contract's transaction of the same gas: it counts as so much gas.
const PLAIN: u64 = 2_000;

/// A block of which plain transfers take more than this share leaves nothing to share to few workers, in percent: handing a
/// transfer out costs as much as executing it.
const MOSTLY: u64 = 60;

/// So many workers gain from sharing transfers, and from guesses.
const MANY: usize = 4;

/// A sender whose transactions have more than this share of the gas limits leaves nothing to the others, in percent.
const CHAIN: u128 = 75;

/// What to do with a block, and what is known of it.
#[derive(Debug)]
pub(crate) struct Plan {
    begin: Instant,
    /// Gas limits of the transactions that have not been executed, summed up.
    left: u64,
    done: u64,
    may_share: bool,
    is_large: bool,
    /// What is left has to take this long.
    worth: Duration,
    /// From which transaction on to share, if that is settled.
    from: Option<usize>,
    /// And not before this time.
    earliest: Option<Instant>,
}

impl Plan {
    /// Shares from the transaction at `index` on, or as soon after it as possible.
    pub(crate) fn sharing_from(index: usize) -> Self {
        Self {
            begin: Instant::now(),
            left: 0,
            done: 0,
            may_share: true,
            is_large: false,
            worth: WORTH_SHARING,
            from: Some(index),
            earliest: None,
        }
    }

    /// The plan for a block that so many workers may work on.
    pub(crate) fn new(transactions: &[TxEnv], workers: usize) -> Self {
        let left = transactions.iter().fold(0, |sum: u64, tx| sum.saturating_add(tx.gas_limit));
        let may_share = workers > 1
            && transactions.len() > 1
            && left >= WORTH_HELP
            && (workers >= MANY || !is_mostly_plain(transactions));
        Self {
            begin: Instant::now(),
            left,
            done: 0,
            may_share,
            is_large: left >= LARGE.0 && transactions.len() >= LARGE.1,
            worth: if workers < MANY { WORTH_SHARING } else { WORTH_SHARING_AMONG_MANY },
            from: None,
            earliest: None,
        }
    }

    /// What was done before the transaction at `index` cannot be a source for others: perhaps what is done before the next
    /// one can.
    pub(crate) fn put_off(&mut self, index: usize) {
        (self.may_share, self.from) = (true, Some(index + 1));
    }

    /// Whether the transactions from `index` on, counted from 0, are worth more than one worker. To be asked before
    /// each transaction. `known` is what some of them take whose gas says little of it.
    pub(crate) fn shares(
        &mut self,
        transactions: &[TxEnv],
        index: usize,
        known: impl FnOnce(&[TxEnv]) -> Duration,
    ) -> bool {
        if !self.may_share {
            return false;
        }
        if let Some(from) = self.from {
            return index >= from && self.earliest.is_none_or(|earliest| Instant::now() >= earliest);
        }
        if let Some(last) = index.checked_sub(1) {
            let limit = transactions[last].gas_limit;
            self.done = self.done.saturating_add(limit);
            self.left = self.left.saturating_sub(limit);
        }
        if self.is_large {
            self.may_share = false;
            return !is_chain(&transactions[index..]);
        }
        let elapsed = self.begin.elapsed();
        if elapsed < ALONE {
            return false;
        }
        // From here on it is decided.
        self.may_share = false;
        let rest = &transactions[index..];
        let expected = elapsed.as_nanos() * u128::from(self.left) / u128::from(self.done.max(1));
        rest.len() > 1 && expected + known(rest).as_nanos() >= self.worth.as_nanos() && !is_chain(rest)
    }
}

/// Whether so many workers share a block that one alone executes in this time.
#[cfg(feature = "cli")]
pub(crate) fn is_shared(transactions: &[TxEnv], workers: usize, alone: Duration) -> bool {
    let plan = Plan::new(transactions, workers);
    plan.may_share && (plan.is_large || alone >= ALONE + plan.worth) && !is_chain(transactions)
}

/// So many workers may guess more often at a transaction before it waits for the frontier: for them what is thrown away costs
/// less than what waits.
const GUESSES: (u32, u32) = (2, 4);

/// How often a transaction is executed ahead of the frontier, at most.
pub(crate) fn guesses(workers: usize) -> u32 {
    if workers < MANY { GUESSES.0 } else { GUESSES.1 }
}

/// Whether a sender's plain transfers are executed before the frontier arrives, each when the one before has been. Among few
/// workers that gains nothing: a guess costs as much as the transfer.
pub(crate) fn guesses_transfers(workers: usize) -> bool {
    workers >= MANY
}

/// Where parallel execution has not paid, so many transactions run one after the other before it is tried again, and for
/// at least so long: at first, and at most. Twice as many each time that it does not pay again.
const FIRST: (usize, Duration) = (128, Duration::from_micros(1_500));
const MOST: usize = 4_096;

/// When it is tried again, it is for so many transactions at first, and for more and more as long as that pays.
const TRIAL: usize = 512;

/// A stretch has at most so many: what is kept of each until its end outgrows the caches otherwise.
const LONGEST: usize = 4_096;

/// How serial and parallel stretches of a block follow each other.
#[derive(Debug)]
pub(crate) struct Stretches {
    alone: (usize, Duration),
    longest: usize,
    next: usize,
}

impl Stretches {
    /// Of a block; where it is not to be divided, its first stretch takes it to its end.
    pub(crate) fn new(divides: bool) -> Self {
        let longest = if divides { LONGEST } else { usize::MAX };
        Self { alone: FIRST, longest, next: longest }
    }

    /// Where the next parallel stretch ends that begins here.
    pub(crate) fn end(&self, done: usize, transactions: usize) -> usize {
        let left = transactions - done;
        // Not many, and then few.
        let equal = left.div_ceil(left.div_ceil(self.longest).max(1));
        done + self.next.min(equal)
    }

    /// The stretch came to its end, and paid: the next one is parallel too.
    pub(crate) fn paid(&mut self, done: usize) -> Plan {
        self.next = self.next.saturating_mul(4).min(self.longest);
        self.alone = FIRST;
        Plan::sharing_from(done)
    }

    /// It did not pay, which shows after so many transactions of the block.
    pub(crate) fn did_not_pay(&mut self, done: usize) -> Plan {
        let (transactions, time) = self.alone;
        self.alone = ((transactions * 2).min(MOST), (time * 2).min(FIRST.1 * (MOST / FIRST.0) as u32));
        self.next = TRIAL;
        Plan { earliest: Some(Instant::now() + time), ..Plan::sharing_from(done + transactions) }
    }

    /// Chaos: anything may come.
    pub(crate) fn by_chance(&mut self, done: usize, chaos: &Chaos) -> Plan {
        // A stretch's disorder always begins in the same way.
        for _ in 0..done % 61 {
            let _ = chaos.next();
        }
        self.next = 1 + (chaos.next() % 64) as usize;
        Plan::sharing_from(done + (chaos.next() % 4) as usize)
    }
}

/// Whether plain transfers take most of the time. A gas limit of 21,000 leaves room for nothing else.
fn is_mostly_plain(transactions: &[TxEnv]) -> bool {
    let (mut plain, mut all) = (0_u64, 0_u64);
    for tx in transactions {
        let is_plain = tx.gas_limit == 21_000 && tx.data.is_empty();
        let cost = if is_plain { PLAIN } else { tx.gas_limit };
        plain += if is_plain { cost } else { 0 };
        all = all.saturating_add(cost);
    }
    plain.saturating_mul(100) > all.saturating_mul(MOSTLY)
}

/// Whether one sender has nearly everything.
fn is_chain(transactions: &[TxEnv]) -> bool {
    // Who has more than half is what is left when each gas limit is set off against one of another sender.
    let (mut candidate, mut lead) = (Address::ZERO, 0_u128);
    for tx in transactions {
        let limit = u128::from(tx.gas_limit);
        if tx.caller == candidate {
            lead += limit;
        } else if lead >= limit {
            lead -= limit;
        } else {
            (candidate, lead) = (tx.caller, limit - lead);
        }
    }
    let sum = |transactions: &mut dyn Iterator<Item = &TxEnv>| -> u128 {
        transactions.map(|tx| u128::from(tx.gas_limit)).sum()
    };
    let all = sum(&mut transactions.iter());
    lead > 0 && sum(&mut transactions.iter().filter(|tx| tx.caller == candidate)) * 100 > all * CHAIN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(sender: u8, gas_limit: u64) -> TxEnv {
        TxEnv { caller: Address::repeat_byte(sender), gas_limit, ..TxEnv::default() }
    }

    #[test]
    fn small_blocks_and_single_workers_are_never_shared() {
        let small = [from(1, 60_000), from(2, 60_000)];
        assert!(!Plan::new(&small, 8).may_share);
        let large = [from(1, 1_000_000), from(2, 1_000_000)];
        assert!(!Plan::new(&large, 1).may_share);
        assert!(!Plan::new(&large[..1], 8).may_share);
        assert!(Plan::new(&large, 2).may_share);
    }

    fn nothing(_: &[TxEnv]) -> Duration {
        Duration::ZERO
    }

    #[test]
    fn what_is_known_to_take_long_is_shared() {
        let block: Vec<_> = (0..10).map(|sender| from(sender, 100_000)).collect();
        for (known, shares) in [(Duration::ZERO, false), (WORTH_SHARING, true)] {
            let mut plan = Plan::new(&block, 2);
            plan.begin -= ALONE;
            assert_eq!(plan.shares(&block, 5, |rest| known * u32::from(rest.len() == 5)), shares);
        }
    }

    #[test]
    fn many_workers_share_what_takes_less() {
        let block: Vec<_> = (0..10).map(|sender| from(sender, 100_000)).collect();
        for (workers, takes, shares) in [
            (MANY - 1, WORTH_SHARING_AMONG_MANY / 2, false),
            (MANY - 1, WORTH_SHARING, true),
            (MANY, WORTH_SHARING_AMONG_MANY / 2, true),
            (MANY, Duration::ZERO, false),
        ] {
            let mut plan = Plan::new(&block, workers);
            // A ninth of what is left by its gas: that takes 0.36 ms.
            plan.begin = Instant::now() - ALONE;
            assert_eq!(plan.shares(&block, 5, |_| takes), shares, "{workers} workers, {takes:?}");
        }
        assert!(guesses(MANY) > guesses(MANY - 1));
    }

    #[test]
    fn a_plan_is_made_once_and_goes_by_what_is_left() {
        let block: Vec<_> = (0..100).map(|sender| from(sender, 1_000_000)).collect();
        let mut plan = Plan::new(&block, 2);
        plan.begin -= Duration::from_millis(1);
        assert!(plan.shares(&block, 1, nothing), "99 transactions of about a millisecond each are left");
        let mut plan = Plan::new(&block, 2);
        plan.begin -= Duration::from_millis(1);
        assert!(!plan.shares(&block, 99, nothing), "a single one is left");
        assert!(!plan.shares(&block, 50, nothing), "it was decided before");
    }

    #[test]
    fn what_is_put_off_is_asked_again() {
        let block: Vec<_> = (0..100).map(|sender| from(sender, 1_000_000)).collect();
        let mut plan = Plan::sharing_from(3);
        assert!(plan.shares(&block, 3, nothing));
        plan.put_off(3);
        assert!(!plan.shares(&block, 3, nothing));
        assert!(plan.shares(&block, 4, nothing));
        plan.put_off(0);
        assert!(!plan.shares(&block, 0, nothing));
        assert!(plan.shares(&block, 1, nothing));
    }

    #[test]
    fn a_long_block_is_divided_into_equal_stretches() {
        let mut stretches = Stretches::new(true);
        assert_eq!(stretches.end(0, 4_096), 4_096);
        assert_eq!(stretches.end(0, 4_098), 2_049);
        assert_eq!(stretches.end(100, 4_200), 2_150);
        assert_eq!(stretches.end(7, 7), 7);
        let _ = stretches.did_not_pay(1_000);
        assert_eq!(stretches.end(1_000, 10_000), 1_000 + TRIAL);
        for _ in 0..40 {
            let _ = stretches.paid(2_000);
        }
        assert_eq!(stretches.end(2_000, 10_192), 2_000 + LONGEST);
        assert_eq!(Stretches::new(false).end(5, 1_000_000), 1_000_000);
    }

    #[test]
    fn a_chain_is_left_alone() {
        let mut block: Vec<_> = (0..100).map(|_| from(1, 100_000)).collect();
        assert!(is_chain(&block));
        block.extend((2..50).map(|sender| from(sender, 100_000)));
        assert!(!is_chain(&block));
    }
}
