//! An incarnation's end: its writes become versions in the cells, and what it wrote no more is taken back.

use counterpoint_state::{Chain, Code, Displaced, Entry, Fields, Lifecycle, SlotCell};
use revm::{
    primitives::U256,
    state::{Account, AccountInfo, EvmState},
};

use crate::{
    block::BlockState,
    directory::Actor,
    execution::{AccountRead, Credit, End, Execution, Moved, Written},
    order::entries,
    worker::{Signals, WorkerContext},
};

/// Publishes what an incarnation wrote. `written` holds the versions of the incarnation before, and then those
/// of this one. What it changed is taken apart then, unless it is to be kept together.
pub fn publish(
    block: &BlockState,
    execution: &mut Execution,
    written: &mut Vec<Written>,
    together: bool,
    worker: WorkerContext,
    signals: &mut dyn Signals,
) {
    let mut publisher = Publisher {
        block,
        index: execution.index,
        incarnation: execution.incarnation,
        written: std::mem::take(&mut execution.spare),
        moved: std::mem::take(&mut execution.moved),
        worker,
        signals,
    };
    let mut end = std::mem::replace(&mut execution.end, End::Unfinished);
    if let End::Executed(executed) = &mut end {
        publisher.state(execution, &executed.state);
        publisher.slots(execution, &executed.state);
        if let Some(payer) = executed.payer.take() {
            let read = &execution.accounts[payer.account];
            publisher.fields(read.actor, None, &Before::of(read, &payer.info), &payer.info);
            let (address, before) = (read.actor.address, read.before());
            if together || !before.has_nonce_or_code() {
                executed.state.insert(address, read.paid(payer.info));
            } else {
                execution.changes.note_info(address, payer.info, before);
            }
        }
        if let Some(credit) = &mut executed.transfer {
            publisher.credit(credit);
        }
        if let Some(credit) = &mut executed.fee {
            publisher.credit(credit);
        }
        if together {
            // The ids are positions in `execution.accounts`; they mean nothing outside.
            executed.state.values_mut().for_each(|account| account.info.account_id = None);
        } else {
            execution.take_apart(std::mem::take(&mut executed.state));
        }
    }
    execution.end = end;

    // Retraction is publishing too.
    for previous in written.iter().copied() {
        publisher.retract(previous);
    }
    for predicted in execution.predicted.drain(..) {
        if publisher.retract(predicted.written)
            && let Some(cell) = predicted.cell
        {
            let actor = block.actor(predicted.hop.address, &worker);
            actor.memory.unlearn(predicted.hop.selector, cell);
        }
    }
    execution.moved = publisher.moved;
    let previous = std::mem::replace(written, publisher.written);
    execution.keep_written(previous);
}

struct Publisher<'a> {
    block: &'a BlockState,
    index: u32,
    incarnation: u32,
    written: Vec<Written>,
    moved: Vec<Moved>,
    worker: WorkerContext,
    signals: &'a mut dyn Signals,
}

impl Publisher<'_> {
    /// Everything that changed against what was there before the transaction.
    fn state(&mut self, execution: &Execution, state: &EvmState) {
        for (address, account) in entries(state.iter()) {
            if !account.is_touched() {
                continue;
            }
            let Some(read) = execution.read_of(address, account) else {
                debug_assert!(false, "the journal holds no account that was not read");
                continue;
            };
            let (actor, existed) = (read.actor, !account.is_loaded_as_not_existing());
            let mut before = Before::of(read, &account.info);
            if read.is_unseen() {
                let assumed = std::mem::replace(&mut before.balance, account.info.balance);
                self.moved(actor, account.info.balance.wrapping_sub(assumed));
            }
            self.account(execution, actor, existed, &before, account);
        }
    }

    fn account(
        &mut self,
        execution: &Execution,
        actor: &'static Actor<'static>,
        existed: bool,
        before: &Before,
        account: &Account,
    ) {
        // The order of the cases is that of `revm_database::CacheState`.
        if account.is_selfdestructed() || (!account.is_created() && account.is_empty()) {
            if existed {
                let gone = Some(Lifecycle { exists: false, wiped: true });
                self.fields(actor, gone, before, &AccountInfo::default());
            }
            return;
        }
        let lifecycle = if account.is_created() {
            Some(Lifecycle { exists: true, wiped: true })
        } else {
            (!existed).then_some(Lifecycle { exists: true, wiped: false })
        };
        let versions = self.written.len();
        self.fields(actor, lifecycle, before, &account.info);
        if self.written.len() == versions && account.info.has_no_code_and_nonce() {
            // That it was touched has to be seen, see `AccountCells::has_source_storage`.
            let nonce = self.worker.arena.alloc(account.info.nonce);
            self.field(actor, &actor.cells.nonce, nonce, Fields::NONCE);
        }
        if account.is_created() {
            // Its slots never came from the database, so they are not among those that were read.
            for (slot, value) in entries(account.changed_storage_slots()) {
                let cell = self.block.directory().slot(actor, *slot, self.worker.arena);
                self.slot(execution, actor, cell, value.present_value);
            }
        }
    }

    /// The slots that were read and then changed. All that were read, where the transaction is the one that turns
    /// the source's storage of an account into nothing: these revm's `State` has seen, and keeps.
    fn slots(&mut self, execution: &Execution, state: &EvmState) {
        let mut last = None;
        for read in &execution.slots {
            let (account, keeps) = match last {
                Some((position, account, keeps)) if position == read.account => (account, keeps),
                _ => {
                    let actor = execution.accounts[read.account as usize].actor;
                    let account = state.get(&actor.address).filter(|account| {
                        account.is_touched()
                            && !account.is_created()
                            && !account.is_selfdestructed()
                            && !account.is_empty()
                    });
                    let keeps = actor.cells.loses_source_storage(self.index);
                    last = Some((read.account, account, keeps));
                    (account, keeps)
                }
            };
            if let Some(account) = account
                && let Some(slot) = account.storage.get(&read.slot)
                && (slot.is_changed() || keeps)
            {
                let actor = execution.accounts[read.account as usize].actor;
                self.slot(execution, actor, read.cell, slot.present_value);
            }
        }
    }

    fn slot(
        &mut self,
        execution: &Execution,
        actor: &'static Actor<'static>,
        cell: &'static SlotCell<'static>,
        value: U256,
    ) {
        let entry = cell.versions.entry(self.index, self.worker.arena);
        let displaced = entry.publish(self.worker.arena.alloc(value));
        let written = Written { word: entry.common(), readers: &cell.readers, fields: Fields::SLOT };
        if self.note(written, displaced) {
            self.invalidate(written, Fields::SLOT);
        }
        if cell.is_contended() {
            for hop in execution.hops.iter().filter(|hop| hop.address == actor.address) {
                actor.memory.learn(hop.selector, cell, self.worker.arena);
            }
        }
    }

    /// The account's own cells, then one walk over their readers. The lifecycle first: who sees a balance
    /// sees that the account exists.
    fn fields(
        &mut self,
        actor: &'static Actor<'static>,
        lifecycle: Option<Lifecycle>,
        before: &Before,
        after: &AccountInfo,
    ) {
        let cells = &actor.cells;
        let arena = self.worker.arena;
        let mut changed = 0;
        if let Some(lifecycle) = lifecycle {
            changed |= self.field(actor, &cells.lifecycle, arena.alloc(lifecycle), Fields::LIFECYCLE);
        }
        // A version even where the code stays the same: for an account that the block creates, whether revm
        // has the empty code at hand shows in the bundle's contracts (a creation that is undone drops it).
        let wiped = lifecycle.is_some_and(|lifecycle| lifecycle.wiped);
        if after.code_hash != before.code_hash || wiped || !before.code_at_hand {
            let code = arena.alloc_owned(Code { hash: after.code_hash, bytecode: after.code.clone() });
            changed |= self.field(actor, &cells.code, code, Fields::CODE);
        }
        if after.nonce != before.nonce {
            changed |= self.field(actor, &cells.nonce, arena.alloc(after.nonce), Fields::NONCE);
        }
        if after.balance != before.balance {
            changed |= self.field(actor, &cells.balance, arena.alloc(after.balance), Fields::BALANCE);
        }
        if changed != 0
            && let Some(written) = self.written.last().copied()
        {
            self.invalidate(written, Fields(changed));
        }
    }

    /// Publishes one field; returns it if its content changed.
    fn field<V: PartialEq>(
        &mut self,
        actor: &'static Actor<'static>,
        chain: &'static Chain<'static, V>,
        record: &'static V,
        field: Fields,
    ) -> u8 {
        let entry = chain.entry(self.index, self.worker.arena);
        let displaced = entry.publish(record);
        let written = Written { word: entry.common(), readers: &actor.cells.readers, fields: field };
        if self.note(written, displaced) { field.0 } else { 0 }
    }

    /// Adds to a balance that nobody looked at. A touch leaves no version: it is decided at the frontier.
    fn credit(&mut self, credit: &mut Credit) {
        self.worker.counters.hops.increment();
        if credit.amount == U256::ZERO {
            return;
        }
        let entry = credit.actor.cells.balance.entry(self.index, self.worker.arena);
        credit.entry = Some(entry);
        self.delta(credit.actor, entry, credit.amount);
    }

    /// Adds to a balance that was not read, or takes from it.
    fn moved(&mut self, actor: &'static Actor<'static>, delta: U256) {
        if delta != U256::ZERO {
            let entry = actor.cells.balance.entry(self.index, self.worker.arena);
            self.moved.push(Moved { actor, delta, entry });
            self.delta(actor, entry, delta);
        }
    }

    fn delta(&mut self, actor: &'static Actor<'static>, entry: &'static Entry<'static, U256>, delta: U256) {
        let displaced = entry.publish_delta(self.worker.arena.alloc(delta));
        // It may bring an account into being: who looks for that looks at the balance.
        let fields = Fields::BALANCE;
        let written = Written { word: entry.common(), readers: &actor.cells.readers, fields };
        if self.note(written, displaced) {
            self.invalidate(written, fields);
        }
    }

    /// Takes back what this incarnation did not write. Returns whether there was something to take back.
    fn retract(&mut self, previous: Written) -> bool {
        if previous.word.stamp() == self.incarnation {
            return false;
        }
        let displaced = previous.word.retract();
        let changed = displaced.changed;
        self.wake(displaced);
        if changed {
            self.invalidate(previous, previous.fields);
        }
        true
    }

    fn note(&mut self, written: Written, displaced: Displaced<'static>) -> bool {
        written.word.set_stamp(self.incarnation);
        self.written.push(written);
        let changed = displaced.changed;
        self.wake(displaced);
        changed
    }

    fn wake(&mut self, displaced: Displaced<'static>) {
        for waiter in displaced.waiters {
            self.signals.wake(waiter.index, waiter.ticket);
        }
    }

    fn invalidate(&mut self, written: Written, fields: Fields) {
        let signals = &mut *self.signals;
        written
            .readers
            .affected(self.index, fields, |reader| signals.invalidate(reader.index, reader.incarnation));
    }
}

/// What an account was before the transaction.
struct Before {
    nonce: u64,
    balance: U256,
    code_hash: revm::primitives::B256,
    /// Whether revm has the account's code at hand as it had before.
    code_at_hand: bool,
}

impl Before {
    fn of(read: &AccountRead, after: &AccountInfo) -> Self {
        Self {
            nonce: read.view.nonce,
            balance: read.view.balance,
            code_hash: read.view.code_hash,
            code_at_hand: (read.has_code_by_hash() && read.view.wiped == 0)
                || read.view.code.is_some() == after.code.is_some(),
        }
    }
}

/// Before a transaction is executed again: what it wrote is not to be relied upon, and who needs it waits.
pub fn estimate(written: &[Written]) {
    for written in written {
        written.word.estimate();
    }
}
