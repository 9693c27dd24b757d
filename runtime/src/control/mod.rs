//! A block that is followed and stopped from outside: a hook, cancellation, a deadline.

mod cancel;
mod hook;
mod timer;

use std::{fmt, sync::Arc, time::Instant};

pub use cancel::CancelToken;
pub(crate) use cancel::Watch;
pub(crate) use hook::Follower;
pub use hook::{Finalized, Hook, HookError};
pub(crate) use timer::{Alarm, Timer};

use counterpoint_actors::Stops;

use crate::ExecuteError;

/// Gives a block up.
pub(crate) type Stop = Arc<dyn Fn() + Send + Sync>;

/// How a block is followed and stopped while it executes, for
/// [`Runtime::execute_with`](crate::Runtime::execute_with).
///
/// ```
/// # use counterpoint::{Block, Control, CancelToken, ExecuteError, Outcome, Runtime};
/// # use std::{sync::mpsc, time::{Duration, Instant}};
/// # fn example(runtime: &Runtime, block: &Block) -> Result<Outcome, ExecuteError> {
/// let (receipts, stream) = mpsc::channel();
/// let token = CancelToken::new();
/// let control = Control::new()
///     .hook(move |transaction: counterpoint::Finalized<'_>| Ok(receipts.send(transaction.outcome.clone())?))
///     .cancel(&token)
///     .deadline(Instant::now() + Duration::from_secs(2));
/// runtime.execute_with(block, control)
/// # }
/// ```
#[derive(Default)]
pub struct Control {
    pub(crate) hook: Option<Box<dyn Hook>>,
    pub(crate) cancel: Option<CancelToken>,
    pub(crate) deadline: Option<Instant>,
}

impl Control {
    /// Nobody follows, and nothing stops the block.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has this called with every transaction that becomes final, in order. See [`Hook`].
    pub fn hook(mut self, hook: impl Hook + 'static) -> Self {
        self.hook = Some(Box::new(hook));
        self
    }

    /// Ends the block with [`ExecuteError::Cancelled`] when the token is cancelled. What a worker computes at that
    /// moment it computes to the next read of the state (of the source, while transactions run one after the other), or to the
    /// transaction's end.
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }

    /// Ends the block with [`ExecuteError::DeadlineExceeded`] if it is not finished then, as [`cancel`](Self::cancel) does.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// As [`check`](Self::check), to be asked in the middle of a transaction; `None`: nothing will stop it.
    pub(crate) fn stops(&self) -> Option<Stops> {
        let stopping = Self { hook: None, cancel: self.cancel.clone(), deadline: self.deadline };
        let may_stop = stopping.cancel.is_some() || stopping.deadline.is_some();
        may_stop.then(|| Box::new(move || stopping.check().is_err()) as Stops)
    }

    /// Whether there is any use in beginning.
    pub(crate) fn check(&self) -> Result<(), ExecuteError> {
        if self.cancel.as_ref().is_some_and(CancelToken::is_cancelled) {
            return Err(ExecuteError::Cancelled);
        }
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(ExecuteError::DeadlineExceeded);
        }
        Ok(())
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("hook", &self.hook.is_some())
            .field("cancel", &self.cancel)
            .field("deadline", &self.deadline)
            .finish()
    }
}
