//! The transaction word: one atomic that says who may touch a transaction's execution.
//!
//! Phase, invalidity, incarnation and parking ticket are one word, so that every transition is one
//! compare-and-swap that sees all of them. Who moves a transaction to [`Phase::Running`] owns its fiber, its
//! reads and its writes until it moves it on; every transition releases and every claim acquires, so that
//! ownership carries the data with it.

use crate::sync::{AtomicU64, Ordering, mutation};

/// Where a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Not begun.
    Pending = 0,
    /// To be run by whoever claims it.
    Ready = 1,
    /// A worker has it.
    Running = 2,
    /// Its fiber waits for a version.
    Parked = 3,
    /// Executed and published; not final.
    Executed = 4,
    /// To be executed again, but only once the frontier arrives.
    Deferred = 5,
    /// Committed.
    Final = 6,
    /// Its fiber waits for the source, which answers whether the frontier has arrived or not.
    Loading = 7,
}

const PHASE: u64 = 0b111;
const INVALID: u64 = 0b1000;
const INCARNATION: u64 = 0xffff_fff0;
const INCARNATION_SHIFT: u32 = 4;
const TICKET_SHIFT: u32 = 32;

/// A moment's view of the word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Snapshot(u64);

impl Snapshot {
    /// The phase.
    pub fn phase(self) -> Phase {
        match self.0 & PHASE {
            0 => Phase::Pending,
            1 => Phase::Ready,
            2 => Phase::Running,
            3 => Phase::Parked,
            4 => Phase::Executed,
            5 => Phase::Deferred,
            6 => Phase::Final,
            _ => Phase::Loading,
        }
    }

    /// Whether something that this incarnation read has changed, as far as anybody noticed.
    pub fn invalid(self) -> bool {
        self.0 & INVALID != 0
    }

    /// Which attempt this is, from 0.
    pub fn incarnation(self) -> u32 {
        ((self.0 & INCARNATION) >> INCARNATION_SHIFT) as u32
    }

    /// The latest parking's ticket.
    pub fn ticket(self) -> u32 {
        (self.0 >> TICKET_SHIFT) as u32
    }

    fn is_parked(self) -> bool {
        matches!(self.phase(), Phase::Parked | Phase::Loading)
    }

    fn with_phase(self, phase: Phase) -> Self {
        Self(self.0 & !PHASE | phase as u64)
    }

    fn with_invalid(self, invalid: bool) -> Self {
        Self(if invalid { self.0 | INVALID } else { self.0 & !INVALID })
    }

    fn next_incarnation(self) -> Self {
        let incarnation = (u64::from(self.incarnation()) + 1) << INCARNATION_SHIFT & INCARNATION;
        Self(self.0 & !INCARNATION | incarnation).with_invalid(false)
    }

    fn next_ticket(self) -> Self {
        let ticket = u64::from(self.ticket().wrapping_add(1));
        Self(self.0 & u64::from(u32::MAX) | ticket << TICKET_SHIFT)
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("phase", &self.phase())
            .field("invalid", &self.invalid())
            .field("incarnation", &self.incarnation())
            .field("ticket", &self.ticket())
            .finish()
    }
}

/// What an invalidation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalidated {
    /// Nothing: the incarnation is over, and will never need to be told again.
    Over,
    /// Nothing: it is marked already.
    Ignored,
    /// Its owner will notice.
    Marked,
    /// It became ready: the caller must enqueue it.
    Enqueue,
}

/// The atomic word of one transaction.
#[derive(Debug)]
pub struct TransactionWord(AtomicU64);

impl Default for TransactionWord {
    fn default() -> Self {
        Self(AtomicU64::new(Phase::Pending as u64))
    }
}

impl TransactionWord {
    /// A transaction that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// The word at this moment.
    #[inline]
    pub fn load(&self) -> Snapshot {
        // Acquire: pairs with `update`; who sees a phase sees what was done before it.
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// One transition: `step` gives the next state or refuses. Returns the states before and after.
    ///
    /// Acquire and release on success: every transition pairs with the one before it, whoever made it.
    #[inline]
    fn update(&self, step: impl Fn(Snapshot) -> Option<Snapshot>) -> Result<(Snapshot, Snapshot), Snapshot> {
        let mut seen = self.load();
        loop {
            let Some(next) = step(seen) else { return Err(seen) };
            let success = mutation!("transition-relaxed", Ordering::Relaxed, Ordering::AcqRel);
            match self.0.compare_exchange_weak(seen.0, next.0, success, Ordering::Acquire) {
                Ok(_) => return Ok((seen, next)),
                Err(now) => seen = Snapshot(now),
            }
        }
    }

    /// Takes a transaction that has not begun. `None`: somebody else did.
    pub fn begin(&self) -> Option<Snapshot> {
        self.update(|s| (s.phase() == Phase::Pending).then(|| s.with_phase(Phase::Running)))
            .ok()
            .map(|(_, s)| s)
    }

    /// Takes a ready transaction. `None`: it is not ready (any more), a stale queue entry.
    #[inline]
    pub fn claim(&self) -> Option<Snapshot> {
        self.update(|s| (s.phase() == Phase::Ready).then(|| s.with_phase(Phase::Running)))
            .ok()
            .map(|(_, s)| s)
    }

    /// Takes an executed transaction, to commit it.
    pub fn claim_executed(&self) -> Option<Snapshot> {
        self.update(|s| (s.phase() == Phase::Executed).then(|| s.with_phase(Phase::Running)))
            .ok()
            .map(|(_, s)| s)
    }

    /// Makes a transaction ready that has not begun. `true`: the caller must enqueue it.
    #[must_use]
    pub fn release(&self) -> bool {
        self.update(|s| (s.phase() == Phase::Pending).then(|| s.with_phase(Phase::Ready))).is_ok()
    }

    /// Owner: the fiber is stored away and may be resumed by anybody from here on. Returns the parking's
    /// ticket, or `None` where the transaction was invalidated: then it goes on running.
    pub fn park(&self) -> Option<u32> {
        self.park_in(Phase::Parked)
    }

    /// As [`park`](Self::park), until the source has answered: the frontier's arrival changes nothing.
    pub fn park_for_source(&self) -> Option<u32> {
        self.park_in(Phase::Loading)
    }

    fn park_in(&self, phase: Phase) -> Option<u32> {
        self.update(|s| {
            debug_assert_eq!(s.phase(), Phase::Running);
            (!s.invalid()).then(|| s.with_phase(phase).next_ticket())
        })
        .ok()
        .map(|(_, s)| s.ticket())
    }

    /// Wakes the parking with this ticket. `true`: the caller must enqueue the transaction.
    #[must_use]
    pub fn wake(&self, ticket: u32) -> bool {
        self.update(|s| {
            let mine = mutation!("wake-without-ticket", true, s.ticket() == ticket);
            (s.is_parked() && mine).then(|| s.with_phase(Phase::Ready))
        })
        .is_ok()
    }

    /// Takes back a parking: there was nothing to wait for. `false`: somebody made it ready meanwhile.
    #[must_use]
    pub fn unpark(&self, ticket: u32) -> bool {
        self.update(|s| (s.is_parked() && s.ticket() == ticket).then(|| s.with_phase(Phase::Running))).is_ok()
    }

    /// The frontier has arrived: whatever the transaction waits for is there. `true`: the caller must enqueue
    /// it.
    #[must_use]
    pub fn kick(&self) -> bool {
        self.update(|s| {
            matches!(s.phase(), Phase::Pending | Phase::Parked | Phase::Deferred)
                .then(|| s.with_phase(Phase::Ready))
        })
        .is_ok()
    }

    /// Something that this incarnation read has changed.
    #[must_use]
    pub fn invalidate(&self, incarnation: u32) -> Invalidated {
        let step = |s: Snapshot| {
            if s.incarnation() != incarnation || s.invalid() {
                return None;
            }
            match s.phase() {
                Phase::Running | Phase::Ready => Some(s.with_invalid(true)),
                Phase::Parked | Phase::Loading | Phase::Executed => {
                    Some(s.with_invalid(true).with_phase(Phase::Ready))
                }
                Phase::Pending | Phase::Deferred | Phase::Final => None,
            }
        };
        match self.update(step) {
            Err(seen) if seen.incarnation() != incarnation || seen.phase() == Phase::Final => {
                Invalidated::Over
            }
            Err(_) => Invalidated::Ignored,
            Ok((_, now)) if now.phase() == Phase::Running => Invalidated::Marked,
            Ok((before, _)) if before.phase() == Phase::Ready => Invalidated::Marked,
            Ok(_) => Invalidated::Enqueue,
        }
    }

    /// Owner: takes note of an invalidation, before looking again at everything that was read. `true` if
    /// there was one. What arrives after this sets the mark again.
    #[must_use]
    pub fn take_invalid(&self) -> bool {
        self.update(|s| s.invalid().then(|| s.with_invalid(false))).is_ok()
    }

    /// Owner: executed and published. `false`: invalidated meanwhile, and still running.
    #[must_use]
    pub fn finish(&self) -> bool {
        self.update(|s| {
            debug_assert_eq!(s.phase(), Phase::Running);
            let valid = mutation!("finish-though-invalid", true, !s.invalid());
            valid.then(|| s.with_phase(Phase::Executed))
        })
        .is_ok()
    }

    /// Owner: begins the next incarnation. Returns its number.
    pub fn restart(&self) -> u32 {
        self.force(|s| s.next_incarnation()).incarnation()
    }

    /// Owner: the next incarnation waits for the frontier. The caller then looks whether the frontier is
    /// there already.
    pub fn defer(&self) {
        self.force(|s| s.next_incarnation().with_phase(Phase::Deferred));
    }

    /// Owner: to be run again, by whoever claims it next. The caller must enqueue it.
    pub fn requeue(&self) {
        self.force(|s| s.with_phase(Phase::Ready));
    }

    /// Owner: committed.
    pub fn commit(&self) {
        self.force(|s| s.with_phase(Phase::Final));
    }

    fn force(&self, step: impl Fn(Snapshot) -> Snapshot) -> Snapshot {
        match self.update(|s| {
            debug_assert_eq!(s.phase(), Phase::Running);
            Some(step(s))
        }) {
            Ok((_, now)) => now,
            Err(now) => now,
        }
    }
}
