//! Cancellation, from any thread, of any number of blocks.

use std::{fmt, mem, sync::Arc};

// Seam: plain locks, held for a moment and outside of the protocols within a block.
use parking_lot::Mutex;

use super::Stop;

/// Ends the blocks that were given it, those that execute and those that come. Clones are the same token.
#[derive(Clone, Default)]
pub struct CancelToken(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    cancelled: bool,
    last: u64,
    watches: Vec<(u64, Stop)>,
}

impl CancelToken {
    /// A token that nobody has cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the token's blocks with [`ExecuteError::Cancelled`](crate::ExecuteError::Cancelled), for good. Returns at
    /// once; the blocks end soon after.
    pub fn cancel(&self) {
        let watches = {
            let mut state = self.0.lock();
            state.cancelled = true;
            mem::take(&mut state.watches)
        };
        for (_, stop) in watches {
            stop();
        }
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.lock().cancelled
    }

    /// Calls this when the token is cancelled, at once if it is.
    pub(crate) fn watch(&self, stop: Stop) -> Watch {
        let mut state = self.0.lock();
        if state.cancelled {
            drop(state);
            stop();
            return Watch { token: self.clone(), id: 0 };
        }
        state.last += 1;
        let id = state.last;
        state.watches.push((id, stop));
        Watch { token: self.clone(), id }
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

/// Watches a token until it is dropped.
pub(crate) struct Watch {
    token: CancelToken,
    id: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.token.0.lock().watches.retain(|(id, _)| *id != self.id);
    }
}
