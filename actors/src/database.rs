//! revm's `Database` over the block's cells: a read that must wait suspends its fiber.

use corosensei::Yielder;
use counterpoint_state::{
    AccountView, Fields, Known, NotReady, Phase, Reader, SlotView, SourceError, StateSource, VersionWord,
    WaitWord,
};
use revm::{
    bytecode::Bytecode,
    database_interface::{DBErrorMarker, Database},
    primitives::{Address, B256, KECCAK_EMPTY, U256},
    state::{Account, AccountId, AccountInfo},
};

use crate::{
    balances::Look,
    block::BlockState,
    chaos::Chaos,
    digests::Digests,
    directory::Actor,
    evm::EvmDatabase,
    execution::{AccountRead, Execution, Hop, Stop},
    fiber::{Order, Request, on_worker_stack},
    loading::Place,
    worker::{Counter, Counters, WorkerContext},
};

/// Why a read failed. Within revm only: the runtime turns it into how the incarnation
/// [`End`](crate::End)ed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The incarnation stops here: it is doomed, cancelled, or must wait and cannot.
    #[error("the execution was stopped")]
    Stopped,
    /// The source failed.
    #[error(transparent)]
    Source(SourceError),
}

impl DBErrorMarker for ReadError {}

/// What ties a database to the incarnation that it serves at the moment.
///
/// Raw pointers, since database, EVM and fiber outlive each incarnation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) block: *const BlockState,
    pub(crate) execution: *mut Execution,
    pub(crate) worker: WorkerContext,
    /// Null where there is no fiber.
    pub(crate) yielder: *const Yielder<Order, Request>,
}

/// The database of one EVM.
#[derive(Debug, Default)]
pub struct CellDatabase {
    link: Option<Link>,
    /// The recipient that may be credited without being read, and whether it was.
    pub(crate) credited: Option<Address>,
    pub(crate) masked: bool,
    /// Accounts may be read without their balances, see `balances.rs`.
    pub(crate) leaves_unseen: bool,
    /// An instruction that looks at balances is at work.
    observes: bool,
}

/// A scout asks for so many keys that it does not wait for, before it ends and waits.
const GUESSES: u32 = 1_024;

/// A scout waits for so many accounts, since it may have to call them. Those after that it takes for missing until it goes
/// again: a loop over many becomes one round of requests.
const AWAITED: u32 = 8;

impl CellDatabase {
    pub(crate) fn attach(&mut self, link: Link, credited: Option<Address>, leaves_unseen: bool) {
        self.link = Some(link);
        self.leaves_unseen = leaves_unseen;
        self.credited = credited;
        self.masked = false;
        self.observes = false;
    }

    pub(crate) fn detach(&mut self) {
        self.link = None;
    }

    fn link(&self) -> &Link {
        self.link.as_ref().expect("the EVM runs only while it is attached to an incarnation")
    }

    pub(crate) fn block(&self) -> &BlockState {
        // SAFETY: `Executor::run` attaches pointers that stay valid until it detaches them.
        unsafe { &*self.link().block }
    }

    /// The state of the block, for as long as the incarnation runs.
    fn lasting_block(&self) -> &'static BlockState {
        // SAFETY: the block outlives the run, see `Link`.
        unsafe { &*self.link().block }
    }

    pub(crate) fn execution(&mut self) -> &mut Execution {
        // SAFETY: as in `block`; nobody else touches the execution while the EVM has it.
        unsafe { &mut *self.link().execution }
    }

    /// The worker that runs this now. Not to be kept over a read.
    pub(crate) fn worker(&self) -> WorkerContext {
        self.link().worker
    }

    /// Asks the source, on the worker's stack: nobody knows how much it needs.
    fn ask<R>(&self, question: impl FnOnce(&dyn StateSource) -> R) -> R {
        // SAFETY: the link's yielder is that of the fiber that runs this; a source knows of no fiber.
        unsafe { on_worker_stack(self.link().yielder, || question(&*self.block().source)) }
    }

    /// Before every read: is there a point in going on?
    fn check(&mut self) -> Result<(), ReadError> {
        if !self.link().yielder.is_null() && self.block().chaos.as_ref().is_some_and(Chaos::pauses) {
            self.suspend(Request::Pause)?;
        }
        if self.block().is_over() {
            return self.stop(Stop::Cancelled);
        }
        match &self.execution().stopped {
            None => {}
            Some(Stop::Source(error)) => return Err(ReadError::Source(error.clone())),
            Some(_) => return Err(ReadError::Stopped),
        }
        let (index, scouts) = (self.execution().index, self.execution().scouts);
        let word = self.block().word(index).load();
        if scouts {
            // What the transaction itself has read by now needs no scout.
            return match word.phase() {
                Phase::Executed | Phase::Final => self.stop(Stop::Cancelled),
                _ => Ok(()),
            };
        }
        if word.invalid() {
            self.look_again()?;
        }
        Ok(())
    }

    /// Somebody says that this incarnation read something too early: is it so?
    #[cold]
    fn look_again(&mut self) -> Result<(), ReadError> {
        let index = self.execution().index;
        // Taken before the look, so that an invalidation during the look is not lost.
        if self.block().word(index).take_invalid() && !self.execution().still_valid() {
            return self.stop(Stop::Doomed);
        }
        Ok(())
    }

    pub(crate) fn stop<T>(&mut self, why: Stop) -> Result<T, ReadError> {
        let error = match &why {
            Stop::Source(error) => ReadError::Source(error.clone()),
            _ => ReadError::Stopped,
        };
        self.execution().stopped = Some(why);
        Err(error)
    }

    /// Waits until a version is there, or may be.
    #[cold]
    fn wait(
        &mut self,
        version: &'static VersionWord<'static>,
        waits: fn(&Counters) -> &Counter,
    ) -> Result<(), ReadError> {
        self.park(Request::Wait(version.waiting()), waits)
    }

    /// Makes the value before the block known: asks a source that answers at once, or waits for the answer of one
    /// that does not, which is asked once.
    #[cold]
    fn load(&mut self, place: Place) -> Result<(), ReadError> {
        if !self.block().is_deferred() {
            let worker = self.worker();
            return match self.ask(|source| place.ask(source)) {
                Ok(answer) => {
                    // Nobody waits where the source answers at once.
                    let _ = place.note(Ok(answer), &worker);
                    Ok(())
                }
                Err(error) => self.stop(Stop::Source(error)),
            };
        }
        match place.known() {
            Known::Value => Ok(()),
            Known::Failed(error) => self.stop(Stop::Source(error.0.clone())),
            Known::Asked(word) => self.park(Request::Load(word), |counters| &counters.source_waits),
            Known::Nothing => {
                let block = self.lasting_block();
                let worker = self.worker();
                block.ask_for(place, &worker);
                if let Place::Slot { account, slot, .. } = place {
                    self.execution().read_ahead(block, account, slot, &worker);
                }
                Ok(())
            }
        }
    }

    fn park(&mut self, request: Request, waits: fn(&Counters) -> &Counter) -> Result<(), ReadError> {
        if self.link().yielder.is_null() {
            return self.stop(Stop::MustWait);
        }
        waits(self.worker().counters).increment();
        self.suspend(request)?;
        self.check()
    }

    /// Gives the thread back to the worker. On return it may be another thread: never inlined, and nothing
    /// that can suspend touches a thread-local.
    #[inline(never)]
    fn suspend(&mut self, request: Request) -> Result<(), ReadError> {
        let yielder = self.link().yielder;
        // SAFETY: not null (checked by the callers), and the yielder lives on the fiber that runs this.
        match unsafe { &*yielder }.suspend(request) {
            Order::Resume { worker } => {
                let link = self.link.as_mut().expect("attached");
                if !link.worker.is(&worker) {
                    worker.counters.migrated.increment();
                }
                link.worker = worker;
                if self.block().chaos.is_some() && !worker.is_here() {
                    self.misplaced();
                }
                Ok(())
            }
            Order::Run { .. } | Order::Cancel | Order::Exit => self.stop(Stop::Cancelled),
        }
    }

    /// The worker that came with the resumption is not the thread that runs this.
    #[cold]
    fn misplaced(&mut self) -> ! {
        self.execution().stopped = Some(Stop::Misplaced);
        panic!("the fiber was resumed on another thread than that of the worker it was given");
    }

    /// Reads an account; returns its position among the accounts that this incarnation read.
    fn read_account(&mut self, address: Address) -> Result<usize, ReadError> {
        self.check()?;
        let worker = self.worker();
        let index = self.execution().index;
        let block = self.block();
        let is_caller = block.transaction(index).caller == address;
        let actor = match is_caller {
            true => block.sender(index, &worker),
            false => block.actor(address, &worker),
        };
        let may_be_unseen = !is_caller && !self.observes && self.leaves_unseen;
        // A recipient without code: the transaction depends on that alone.
        if self.credited == Some(address)
            && let Some(view) =
                self.read_fields(actor, Fields::CODE, |view| view.code_hash == KECCAK_EMPTY)?
        {
            self.masked = true;
            return Ok(self.note_account(actor, view, Fields::CODE));
        }
        // With nonce or code it is not empty, whatever its balance.
        if may_be_unseen
            && let Some(view) = self.read_fields(actor, Fields::BUT_BALANCE, |view| {
                view.exists && (view.nonce != 0 || view.code_hash != KECCAK_EMPTY)
            })?
        {
            return Ok(self.note_account(actor, view, Fields::BUT_BALANCE));
        }
        let view = self.read_fields(actor, Fields::ACCOUNT, |_| true)?.expect("anything will do");
        Ok(self.note_account(actor, view, Fields::ACCOUNT))
    }

    fn note_account(
        &mut self,
        actor: &'static Actor<'static>,
        view: AccountView<'static>,
        fields: Fields,
    ) -> usize {
        let accounts = &mut self.execution().accounts;
        accounts.push(AccountRead { actor, view, fields, least: U256::ZERO });
        accounts.len() - 1
    }

    /// Reads these fields of an account, and registers that. `None`: what is there will not do, and is not relied upon.
    pub(crate) fn read_fields(
        &mut self,
        actor: &'static Actor<'static>,
        fields: Fields,
        will_do: impl Fn(&AccountView<'static>) -> bool,
    ) -> Result<Option<AccountView<'static>>, ReadError> {
        let (index, incarnation, registers, scouts) = {
            let execution = self.execution();
            let registers = !execution.on_final_state && !execution.scouts;
            (execution.index, execution.incarnation, registers, execution.scouts)
        };
        loop {
            match actor.cells.view_of(index, fields, scouts) {
                Ok(view) if !will_do(&view) => return Ok(None),
                Ok(view) => {
                    // What nobody has written or been misled by is left to the check at the frontier.
                    if registers && !(view.floor == 0 && actor.cells.is_quiet(fields)) {
                        let reader = Reader::new(index, incarnation, view.floor, fields);
                        actor.cells.readers.register(self.worker().arena.alloc(reader));
                        // The second look, see `counterpoint_state::readers`.
                        let unchanged = actor.cells.is_unwritten(fields)
                            || actor.cells.view_of(index, fields, false).is_ok_and(|second| {
                                second.floor >= view.floor && second.agrees(&view, fields)
                            });
                        if !unchanged {
                            continue;
                        }
                    }
                    return Ok(Some(view));
                }
                Err(NotReady::Unloaded) => self.load(Place::Account(actor))?,
                Err(NotReady::Blocked(version)) => self.wait(version, |counters| &counters.account_waits)?,
            }
        }
    }

    /// A scout: whether it goes on without this account, for which the source is asked.
    fn looks_past(&mut self, address: Address) -> Result<bool, ReadError> {
        self.check()?;
        let worker = self.worker();
        let actor = self.block().actor(address, &worker);
        if actor.cells.base().is_some() {
            return Ok(false);
        }
        let index = self.execution().index;
        if self.execution().awaited < AWAITED || self.block().transaction(index).caller == address {
            self.execution().awaited += 1;
            self.execution().asked += 1;
            return Ok(false);
        }
        let place = Place::Account(actor);
        self.block().ask_for(place, &worker);
        match place.known() {
            Known::Asked(word) => {
                self.guessed(word)?;
                Ok(true)
            }
            Known::Value | Known::Nothing | Known::Failed(_) => Ok(false),
        }
    }

    /// A scout does not wait for this answer. One that has asked for many ends here, and goes again when it is there: where
    /// a guess sends it round a loop it would ask for ever.
    fn guessed(&mut self, answer: &'static WaitWord<'static>) -> Result<(), ReadError> {
        let execution = self.execution();
        execution.guessed = Some(answer);
        execution.asked += 1;
        if execution.asked >= GUESSES { self.stop(Stop::Cancelled) } else { Ok(()) }
    }

    fn read_slot(&mut self, account: usize, slot: U256) -> Result<U256, ReadError> {
        self.check()?;
        let worker = self.worker();
        let (index, incarnation, registers, scouts, actor, wiped) = {
            let execution = self.execution();
            let read = &execution.accounts[account];
            let registers = !execution.on_final_state && !execution.scouts;
            let (index, incarnation) = (execution.index, execution.incarnation);
            (index, incarnation, registers, execution.scouts, read.actor, read.view.wiped)
        };
        let cell = self.block().directory().slot(actor, slot, worker.arena);
        loop {
            let stored = actor.cells.has_source_storage(index);
            match cell.view_past(index, wiped, stored, scouts) {
                SlotView::Value(value, floor) => {
                    if registers && !(floor == 0 && cell.is_quiet()) {
                        let reader = Reader::new(index, incarnation, floor, Fields::SLOT);
                        cell.readers.register(self.worker().arena.alloc(reader));
                        let unchanged = cell.versions.is_empty()
                            || matches!(
                                cell.view(index, wiped, stored),
                                SlotView::Value(second, at) if second == value && at >= floor
                            );
                        if !unchanged {
                            continue;
                        }
                    }
                    self.execution().note_slot(account, slot, cell, value);
                    return Ok(value);
                }
                SlotView::Unloaded => {
                    let place = Place::Slot { account: actor.address, slot, cell };
                    if scouts {
                        // A row of reads that do not depend on each other becomes one round of requests.
                        self.block().ask_for(place, &self.worker());
                        match place.known() {
                            Known::Asked(word) => self.guessed(word)?,
                            Known::Value => continue,
                            Known::Nothing | Known::Failed(_) => {}
                        }
                        return Ok(self.execution().guess(account));
                    }
                    self.load(place)?;
                }
                SlotView::Blocked(version) => self.wait(version, |counters| &counters.slot_waits)?,
            }
        }
    }
}

impl EvmDatabase for CellDatabase {
    const IN_PARALLEL: bool = true;

    fn arrive(&mut self, hop: Hop) {
        let worker = self.worker();
        worker.counters.hops.increment();
        let block = self.lasting_block();
        let execution = self.execution();
        execution.hops.push(hop);
        if !execution.on_final_state && !execution.scouts {
            let entered = execution.predict(block, hop, worker.arena);
            for _ in 0..entered {
                worker.counters.predicted.increment();
            }
        }
    }

    fn leave(&mut self) {
        self.worker().counters.hops.increment();
    }

    fn digests<R>(&mut self, look: impl FnOnce(&mut Digests) -> R) -> R {
        // Given back before anything can suspend.
        look(&mut self.worker().digests.borrow_mut())
    }

    fn has_stored(&mut self, address: Address) -> Result<bool, ReadError> {
        self.ask(|source| source.has_storage(address)).or_else(|error| self.stop(Stop::Source(error)))
    }

    fn is_wiped(&mut self, address: Address) -> bool {
        let execution = self.execution();
        execution.account(&address).is_some_and(|account| execution.accounts[account].view.wiped != 0)
    }

    fn look_at(
        &mut self,
        address: Address,
        account: &Account,
        look: Look,
    ) -> Result<Option<U256>, ReadError> {
        self.look_at_balance(address, account, look)
    }

    fn observes(&mut self, observes: bool) {
        self.observes = observes;
    }

    fn defers_fee(&mut self) -> bool {
        !self.execution().exact
    }

    /// Makes known what the fee will be added to, too: the frontier does not wait for it.
    fn defer_fee(&mut self, fee: U256) -> Result<(), ReadError> {
        if self.block().is_deferred() {
            let actor = self.block().beneficiary(&self.worker());
            while actor.cells.base().is_none() {
                self.load(Place::Account(actor))?;
            }
        }
        self.execution().fee = Some(fee);
        Ok(())
    }
}

impl Database for CellDatabase {
    type Error = ReadError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, ReadError> {
        if self.execution().scouts && self.looks_past(address)? {
            return Ok(None);
        }
        let account = self.read_account(address)?;
        let read = &self.execution().accounts[account];
        let masked = read.fields == Fields::CODE;
        let mut info = read.view.info();
        if self.execution().scouts {
            let index = self.execution().index;
            let tx = self.block().transaction(index);
            if tx.caller == address {
                // Lower transactions may still have to fund it and to raise its nonce.
                let mut sender = info.unwrap_or_default();
                sender.nonce = tx.nonce;
                sender.balance = U256::MAX >> 1;
                info = Some(sender);
            }
        }
        if let Some(info) = &mut info {
            // The id is the position: storage reads find the account's actor by it.
            info.account_id = AccountId::new(account);
            if masked {
                // What is there at the end is the credit. The nonce keeps the account from looking empty, for
                // which revm's journal would drop the touch before EIP-161; nothing else looks at it.
                info.balance = U256::ZERO;
                info.nonce = 1;
            }
        }
        Ok(info)
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, ReadError> {
        self.check()?;
        // Code that the block deployed comes with its account; what is asked for here is the source's.
        let code = self.block().directory().code(code_hash, self.worker().arena);
        loop {
            if let Some(code) = code.get() {
                return Ok(code.clone());
            }
            self.load(Place::Code(code_hash, code))?;
        }
    }

    fn storage(&mut self, address: Address, index: U256) -> Result<U256, ReadError> {
        let account = match self.execution().account(&address) {
            Some(account) => account,
            None => self.read_account(address)?,
        };
        self.read_slot(account, index)
    }

    fn storage_by_account_id(
        &mut self,
        address: Address,
        account_id: AccountId,
        storage_key: U256,
    ) -> Result<U256, ReadError> {
        let account = account_id.get();
        match self.execution().accounts.get(account) {
            Some(read) if read.actor.address == address => self.read_slot(account, storage_key),
            _ => self.storage(address, storage_key),
        }
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, ReadError> {
        self.check()?;
        let hash = self.block().directory().block_hash(number, self.worker().arena);
        loop {
            if let Some(hash) = hash.get() {
                return Ok((*hash).into());
            }
            self.load(Place::BlockHash(number, hash))?;
        }
    }
}
