//! How far ahead of the frontier a block is executed: as far as it may be while that pays, not at all while it does not.
//!
//! Where every transaction waits for the one before it, or is executed again because of it, execution ahead only moves
//! a serial chain from core to core, and costs more than one worker alone. What was begun ahead is counted as it
//! becomes final. If little of it goes through untroubled, nothing is begun ahead for a while; then it is tried again
//! with a little, and with more and more as long as that goes well.

/// So many transactions that began ahead are looked at together.
const SAMPLE: u32 = 24;

/// It pays if at least this share of them neither waited nor was executed again, in percent.
const UNTROUBLED: u32 = 25;

/// For so many transactions nothing is begun ahead, the first time and at most: twice as many each time that it proves
/// not to have changed.
const ALONE: (u32, u32) = (64, 2_048);

/// So many transactions are begun ahead for each worker when it is tried again, and at least so many.
const AGAIN: (u32, u32) = (3, 8);

/// What became of the transactions that were begun ahead. Belongs to who drains the frontier.
#[derive(Debug)]
pub(crate) struct Pace {
    untroubled: u32,
    troubled: u32,
    /// Transactions left for which nothing is begun ahead.
    alone: u32,
    next_alone: u32,
    window: u32,
    first: u32,
    most: u32,
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
    /// For so many workers, who may begin at most so much ahead, and do at first: who is behind one long transaction
    /// needs the room.
    pub(crate) fn new(most: u32, workers: usize) -> Self {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX);
        let first = workers.saturating_mul(AGAIN.0).max(AGAIN.1).min(most);
        Self { untroubled: 0, troubled: 0, alone: 0, next_alone: ALONE.0, window: most, first, most }
    }

    /// How many transactions to begin ahead.
    pub(crate) fn window(&self) -> u32 {
        if self.alone > 0 { 0 } else { self.window }
    }

    /// A transaction is final. Returns how many to begin ahead from here on, if that changes.
    pub(crate) fn committed(&mut self, course: Course) -> Option<u32> {
        if self.alone > 0 {
            self.alone -= 1;
            return (self.alone == 0).then_some(self.window);
        }
        match course {
            Course::AtTheFrontier => return None,
            Course::Untroubled => self.untroubled += 1,
            Course::Troubled => self.troubled += 1,
        }
        let all = self.untroubled + self.troubled;
        if all < SAMPLE {
            return None;
        }
        let pays = self.untroubled * 100 >= all * UNTROUBLED;
        (self.untroubled, self.troubled) = (0, 0);
        if pays {
            self.next_alone = ALONE.0;
            let wider = self.window.saturating_mul(4).min(self.most);
            let changes = wider != self.window;
            self.window = wider;
            return changes.then_some(wider);
        }
        self.alone = self.next_alone;
        self.next_alone = (self.next_alone * 2).min(ALONE.1);
        self.window = self.first;
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commits until the pace changes to what is expected; returns after how many.
    fn until_change(pace: &mut Pace, course: Course, expected: u32) -> u32 {
        for number in 1..10_000 {
            if let Some(window) = pace.committed(course) {
                assert_eq!(window, expected);
                assert_eq!(pace.window(), expected);
                return number;
            }
        }
        panic!("nothing changes");
    }

    #[test]
    fn a_chain_is_left_to_one_worker_ever_longer() {
        let mut pace = Pace::new(256, 2);
        let mut alone = Vec::new();
        for _ in 0..8 {
            assert_eq!(until_change(&mut pace, Course::Troubled, 0), SAMPLE);
            alone.push(until_change(&mut pace, Course::AtTheFrontier, 8));
        }
        assert_eq!(alone, [64, 128, 256, 512, 1_024, 2_048, 2_048, 2_048]);
    }

    #[test]
    fn what_goes_well_goes_on_and_further() {
        let mut pace = Pace::new(256, 4);
        assert_eq!(pace.window(), 256);
        until_change(&mut pace, Course::Troubled, 0);
        until_change(&mut pace, Course::AtTheFrontier, 12);
        let mut windows = vec![pace.window()];
        for number in 0..10_000 {
            let course = if number % 2 == 0 { Course::Untroubled } else { Course::Troubled };
            windows.extend(pace.committed(course));
            assert_eq!(pace.committed(Course::AtTheFrontier), None);
        }
        assert_eq!(windows, [12, 48, 192, 256]);
    }

    #[test]
    fn nobody_goes_further_than_allowed() {
        let mut pace = Pace::new(3, 8);
        assert_eq!(pace.window(), 3);
        until_change(&mut pace, Course::Troubled, 0);
        until_change(&mut pace, Course::AtTheFrontier, 3);
        for _ in 0..1_000 {
            assert_eq!(pace.committed(Course::Untroubled), None);
        }
        assert_eq!(pace.window(), 3);
    }

    #[test]
    fn a_chain_that_ends_is_forgotten() {
        let mut pace = Pace::new(256, 2);
        for _ in 0..3 {
            until_change(&mut pace, Course::Troubled, 0);
            until_change(&mut pace, Course::AtTheFrontier, 8);
        }
        until_change(&mut pace, Course::Untroubled, 32);
        until_change(&mut pace, Course::Troubled, 0);
        assert_eq!(until_change(&mut pace, Course::AtTheFrontier, 8), ALONE.0);
    }
}
