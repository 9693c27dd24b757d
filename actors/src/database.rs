//! revm's `Database` over the block's cells: a read that must wait suspends its fiber.

use corosensei::Yielder;
use counterpoint_state::{Fields, NotReady, Reader, SlotView, SourceError, StateSource, VersionWord};
use revm::{
    bytecode::Bytecode,
    database_interface::{DBErrorMarker, Database},
    primitives::{Address, B256, KECCAK_EMPTY, U256},
    state::{AccountId, AccountInfo},
};

use crate::{
    block::BlockState,
    execution::{AccountRead, Execution, Stop},
    fiber::{Order, Request, on_worker_stack},
    worker::WorkerContext,
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
}

impl CellDatabase {
    pub(crate) fn attach(&mut self, link: Link, credited: Option<Address>) {
        self.link = Some(link);
        self.credited = credited;
        self.masked = false;
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

    /// Whether the source has storage of the account.
    pub(crate) fn has_stored(&mut self, address: Address) -> Result<bool, ReadError> {
        self.ask(|source| source.has_storage(address)).or_else(|error| self.stop(Stop::Source(error)))
    }

    /// Whether an account that this incarnation has read was wiped in the block, with its storage.
    pub(crate) fn is_wiped(&mut self, address: Address) -> bool {
        let execution = self.execution();
        execution.account(&address).is_some_and(|account| execution.accounts[account].view.wiped != 0)
    }

    /// Before every read: is there a point in going on?
    fn check(&mut self) -> Result<(), ReadError> {
        if self.block().chaos.as_ref().is_some_and(|chaos| chaos.one_in(4)) && !self.link().yielder.is_null()
        {
            self.suspend(Request::Pause)?;
        }
        match &self.execution().stopped {
            None => {}
            Some(Stop::Source(error)) => return Err(ReadError::Source(error.clone())),
            Some(_) => return Err(ReadError::Stopped),
        }
        let index = self.execution().index;
        if self.block().word(index).load().invalid() {
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

    fn stop<T>(&mut self, why: Stop) -> Result<T, ReadError> {
        let error = match &why {
            Stop::Source(error) => ReadError::Source(error.clone()),
            _ => ReadError::Stopped,
        };
        self.execution().stopped = Some(why);
        Err(error)
    }

    /// Waits until a version is there, or may be.
    #[cold]
    fn wait(&mut self, version: &'static VersionWord<'static>) -> Result<(), ReadError> {
        if self.link().yielder.is_null() {
            return self.stop(Stop::MustWait);
        }
        self.suspend(Request::Wait(version))?;
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
                self.link.as_mut().expect("attached").worker = worker;
                Ok(())
            }
            Order::Run { .. } | Order::Cancel | Order::Exit => self.stop(Stop::Cancelled),
        }
    }

    /// Reads an account; returns its position among the accounts that this incarnation read.
    fn read_account(&mut self, address: Address) -> Result<usize, ReadError> {
        self.check()?;
        let worker = self.worker();
        let actor = self.block().actor(address, &worker);
        let (index, incarnation, on_final_state) = {
            let execution = self.execution();
            (execution.index, execution.incarnation, execution.on_final_state)
        };
        loop {
            match actor.cells.view(index) {
                Ok(view) => {
                    // A recipient without code: the transaction depends on that alone.
                    let masked = self.credited == Some(address) && view.code_hash == KECCAK_EMPTY;
                    let fields = if masked { Fields::CODE } else { Fields::ACCOUNT };
                    if !on_final_state {
                        let reader = Reader::new(index, incarnation, view.floor, fields);
                        actor.cells.readers.register(self.worker().arena.alloc(reader));
                        // The second look, see `counterpoint_state::readers`.
                        let unchanged = actor.cells.is_unwritten()
                            || actor.cells.view(index).is_ok_and(|second| {
                                second.floor >= view.floor && second.agrees(&view, fields)
                            });
                        if !unchanged {
                            continue;
                        }
                    }
                    self.masked |= masked;
                    let accounts = &mut self.execution().accounts;
                    accounts.push(AccountRead { actor, view, fields });
                    return Ok(accounts.len() - 1);
                }
                Err(NotReady::Unloaded) => match self.ask(|source| source.account(address)) {
                    Ok(info) => actor.cells.set_base(info, self.worker().arena),
                    Err(error) => return self.stop(Stop::Source(error)),
                },
                Err(NotReady::Blocked(version)) => self.wait(version)?,
            }
        }
    }

    fn read_slot(&mut self, account: usize, slot: U256) -> Result<U256, ReadError> {
        self.check()?;
        let worker = self.worker();
        let (index, incarnation, on_final_state, actor, wiped, existed) = {
            let execution = self.execution();
            let read = &execution.accounts[account];
            (
                execution.index,
                execution.incarnation,
                execution.on_final_state,
                read.actor,
                read.view.wiped,
                read.existed(),
            )
        };
        let cell = self.block().directory().slot(actor, slot, worker.arena);
        loop {
            match cell.view(index, wiped, existed) {
                SlotView::Value(value, floor) => {
                    if !on_final_state {
                        let reader = Reader::new(index, incarnation, floor, Fields::SLOT);
                        cell.readers.register(self.worker().arena.alloc(reader));
                        let unchanged = cell.versions.is_empty()
                            || matches!(
                                cell.view(index, wiped, existed),
                                SlotView::Value(second, at) if second == value && at >= floor
                            );
                        if !unchanged {
                            continue;
                        }
                    }
                    self.execution().note_slot(account, slot, cell, value);
                    return Ok(value);
                }
                SlotView::Unloaded => match self.ask(|source| source.storage(actor.address, slot)) {
                    Ok(value) => cell.set_base(value, self.worker().arena),
                    Err(error) => return self.stop(Stop::Source(error)),
                },
                SlotView::Blocked(version) => self.wait(version)?,
            }
        }
    }
}

impl Database for CellDatabase {
    type Error = ReadError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, ReadError> {
        let account = self.read_account(address)?;
        let read = &self.execution().accounts[account];
        let masked = !read.fields.contains(Fields::BALANCE);
        let mut info = read.view.info();
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
        if let Some(code) = self.block().directory().code(code_hash) {
            return Ok(code);
        }
        match self.ask(|source| source.code(code_hash)) {
            Ok(code) => {
                self.block().directory().keep_code(code_hash, code.clone());
                Ok(code)
            }
            Err(error) => self.stop(Stop::Source(error)),
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
        match self.ask(|source| source.block_hash(number)) {
            Ok(hash) => Ok(hash),
            Err(error) => self.stop(Stop::Source(error)),
        }
    }
}
