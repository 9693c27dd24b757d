//! How contended a block is: which transactions depend on which, from executing them in order.

use std::collections::{HashMap, HashSet};

use alloy_primitives::{Address, U256};
use revm::{ExecuteCommitEvm, ExecuteEvm, MainBuilder};

use crate::{Workload, sequential};

/// Something that a transaction reads and another one writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// Balance and nonce of who sends.
    Sender(Address),
    Slot(Address, U256),
}

/// What depends on what in a block.
#[derive(Clone, Debug, PartialEq)]
pub struct Contention {
    /// The number of transactions.
    pub transactions: usize,
    /// Those of them that revert or halt.
    pub failed: usize,
    /// Those that read something an earlier transaction of the block wrote: a slot, or its sender's balance or nonce. What
    /// is only paid into is not counted, since payments commute.
    pub dependent: usize,
    /// The length of the longest chain of transactions of which each depends on the one before.
    pub depth: usize,
    /// Slots that several transactions changed.
    pub contended_slots: usize,
    /// How many transactions changed the slot that most did.
    pub hottest_slot: usize,
    /// Different senders.
    pub senders: usize,
}

impl Contention {
    /// Executes the block in order and looks at what its transactions read and wrote.
    ///
    /// # Panics
    ///
    /// If a transaction is invalid, or the workload is not complete.
    pub fn of(workload: &Workload) -> Self {
        let mut evm = sequential::context(workload).build_mainnet();
        // Who wrote a place last, and at what depth.
        let mut written: HashMap<Place, usize> = HashMap::new();
        let mut changes: HashMap<(Address, U256), usize> = HashMap::new();
        let mut senders = HashSet::new();
        let (mut failed, mut dependent, mut depth) = (0, 0, 0);
        for transaction in &workload.transactions {
            let executed = evm.transact(transaction.clone()).expect("workloads hold valid transactions");
            failed += usize::from(!executed.result.is_success());
            senders.insert(transaction.caller);
            let mut read = vec![Place::Sender(transaction.caller)];
            let mut write = vec![Place::Sender(transaction.caller)];
            for (address, account) in &executed.state {
                if account.is_touched() && *address != workload.env.beneficiary {
                    write.push(Place::Sender(*address));
                }
                for (slot, value) in &account.storage {
                    read.push(Place::Slot(*address, *slot));
                    if value.is_changed() {
                        write.push(Place::Slot(*address, *slot));
                        *changes.entry((*address, *slot)).or_default() += 1;
                    }
                }
            }
            let below = read.iter().filter_map(|place| written.get(place)).max().copied();
            dependent += usize::from(below.is_some());
            let own = below.unwrap_or(0) + 1;
            depth = depth.max(own);
            for place in write {
                // Paying somebody does not wait for who paid them before.
                let at = written.entry(place).or_default();
                *at = own.max(*at);
            }
            evm.commit(executed.state);
        }
        Self {
            transactions: workload.transactions.len(),
            failed,
            dependent,
            depth,
            contended_slots: changes.values().filter(|count| **count > 1).count(),
            hottest_slot: changes.values().max().copied().unwrap_or(0),
            senders: senders.len(),
        }
    }
}
