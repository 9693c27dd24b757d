//! A runtime's settings.

use std::{io, num::NonZeroUsize};

use counterpoint_actors::Chaos;

use crate::Runtime;

/// A runtime has so many workers at most.
const MOST_WORKERS: usize = 4_096;

/// How many transactions above the frontier may begin in their turn where nobody says so: behind a long one there has to be
/// enough for all workers.
pub(crate) fn window(workers: usize) -> usize {
    (64 * workers).max(256)
}

/// Configures a [`Runtime`].
#[derive(Clone, Debug)]
pub struct Builder {
    pub(crate) workers: usize,
    pub(crate) fibers: usize,
    window: Option<usize>,
    pub(crate) in_flight: usize,
    pub(crate) keep_states: bool,
    pub(crate) serial_prefix: Option<usize>,
    chaos: Option<u64>,
    pause_everywhere: bool,
}

/// Why a runtime could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A number that has to be at least 1 is 0.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// More workers than any machine has.
    #[error("{workers} workers are more than {most}")]
    TooManyWorkers {
        /// How many.
        workers: usize,
        /// How many there may be.
        most: usize,
    },
    /// The system refused a thread.
    #[error("cannot start a worker thread: {0}")]
    Thread(#[from] io::Error),
}

impl Default for Builder {
    fn default() -> Self {
        // Seam: asks the machine, not the scheduler.
        let workers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MOST_WORKERS);
        Self {
            workers,
            fibers: 256,
            window: None,
            in_flight: 1_024,
            keep_states: false,
            serial_prefix: None,
            chaos: None,
            pause_everywhere: false,
        }
    }
}

impl Builder {
    /// How many threads may work on a block, the calling thread included: 4096 at most. Default:
    /// the available parallelism.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// How many fibers may be in flight for one block: transactions that have begun on a stack of their own and
    /// have not ended. Each takes up to 256 KiB, as far as it is used. The transaction at the frontier does
    /// not count. Default: 256.
    pub fn fibers(mut self, fibers: usize) -> Self {
        self.fibers = fibers;
        self
    }

    /// How many transactions above the frontier may begin in their turn. What a sender's mailbox lets go is not
    /// held back by it. Default: 64 for each worker, and 256 at least.
    pub fn window(mut self, window: usize) -> Self {
        self.window = Some(window);
        self
    }

    /// Takes the place of [`fibers`](Self::fibers) and [`window`](Self::window) for a block whose source answers
    /// later: so many transactions may wait for answers at a time. Default: 1024.
    pub fn in_flight(mut self, in_flight: usize) -> Self {
        self.in_flight = in_flight;
        self
    }

    /// Whether [`Outcome::states`](crate::Outcome::states) is filled: each transaction's state changes, at the price of a copy.
    /// Default: no.
    pub fn keep_states(mut self, keep: bool) -> Self {
        self.keep_states = keep;
        self
    }

    /// How many of a block's transactions are executed one after the other by the calling thread before the workers
    /// share the rest, to its end; 0 sends everything through the parallel machinery, for tests and measurements of it.
    /// The rest is one stretch, however long. Results are the same. Default: decided block by block, and again where parallel execution does not pay, so that
    /// a block that has nothing to gain from more workers costs what sequential execution costs. A block whose source
    /// answers later is shared from its first transaction on.
    pub fn serial_prefix(mut self, transactions: usize) -> Self {
        self.serial_prefix = Some(transactions);
        self
    }

    /// Test only: random yields, wrong predictions and forced invalidations. Results must not change.
    #[cfg(feature = "chaos")]
    pub fn chaos(mut self, seed: u64) -> Self {
        self.chaos = Some(seed);
        self
    }

    /// Test only: fibers pause before every read and go on where there is another worker. Results must not
    /// change.
    #[cfg(feature = "chaos")]
    pub fn pause_everywhere(mut self) -> Self {
        self.pause_everywhere = true;
        self
    }

    /// How many transactions above the frontier may begin in their turn.
    pub(crate) fn transactions_ahead(&self) -> usize {
        self.window.unwrap_or_else(|| window(self.workers))
    }

    pub(crate) fn disorder(&self) -> Option<Chaos> {
        if self.pause_everywhere {
            return Some(Chaos::pausing_everywhere(self.chaos));
        }
        self.chaos.map(Chaos::new)
    }

    /// Starts the runtime's threads.
    ///
    /// # Errors
    ///
    /// A number that is zero, too many workers, or a thread that the system refuses.
    pub fn build(self) -> Result<Runtime, BuildError> {
        for (number, name) in [
            (self.workers, "workers"),
            (self.fibers, "fibers"),
            (self.window.unwrap_or(1), "window"),
            (self.in_flight, "in_flight"),
        ] {
            if number == 0 {
                return Err(BuildError::Zero(name));
            }
        }
        if self.workers > MOST_WORKERS {
            return Err(BuildError::TooManyWorkers { workers: self.workers, most: MOST_WORKERS });
        }
        Ok(Runtime::new(self)?)
    }
}
