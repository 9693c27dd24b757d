//! How far ahead of the frontier a block is executed: as far as it may be while that pays, not at all while it does not.
//!
//! Where every transaction waits for the one before it, or is executed again because of it, execution ahead only moves
//! a serial chain from core to core, and costs more than one worker alone. What was begun ahead is counted as it
//! becomes final; if little of it went through untroubled, nothing is begun ahead for a while, and then it is tried
//! again.

/// So many transactions that began ahead are looked at together.
const SAMPLE: u32 = 24;

/// It pays if at least this share of them neither waited nor was executed again, in percent.
const UNTROUBLED: u32 = 25;

/// For so many transactions nothing is begun ahead, the first time and at most: twice as many each time that it proves
/// not to have changed.
const ALONE: (u32, u32) = (64, 2_048);

/// What became of the transactions that were begun ahead. Belongs to who drains the frontier.
#[derive(Debug)]
pub(crate) struct Pace {
    untroubled: u32,
    troubled: u32,
    /// Transactions left for which nothing is begun ahead.
    alone: u32,
    next_alone: u32,
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
    pub(crate) fn new() -> Self {
        Self { untroubled: 0, troubled: 0, alone: 0, next_alone: ALONE.0 }
    }

    /// A transaction is final. Returns whether to begin others ahead from here on, if that changes.
    pub(crate) fn committed(&mut self, course: Course) -> Option<bool> {
        if self.alone > 0 {
            self.alone -= 1;
            return (self.alone == 0).then_some(true);
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
            return None;
        }
        self.alone = self.next_alone;
        self.next_alone = (self.next_alone * 2).min(ALONE.1);
        Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commits until the pace changes; returns after how many.
    fn until_change(pace: &mut Pace, course: Course, expected: bool) -> u32 {
        for number in 1..10_000 {
            if let Some(ahead) = pace.committed(course) {
                assert_eq!(ahead, expected);
                return number;
            }
        }
        panic!("nothing changes");
    }

    #[test]
    fn a_chain_is_left_to_one_worker_ever_longer() {
        let mut pace = Pace::new();
        let mut alone = Vec::new();
        for _ in 0..8 {
            assert_eq!(until_change(&mut pace, Course::Troubled, false), SAMPLE);
            alone.push(until_change(&mut pace, Course::AtTheFrontier, true));
        }
        assert_eq!(alone, [64, 128, 256, 512, 1_024, 2_048, 2_048, 2_048]);
    }

    #[test]
    fn what_goes_well_goes_on() {
        let mut pace = Pace::new();
        for number in 0..10_000 {
            let course = if number % 2 == 0 { Course::Untroubled } else { Course::Troubled };
            assert_eq!(pace.committed(course), None);
            assert_eq!(pace.committed(Course::AtTheFrontier), None);
        }
    }

    #[test]
    fn a_chain_that_ends_is_forgotten() {
        let mut pace = Pace::new();
        for _ in 0..3 {
            until_change(&mut pace, Course::Troubled, false);
            until_change(&mut pace, Course::AtTheFrontier, true);
        }
        for _ in 0..SAMPLE {
            assert_eq!(pace.committed(Course::Untroubled), None);
        }
        until_change(&mut pace, Course::Troubled, false);
        assert_eq!(until_change(&mut pace, Course::AtTheFrontier, true), ALONE.0);
    }
}
