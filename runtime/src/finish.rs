//! The end of a block: its changeset becomes the bundle, with a helper's hands where it is large.

use std::sync::Arc;

use counterpoint_actors::contain;
// Seam: the state crate's.
use counterpoint_state::{
    Bundling, EventCount,
    sync::{RwLock, SPINS, spin_loop},
};
use revm::database::BundleState;

use crate::{
    commit::Committer,
    control::Follower,
    outcome::{ExecuteError, Outcome, Statistics},
    worker::Store,
};

/// A changeset of more accounts is worth waking a helper. Fewer under shuttle, so that schedules see it.
const LARGE: usize = if SPINS < 100 { 2 } else { 4_096 };

/// One of more accounts is worth a helper that is awake.
const WORTH_HELP: usize = if SPINS < 100 { 2 } else { 128 };

/// The bundles that are in the making.
#[derive(Debug, Default)]
pub(crate) struct Bundlings(RwLock<Vec<Arc<Bundling>>>);

impl Bundlings {
    /// Helps with a bundle, if there is one with which nobody helps, until it is complete or there is nothing to do for a
    /// moment: other blocks may need the helper meanwhile.
    pub(crate) fn help(&self) -> bool {
        // Bound to a name, so that the lock is free again.
        let found = self.0.read().iter().find(|bundling| bundling.join()).map(Arc::clone);
        let Some(bundling) = found else { return false };
        // If it panics, which it does not, the part is lost, and the block's thread notices that.
        let _ = contain(|| {
            let mut idle = 0;
            while !bundling.is_over() && idle < SPINS {
                if bundling.help() {
                    idle = 0;
                } else {
                    idle += 1;
                    spin_loop();
                }
            }
        });
        bundling.leave();
        true
    }

    /// Whether there is one with which nobody helps.
    pub(crate) fn may_need_help(&self) -> bool {
        self.0.read().iter().any(|bundling| !bundling.is_joined())
    }

    /// Makes a bundle of the changes, and has a helper join.
    fn bundle(&self, committer: &mut Committer, work: &EventCount) -> BundleState {
        let bundling = Arc::new(Bundling::new());
        self.0.write().push(Arc::clone(&bundling));
        let listed = Listed(self, &bundling);
        work.notify_waiting();
        let bundle = committer.changeset.take_bundle(Some(&bundling));
        drop(listed);
        bundle
    }
}

/// While it lives, a bundle is on the list.
struct Listed<'a>(&'a Bundlings, &'a Arc<Bundling>);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.1.end();
        self.0.0.write().retain(|other| !Arc::ptr_eq(other, self.1));
    }
}

/// The outcome of a block that is committed. `are_awake`: whether the helpers have just been at work, and wait for more.
pub(crate) fn collect(
    mut committer: Committer,
    mut statistics: Statistics,
    store: &Store,
    helpers: Option<(&Bundlings, &EventCount)>,
    are_awake: bool,
) -> Result<Outcome, ExecuteError> {
    let least = if are_awake { WORTH_HELP } else { LARGE };
    let bundle = contain(|| match helpers {
        Some((bundlings, work)) if committer.changeset.changes() > least => {
            bundlings.bundle(&mut committer, work)
        }
        _ => committer.changeset.take_bundle(None),
    });
    let bundle = bundle.map_err(ExecuteError::Internal)?;
    let Committer { changeset, transactions, states, gas_used, ahead, follower, .. } = committer;
    store.put_changeset(changeset);
    follower.map_or(Ok(()), Follower::leave)?;
    statistics.ahead = ahead;
    Ok(Outcome { transactions, bundle, gas_used, statistics, states })
}
