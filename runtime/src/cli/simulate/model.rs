//! The scheduler, played through event by event over recorded transactions.
//!
//! A worker takes the frontier's transaction, else the lowest that is ready, else one that takes long, else the next that
//! has not begun within the window. A transaction that reads what an earlier one has not written yet parks there, if that place is known to
//! be contended, if the earlier one has written it once and runs again, or if it runs a second time itself; else it
//! reads too early, is found out when the earlier one ends, and runs again, as does who has read from it. From the second
//! repetition on it waits for the frontier.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    time::Duration,
};

use super::record::Recorded;
use crate::{
    builder,
    longest::{LONG, MOST_LONG},
    plan,
};

/// What executing costs beside what plain revm takes, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Costs {
    /// For each transaction, on whatever worker. May be negative.
    pub each: f64,
    /// For each execution that does not happen at the frontier: fiber, readers, versions.
    pub speculative: f64,
    /// The same of a plain transfer, which needs no fiber.
    pub speculative_plain: f64,
    /// Before and after, on one worker.
    pub serial: f64,
    /// Before and after, where there are others to help.
    pub shared: f64,
}

/// What a simulated execution came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Simulated {
    /// From beginning to end, in seconds.
    pub time: f64,
    /// Executions of transactions.
    pub executions: usize,
    /// Times that a transaction was parked.
    pub parked: usize,
}

/// The time that each transaction takes at the frontier, in seconds.
fn times(transactions: &[Recorded], costs: &Costs) -> Vec<f64> {
    // No constant makes a transaction faster than a quarter of what revm alone takes.
    let time = |recorded: &Recorded| {
        let plain = recorded.time.as_secs_f64();
        (plain + costs.each).max(plain / 4.0)
    };
    transactions.iter().map(time).collect()
}

/// The longest chain of dependencies, in seconds: no number of workers is faster. What an earlier transaction
/// writes is there when it ends, and is needed when it is read.
pub fn critical_path(transactions: &[Recorded], costs: &Costs) -> f64 {
    let times = times(transactions, costs);
    let mut ends: Vec<f64> = Vec::with_capacity(times.len());
    for (recorded, time) in transactions.iter().zip(&times) {
        let after =
            |dependency: &super::record::Dependency| ends[dependency.on] + time * (1.0 - dependency.at);
        ends.push(recorded.dependencies.iter().map(after).fold(*time, f64::max));
    }
    costs.shared + ends.into_iter().fold(0.0, f64::max)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not begun; may wait for its sender's earlier one.
    Pending,
    Ready,
    Running,
    Parked,
    /// To run again when the frontier arrives.
    Deferred,
    Executed,
}

/// A moment in seconds, ordered.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Time(f64);

impl Eq for Time {}

impl PartialOrd for Time {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Time {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

struct Play<'a> {
    transactions: &'a [Recorded],
    times: Vec<f64>,
    speculative: (f64, f64),
    /// How many executions are speculative; later ones wait for the frontier.
    guesses: u32,
    guesses_transfers: bool,
    alone: bool,
    phases: Vec<Phase>,
    executions: Vec<u32>,
    /// Whether an execution is under way.
    begun: Vec<bool>,
    /// How far it has come: the dependencies that it has passed, and the part of its time.
    passed: Vec<(usize, f64)>,
    /// Whether a running or parked execution has read too early.
    invalid: Vec<bool>,
    /// Whether some execution has come to its end: the next one leaves estimates where that wrote.
    published: Vec<bool>,
    /// Who is parked for a transaction, and whom its next end misleads: who read before it wrote (with the slot), and
    /// who read what an earlier execution of it wrote.
    waiting: Vec<Vec<usize>>,
    misled: Vec<Vec<(usize, u32, Option<usize>)>>,
    contended: Vec<bool>,
    next_of_sender: Vec<Option<usize>>,
    ready: BTreeSet<usize>,
    /// Those that begin before their turn, the next one last.
    early: Vec<usize>,
    /// How many transactions above the frontier may begin.
    window: usize,
    next: usize,
    frontier: usize,
    events: BinaryHeap<Reverse<(Time, usize)>>,
    idle: usize,
    now: f64,
    result: Simulated,
}

/// Plays the block through on this many workers.
pub fn simulate(transactions: &[Recorded], costs: &Costs, workers: usize) -> Simulated {
    let count = transactions.len();
    let slots = transactions.iter().flat_map(|recorded| &recorded.dependencies).filter_map(|d| d.slot).max();
    let mut next_of_sender = vec![None; count];
    for (index, recorded) in transactions.iter().enumerate() {
        if let Some(previous) = recorded.previous_of_sender {
            next_of_sender[previous] = Some(index);
        }
    }
    let mut play = Play {
        transactions,
        times: times(transactions, costs),
        speculative: (costs.speculative, costs.speculative_plain),
        guesses: plan::guesses(workers),
        guesses_transfers: plan::guesses_transfers(workers),
        alone: workers <= 1,
        phases: vec![Phase::Pending; count],
        executions: vec![0; count],
        begun: vec![false; count],
        passed: vec![(0, 0.0); count],
        invalid: vec![false; count],
        published: vec![false; count],
        waiting: vec![Vec::new(); count],
        misled: vec![Vec::new(); count],
        contended: vec![false; slots.map_or(0, |most| most + 1)],
        next_of_sender,
        ready: BTreeSet::new(),
        early: if workers > 1 { early(transactions) } else { Vec::new() },
        window: builder::window(workers),
        next: 0,
        frontier: 0,
        events: BinaryHeap::new(),
        idle: workers.max(1),
        now: 0.0,
        result: Simulated::default(),
    };
    play.run();
    play.result.time = play.now + if workers <= 1 { costs.serial } else { costs.shared };
    play.result
}

/// Those that take a large part of the block's time, as the runtime knows from the second time on; the longest last.
fn early(transactions: &[Recorded]) -> Vec<usize> {
    let all: Duration = transactions.iter().map(|recorded| recorded.time).sum();
    let is_long = |index: &usize| {
        let recorded = &transactions[*index];
        recorded.previous_of_sender.is_none() && recorded.time * 100 >= all * LONG as u32
    };
    let mut long: Vec<usize> = (0..transactions.len()).filter(is_long).collect();
    long.sort_by_key(|index| (Reverse(transactions[*index].time), *index));
    long.truncate(MOST_LONG);
    long.reverse();
    long
}

impl Play<'_> {
    fn run(&mut self) {
        self.assign();
        while let Some(Reverse((Time(now), index))) = self.events.pop() {
            self.now = now;
            self.step(index);
            self.assign();
        }
        debug_assert_eq!(self.frontier, self.transactions.len());
    }

    /// Gives idle workers something to do.
    fn assign(&mut self) {
        while self.idle > 0 {
            let Some(index) = self.take() else { break };
            self.idle -= 1;
            self.phases[index] = Phase::Running;
            if self.begun[index] {
                self.schedule(index, 0.0);
            } else {
                self.begin(index);
            }
        }
    }

    fn begin(&mut self, index: usize) {
        self.executions[index] += 1;
        self.result.executions += 1;
        self.invalid[index] = false;
        self.begun[index] = true;
        self.passed[index] = (0, 0.0);
        let (call, plain) = self.speculative;
        let extra = match index == self.frontier {
            true => 0.0,
            false if self.transactions[index].plain => plain,
            false => call,
        };
        self.schedule(index, extra);
    }

    /// What a free worker takes.
    fn take(&mut self) -> Option<usize> {
        let count = self.transactions.len();
        if self.frontier < count
            && matches!(self.phases[self.frontier], Phase::Pending | Phase::Ready | Phase::Deferred)
        {
            self.ready.remove(&self.frontier);
            return Some(self.frontier);
        }
        if let Some(index) = self.ready.pop_first() {
            return Some(index);
        }
        while let Some(index) = self.early.pop() {
            if self.phases[index] == Phase::Pending {
                return Some(index);
            }
        }
        // One worker executes in order, and the frontier is always its next.
        while !self.alone && self.next < count && self.next <= self.frontier + self.window {
            let index = self.next;
            self.next += 1;
            if self.phases[index] == Phase::Pending && self.may_begin(index) {
                return Some(index);
            }
        }
        None
    }

    /// Whether the sender's earlier transaction lets this one begin.
    fn may_begin(&self, index: usize) -> bool {
        match self.transactions[index].previous_of_sender {
            // Among few workers, plain transfers of one sender wait for the frontier.
            Some(previous) => {
                self.phases[previous] == Phase::Executed
                    && (self.guesses_transfers || !self.transactions[index].plain)
            }
            None => true,
        }
    }

    /// Sets the next moment at which something happens to a running transaction.
    fn schedule(&mut self, index: usize, extra: f64) {
        let (passed, at) = self.passed[index];
        let until = self.transactions[index].dependencies.get(passed).map_or(1.0, |dependency| dependency.at);
        let left = (until - at).max(0.0) * self.times[index] + extra;
        self.events.push(Reverse((Time(self.now + left), index)));
    }

    fn step(&mut self, index: usize) {
        if self.invalid[index] {
            return self.again(index);
        }
        let (passed, at) = self.passed[index];
        let Some(dependency) = self.transactions[index].dependencies.get(passed).copied() else {
            return self.end(index);
        };
        let at = dependency.at.max(at);
        let there = self.phases[dependency.on] == Phase::Executed;
        let known = self.published[dependency.on] || dependency.slot.is_some_and(|slot| self.contended[slot]);
        if !there && (known || self.executions[index] > 1) {
            // It looks again at the same read when it goes on.
            self.passed[index] = (passed, at);
            self.waiting[dependency.on].push(index);
            self.phases[index] = Phase::Parked;
            self.result.parked += 1;
            self.idle += 1;
            return;
        }
        if dependency.on >= self.frontier {
            let slot = dependency.slot.filter(|_| !there);
            self.misled[dependency.on].push((index, self.executions[index], slot));
        }
        self.passed[index] = (passed + 1, at);
        self.schedule(index, 0.0);
    }

    /// An execution is of no use: the next one begins, or waits for the frontier.
    fn again(&mut self, index: usize) {
        self.begun[index] = false;
        if self.executions[index] >= self.guesses && index != self.frontier {
            self.phases[index] = Phase::Deferred;
            self.idle += 1;
        } else {
            self.begin(index);
        }
    }

    fn end(&mut self, index: usize) {
        self.phases[index] = Phase::Executed;
        self.published[index] = true;
        self.begun[index] = false;
        self.idle += 1;
        for waiter in std::mem::take(&mut self.waiting[index]) {
            if self.phases[waiter] == Phase::Parked {
                self.phases[waiter] = Phase::Ready;
                self.ready.insert(waiter);
            }
        }
        for (reader, execution, slot) in std::mem::take(&mut self.misled[index]) {
            if let Some(slot) = slot {
                self.contended[slot] = true;
            }
            if self.executions[reader] == execution {
                self.found_out(reader);
            }
        }
        if let Some(next) = self.next_of_sender[index]
            && self.phases[next] == Phase::Pending
            && next < self.next
            && (self.guesses_transfers || !self.transactions[next].plain)
        {
            self.phases[next] = Phase::Ready;
            self.ready.insert(next);
        }
        while self.frontier < self.transactions.len() && self.phases[self.frontier] == Phase::Executed {
            self.frontier += 1;
        }
    }

    /// A reader turns out to have read too early.
    fn found_out(&mut self, reader: usize) {
        match self.phases[reader] {
            Phase::Running => self.invalid[reader] = true,
            Phase::Parked | Phase::Ready | Phase::Executed => {
                self.begun[reader] = false;
                if self.executions[reader] >= self.guesses {
                    self.ready.remove(&reader);
                    self.phases[reader] = Phase::Deferred;
                } else {
                    self.phases[reader] = Phase::Ready;
                    self.ready.insert(reader);
                }
            }
            Phase::Pending | Phase::Deferred => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::simulate::record::Dependency;

    /// Transactions of a second each, which depend on others at some part of their time.
    fn block(dependencies: &[&[(f64, usize)]]) -> Vec<Recorded> {
        let recorded = |reads: &&[(f64, usize)]| Recorded {
            time: Duration::from_secs(1),
            dependencies: reads.iter().map(|&(at, on)| Dependency { at, on, slot: Some(0) }).collect(),
            previous_of_sender: None,
            plain: false,
        };
        dependencies.iter().map(recorded).collect()
    }

    fn time(block: &[Recorded], workers: usize) -> f64 {
        simulate(block, &Costs::default(), workers).time
    }

    #[test]
    fn what_is_independent_is_shared_out() {
        let block = block(&[&[][..]; 12]);
        for (workers, expected) in [(1, 12.0), (2, 6.0), (3, 4.0), (5, 3.0), (12, 1.0), (128, 1.0)] {
            assert_eq!(time(&block, workers), expected, "{workers}");
        }
        assert_eq!(critical_path(&block, &Costs::default()), 1.0);
    }

    #[test]
    fn one_worker_takes_the_sum_whatever_depends_on_what() {
        let chain = block(&[&[][..], &[(0.1, 0)], &[(0.5, 1)], &[(0.9, 2), (0.95, 0)]]);
        let simulated = simulate(&chain, &Costs::default(), 1);
        assert!((simulated.time - 4.0).abs() < 1e-9, "{simulated:?}");
        assert_eq!((simulated.executions, simulated.parked), (4, 0));
    }

    #[test]
    fn nothing_is_faster_than_the_critical_path_or_slower_than_in_order() {
        let chain = block(&[&[][..], &[(0.5, 0)], &[(0.5, 1)], &[(0.5, 2)], &[], &[(0.0, 4)]]);
        let limit = critical_path(&chain, &Costs::default());
        assert_eq!(limit, 2.5);
        for workers in 2..8 {
            let time = time(&chain, workers);
            assert!((limit..=6.0).contains(&time), "{workers}: {time}");
        }
    }

    #[test]
    fn who_reads_too_early_runs_again_and_the_place_is_learnt() {
        // The first pair is misled, those after it wait.
        let pairs = block(&[&[][..], &[(0.9, 0)], &[], &[(0.9, 2)]]);
        let simulated = simulate(&pairs, &Costs::default(), 2);
        assert_eq!(simulated.executions, 5);
        assert_eq!(simulated.parked, 0, "the second of the second pair begins when the first has ended");
        let late = block(&[&[][..], &[(0.1, 0)], &[(0.9, 0)]]);
        assert!(simulate(&late, &Costs::default(), 3).executions >= 4);
    }

    #[test]
    fn no_number_of_workers_is_faster_than_the_critical_path() {
        // Every transaction reads something of one of the three before it, early or late.
        let reads: Vec<[(f64, usize); 1]> = (0..60_usize)
            .map(|index| [((index * 7 % 10) as f64 / 10.0, index.saturating_sub(1 + index % 3))])
            .collect();
        let reads: Vec<&[(f64, usize)]> = reads
            .iter()
            .enumerate()
            .map(|(index, read)| if index == 0 { &[][..] } else { &read[..] })
            .collect();
        let block = block(&reads);
        let limit = critical_path(&block, &Costs::default());
        for workers in 1..=64 {
            let simulated = simulate(&block, &Costs::default(), workers);
            assert!(simulated.time >= limit - 1e-9, "{workers}: {simulated:?}, limit {limit}");
            assert!(
                simulated.executions <= (plan::guesses(workers) as usize + 1) * 60,
                "speculative ones, and one on final state: {simulated:?}"
            );
        }
    }

    #[test]
    fn costs_are_paid_where_they_arise() {
        let block = block(&[&[][..]; 10]);
        let costs = Costs { each: 0.5, speculative: 0.25, speculative_plain: 0.0, serial: 3.0, shared: 2.0 };
        assert_eq!(simulate(&block, &costs, 1).time, 3.0 + 15.0, "everything is at the frontier");
        let two = simulate(&block, &costs, 2).time;
        assert!(two > 2.0 + 7.5 && two <= 2.0 + 7.5 + 5.0 * 0.25, "{two}");
    }

    #[test]
    fn a_sender_is_in_order() {
        let mut same = block(&[&[][..]; 4]);
        for (index, recorded) in same.iter_mut().enumerate().skip(1) {
            recorded.previous_of_sender = Some(index - 1);
            recorded.dependencies = vec![Dependency { at: 0.0, on: index - 1, slot: None }];
        }
        for plain in [false, true] {
            same.iter_mut().for_each(|recorded| recorded.plain = plain);
            let simulated = simulate(&same, &Costs::default(), 4);
            assert_eq!((simulated.time, simulated.executions), (4.0, 4));
        }
    }
}
