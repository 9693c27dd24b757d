//! One incarnation of a transaction: what it read, where it went, and how it ended.

use std::fmt;

use counterpoint_state::{
    AccountView, Changes, Entry, Fields, NotReady, Readers, SlotCell, SlotView, SourceError, VersionWord,
    WaitWord, changeset::Before,
};
use revm::{
    context::result::{ExecutionResult, InvalidHeader, InvalidTransaction},
    primitives::{Address, TxKind, U256},
    state::{Account, AccountInfo, EvmState},
};

use crate::{
    block::BlockState, chaos::Chaos, directory::Actor, loading::Place, message::Selector,
    worker::WorkerContext,
};

/// Slots that a source is asked for ahead at a time.
const MOST_AHEAD: u32 = 64;

/// An account that the incarnation read, and what it saw.
pub(crate) struct AccountRead {
    pub(crate) actor: &'static Actor<'static>,
    pub(crate) view: AccountView<'static>,
    /// What of it the incarnation depends on.
    pub(crate) fields: Fields,
    /// Of one whose balance was not read (see `balances.rs`), which is what it is assumed to be in `view`: the least that it has
    /// to be for what was paid, in wei.
    pub(crate) least: U256,
}

/// A slot that the incarnation read, and what it saw.
pub(crate) struct SlotRead {
    /// The position of its account among the accounts read.
    pub(crate) account: u32,
    pub(crate) slot: U256,
    pub(crate) cell: &'static SlotCell<'static>,
    value: U256,
}

/// A call on the incarnation's way.
#[derive(Clone, Copy)]
pub(crate) struct Hop {
    pub(crate) address: Address,
    pub(crate) selector: Selector,
}

/// A version that a transaction wrote, or was expected to write.
#[derive(Clone, Copy)]
pub struct Written {
    pub(crate) word: &'static VersionWord<'static>,
    pub(crate) readers: &'static Readers<'static>,
    pub(crate) fields: Fields,
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Written").field("word", self.word).finish_non_exhaustive()
    }
}

/// An estimate that prediction entered.
pub(crate) struct Predicted {
    pub(crate) written: Written,
    pub(crate) cell: Option<&'static SlotCell<'static>>,
    pub(crate) hop: Hop,
}

/// Wei added to an account's balance without reading it.
#[derive(Clone, Copy, Debug)]
pub struct Credit {
    pub(crate) actor: &'static Actor<'static>,
    /// In wei; zero is a touch.
    pub amount: U256,
    /// Where it was published, once it was.
    pub(crate) entry: Option<&'static Entry<'static, U256>>,
}

/// What an account has more or less after a transaction that did not look at its balance.
#[derive(Clone, Copy)]
pub(crate) struct Moved {
    pub(crate) actor: &'static Actor<'static>,
    /// In wei, modulo 2^256.
    pub(crate) delta: U256,
    /// Where it was published.
    pub(crate) entry: &'static Entry<'static, U256>,
}

/// How an incarnation ended.
#[derive(Debug)]
pub enum End {
    /// It has not.
    Unfinished,
    /// The transaction was executed.
    Executed(Box<Executed>),
    /// The transaction cannot be included.
    Invalid(InvalidTransaction),
    /// The block environment lacks something.
    Header(InvalidHeader),
    /// The source failed.
    Source(SourceError),
    /// revm failed for a reason that is not the transaction's.
    Failed(String),
    /// Something panicked.
    Panicked(String),
    /// Amounts are too large for balances that were not read: it has to be executed exactly.
    Inexact,
    /// It had read something too early.
    Doomed,
    /// It would have had to wait, and had no fiber to do it in.
    MustWait,
    /// The block was given up.
    Cancelled,
}

/// An executed transaction.
#[derive(Debug)]
pub struct Executed {
    /// Result, gas and logs.
    pub result: ExecutionResult,
    /// What it changed, without the credits. Empty once that has been taken apart, see [`Execution::changes`].
    pub state: EvmState,
    /// Of a plain transfer, which revm did not execute: the sender as it was and is, which is not in `state`.
    pub(crate) payer: Option<Payer>,
    /// The fee for the beneficiary, where it did not read that account.
    pub fee: Option<Credit>,
    /// A plain transfer's value for the recipient.
    pub transfer: Option<Credit>,
}

/// Who pays for a plain transfer.
#[derive(Debug)]
pub(crate) struct Payer {
    /// The place among the accounts that were read.
    pub(crate) account: usize,
    /// What is left.
    pub(crate) info: AccountInfo,
}

/// One incarnation of one transaction.
pub struct Execution {
    pub(crate) index: u32,
    pub(crate) incarnation: u32,
    /// Everything below is final: reads need no registration, and no later check.
    pub(crate) on_final_state: bool,
    /// Credits are not deferred, and every balance is read: they overflowed, or might.
    pub(crate) exact: bool,
    /// Only finds out what the transaction reads, to have the source asked for it early: nothing that it sees is
    /// relied upon, and nothing comes of it.
    pub(crate) scouts: bool,
    /// For a scout: where the last answer will come that it did not wait for.
    pub(crate) guessed: Option<&'static WaitWord<'static>>,
    /// For a scout: how many keys it asked for that were not there.
    pub(crate) asked: u32,
    /// For a scout: how many accounts it has waited for.
    pub(crate) awaited: u32,
    /// For a scout: whether it takes a slot that it does not know for the last one that it read of the account, if any.
    pub(crate) repeats: bool,
    /// The last slot that the source was asked for, and how many after it were asked for too.
    pub(crate) read_ahead: (Address, U256, u32),
    pub(crate) accounts: Vec<AccountRead>,
    pub(crate) slots: Vec<SlotRead>,
    pub(crate) hops: Vec<Hop>,
    pub(crate) predicted: Vec<Predicted>,
    pub(crate) fee: Option<U256>,
    /// An account has paid another one, or has tried to.
    pub(crate) pays: bool,
    /// The balances that it has changed without having read them, once it is published.
    pub(crate) moved: Vec<Moved>,
    /// What it changed, for who commits it.
    pub(crate) changes: Changes,
    /// An empty list for the next publication, to spare an allocation.
    pub(crate) spare: Vec<Written>,
    /// Why reads fail from here on.
    pub(crate) stopped: Option<Stop>,
    /// How it ended.
    pub end: End,
}

/// Why an incarnation reads no more.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    Doomed,
    MustWait,
    Cancelled,
    Inexact,
    Source(SourceError),
    /// Chaos: a resumption went wrong.
    Misplaced,
}

impl Execution {
    /// How it ended, if it was stopped.
    pub(crate) fn stopped(&mut self) -> Option<End> {
        Some(match self.stopped.take()? {
            Stop::Doomed => End::Doomed,
            Stop::MustWait => End::MustWait,
            Stop::Inexact => End::Inexact,
            Stop::Cancelled | Stop::Misplaced => End::Cancelled,
            Stop::Source(error) => End::Source(error),
        })
    }

    /// An execution to be [`reset`](Self::reset) before use.
    pub fn new() -> Box<Self> {
        Box::new(Self {
            index: 0,
            incarnation: 0,
            on_final_state: false,
            exact: false,
            scouts: false,
            guessed: None,
            asked: 0,
            awaited: 0,
            repeats: false,
            read_ahead: (Address::ZERO, U256::ZERO, 0),
            accounts: Vec::new(),
            slots: Vec::new(),
            hops: Vec::new(),
            predicted: Vec::new(),
            fee: None,
            pays: false,
            moved: Vec::new(),
            changes: Changes::default(),
            spare: Vec::new(),
            stopped: None,
            end: End::Unfinished,
        })
    }

    /// Prepares for an incarnation.
    pub fn reset(&mut self, index: u32, incarnation: u32, on_final_state: bool, exact: bool) {
        self.clear();
        self.index = index;
        self.incarnation = incarnation;
        self.on_final_state = on_final_state;
        self.exact = exact;
        self.scouts = false;
    }

    /// Prepares for finding out what a transaction reads, once more. A slot that is not known is taken for zero, or every
    /// other time for the last one read of the account: a loop over numbers may divide by them.
    pub fn reset_to_scout(&mut self, index: u32, round: u32) {
        self.reset(index, 0, false, false);
        self.scouts = true;
        self.asked = 0;
        self.awaited = 0;
        self.repeats = !round.is_multiple_of(2);
    }

    /// What a scout takes a slot for that it does not know.
    pub(crate) fn guess(&self, account: usize) -> U256 {
        let last = || self.slots.iter().rev().find(|read| read.account as usize == account);
        if self.repeats { last().map_or(U256::ZERO, |read| read.value) } else { U256::ZERO }
    }

    /// For a scout: where the last answer will come that it guessed meanwhile. `None`: it has seen the
    /// transaction as it will be, as far as that can be known.
    pub fn guessed(&self) -> Option<&'static WaitWord<'static>> {
        self.guessed
    }

    /// For a scout: how many keys it asked for that were not there.
    pub fn asked(&self) -> u32 {
        self.asked
    }

    /// Forgets everything, keeping the allocations.
    pub fn clear(&mut self) {
        self.accounts.clear();
        self.slots.clear();
        self.hops.clear();
        self.predicted.clear();
        self.moved.clear();
        self.changes.clear();
        self.fee = None;
        self.pays = false;
        self.guessed = None;
        self.read_ahead = (Address::ZERO, U256::ZERO, 0);
        self.stopped = None;
        self.end = End::Unfinished;
    }

    /// The incarnation is given up: what it was expected to write joins what the transaction has written, to
    /// be taken back by a later incarnation.
    pub fn abandon(&mut self, written: &mut Vec<Written>) {
        written.extend(self.predicted.drain(..).map(|predicted| predicted.written));
    }

    /// Keeps the memory of a list of versions that is needed no more.
    pub fn keep_written(&mut self, mut written: Vec<Written>) {
        written.clear();
        self.spare = written;
    }

    /// The transaction's index.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Whether it ran on final state.
    pub fn on_final_state(&self) -> bool {
        self.on_final_state
    }

    /// Chaos: whether it ended since its fiber was resumed on another thread than that of the worker it was
    /// given. That is a fault whatever became of the incarnation.
    pub fn was_misplaced(&self) -> bool {
        matches!(self.stopped, Some(Stop::Misplaced))
    }

    /// An account of revm's journal as it was read.
    pub(crate) fn read_of(&self, address: &Address, account: &Account) -> Option<&AccountRead> {
        self.position_of(address, account).map(|position| &self.accounts[position])
    }

    /// Its position among the accounts that were read.
    pub(crate) fn position_of(&self, address: &Address, account: &Account) -> Option<usize> {
        // Its id is a position, if it was read here.
        let known = account.info.account_id.map(|id| id.get());
        let is_it = |position: &usize| {
            self.accounts.get(*position).is_some_and(|read| read.actor.address == *address)
        };
        known.filter(is_it).or_else(|| self.account(address))
    }

    /// Keeps what revm's journal says that it changed, in the form in which it is committed.
    pub(crate) fn take_apart(&mut self, state: EvmState) {
        for (address, account) in state {
            if account.is_touched() {
                let before = self.read_of(&address, &account).map(AccountRead::before);
                self.changes.note(address, account, before);
            }
        }
    }

    /// Whether it has changed a slot.
    pub fn wrote(&self, address: &Address, slot: &U256) -> bool {
        let End::Executed(executed) = &self.end else { return false };
        let account = executed.state.get(address);
        account.and_then(|account| account.storage.get(slot)).is_some_and(|slot| slot.is_changed())
            || self.changes.contain(address, slot)
    }

    /// What it changed, once it has been published, if that was taken apart.
    pub fn changes(&mut self) -> &mut Changes {
        &mut self.changes
    }

    /// Whether everything that the incarnation observed is still what lies below its index. Compares values,
    /// so that a cell that was rewritten with the same value does no harm.
    pub fn still_valid(&self) -> bool {
        for read in &self.accounts {
            match read.actor.cells.view_of(self.index, read.fields, false) {
                Ok(view) if view.agrees(&read.view, read.fields) && read.is_enough(self.index) => {}
                Ok(_) | Err(NotReady::Blocked(_) | NotReady::Unloaded) => {
                    read.actor.cells.set_contended();
                    return false;
                }
            }
        }
        for read in &self.slots {
            let account = &self.accounts[read.account as usize];
            let stored = account.actor.cells.has_source_storage(self.index);
            match read.cell.view(self.index, account.view.wiped, stored) {
                SlotView::Value(value, _) if value == read.value => {}
                SlotView::Value(..) | SlotView::Blocked(_) | SlotView::Unloaded => {
                    read.cell.set_contended();
                    return false;
                }
            }
        }
        true
    }

    /// A slot that is not any more what the incarnation saw of it, and the transaction that wrote it, as far as that is
    /// known.
    pub fn misled(&self) -> Option<(Address, U256, Option<u32>)> {
        self.slots.iter().find_map(|read| {
            let account = &self.accounts[read.account as usize];
            let stored = account.actor.cells.has_source_storage(self.index);
            let writer = match read.cell.view(self.index, account.view.wiped, stored) {
                SlotView::Value(value, _) if value == read.value => return None,
                SlotView::Value(_, writer) => (writer > 0).then_some(writer),
                SlotView::Blocked(version) => Some(version.index()),
                SlotView::Unloaded => None,
            };
            Some((account.actor.address, read.slot, writer))
        })
    }

    /// Announces that the transaction will write these slots, before it begins. Returns whether an earlier one has
    /// announced one of them and has not written it.
    pub fn announce(
        &mut self,
        block: &BlockState,
        slots: &[(Address, U256)],
        worker: &WorkerContext,
    ) -> bool {
        let mut waits = false;
        for (address, slot) in slots {
            let actor = block.actor(*address, worker);
            let cell = block.directory().slot(actor, *slot, worker.arena);
            let entry = cell.versions.entry(self.index, worker.arena);
            let written = Written { word: entry.common(), readers: &cell.readers, fields: Fields::SLOT };
            let hop = Hop { address: *address, selector: Selector::default() };
            self.expect(written, None, hop);
            waits |= matches!(cell.view(self.index, 0, true), SlotView::Blocked(_));
        }
        waits
    }

    pub(crate) fn note_slot(
        &mut self,
        account: usize,
        slot: U256,
        cell: &'static SlotCell<'static>,
        value: U256,
    ) {
        self.slots.push(SlotRead { account: account as u32, slot, cell, value });
    }

    /// Slots that lie side by side (the elements of an array, the fields of a struct) tend to be read one after the
    /// other: the more often that was so, the more of them the source is asked for ahead.
    pub(crate) fn read_ahead(
        &mut self,
        block: &BlockState,
        account: Address,
        slot: U256,
        worker: &WorkerContext,
    ) {
        let (last_account, last_slot, asked) = self.read_ahead;
        let distance = slot.wrapping_sub(last_slot);
        let follows = account == last_account && distance > U256::ZERO && distance <= U256::from(asked + 1);
        let ahead = if follows { (asked * 2).clamp(2, MOST_AHEAD) } else { 0 };
        self.read_ahead = (account, slot, ahead);
        if ahead > 0 {
            let actor = block.actor(account, worker);
            for distance in 1..=ahead {
                let slot = slot.wrapping_add(U256::from(distance));
                let cell = block.directory().slot(actor, slot, worker.arena);
                block.ask_for(Place::Slot { account, slot, cell }, worker);
            }
        }
    }

    pub(crate) fn account(&self, address: &Address) -> Option<usize> {
        // From the end: what is looked for was mostly read last.
        self.accounts.iter().rposition(|read| read.actor.address == *address)
    }

    /// Enters estimates for what a call of this function is expected to write.
    pub(crate) fn predict(
        &mut self,
        block: &BlockState,
        hop: Hop,
        arena: &'static counterpoint_state::Arena,
    ) -> u32 {
        let Some(account) = self.account(&hop.address) else { return 0 };
        let actor = self.accounts[account].actor;
        let mut entered = 0;
        for cell in actor.memory.predict(hop.selector) {
            let entry = cell.versions.entry(self.index, arena);
            if self.expect(
                Written { word: entry.common(), readers: &cell.readers, fields: Fields::SLOT },
                Some(cell),
                hop,
            ) {
                entered += 1;
            }
        }
        debug_assert!(block.indices().contains(&self.index));
        entered
    }

    /// Chaos: enters estimates on cells that the transaction probably does not write.
    pub fn predict_wrongly(&mut self, block: &BlockState, chaos: &Chaos, worker: &WorkerContext) {
        if self.on_final_state || !chaos.one_in(3) {
            return;
        }
        let indices = block.indices();
        let victim = indices.start() + (chaos.next() % u64::from(indices.end() - indices.start() + 1)) as u32;
        let transaction = block.transaction(victim);
        let address = match transaction.kind {
            TxKind::Call(to) if chaos.one_in(2) => to,
            _ => transaction.caller,
        };
        let actor = block.actor(address, worker);
        let hop = Hop { address, selector: Selector::default() };
        let balance = actor.cells.balance.entry(self.index, worker.arena);
        let readers = &actor.cells.readers;
        self.expect(Written { word: balance.common(), readers, fields: Fields::BALANCE }, None, hop);
        let slot = block.directory().slot(actor, U256::from(chaos.next() % 3), worker.arena);
        let entry = slot.versions.entry(self.index, worker.arena);
        let written = Written { word: entry.common(), readers: &slot.readers, fields: Fields::SLOT };
        self.expect(written, Some(slot), hop);
    }

    /// Enters one estimate, unless the transaction has a version there already.
    pub(crate) fn expect(
        &mut self,
        written: Written,
        cell: Option<&'static SlotCell<'static>>,
        hop: Hop,
    ) -> bool {
        if !written.word.is_absent() || written.word.stamp() == self.incarnation {
            return false;
        }
        written.word.estimate();
        self.predicted.push(Predicted { written, cell, hop });
        true
    }
}

impl AccountRead {
    /// What it was.
    pub(crate) fn before(&self) -> Before {
        let AccountView { nonce, balance, code_hash, .. } = self.view;
        if self.is_unseen() {
            // Who commits it knows what it has, unless that is what it had before the block.
            let first = self.actor.cells.base().and_then(Option::as_ref);
            let first = first.map_or(U256::ZERO, |info| info.balance);
            return Before { nonce, balance: first, code_hash, assumed: Some(balance) };
        }
        Before { nonce, balance, code_hash, assumed: None }
    }

    /// Whether its balance was not read.
    pub(crate) fn is_unseen(&self) -> bool {
        self.fields == Fields::BUT_BALANCE
    }

    /// Whether it has enough, as far as that is known, for what was paid from a balance that was not read.
    fn is_enough(&self, index: u32) -> bool {
        self.least.is_zero() || self.actor.cells.balance_so_far(index) >= self.least
    }

    /// As revm's journal has it when it has paid for a plain transfer.
    pub(crate) fn paid(&self, info: AccountInfo) -> Account {
        let mut account = Account::from(self.view.info().unwrap_or_default());
        account.info = info;
        account.mark_touch();
        account
    }

    /// Whether the account exists in the source, which leaves its code to be asked for by hash.
    pub(crate) fn has_code_by_hash(&self) -> bool {
        matches!(self.actor.cells.base(), Some(Some(info)) if info.code.is_none())
    }
}

impl fmt::Debug for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execution")
            .field("index", &self.index)
            .field("incarnation", &self.incarnation)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
