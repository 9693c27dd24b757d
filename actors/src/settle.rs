//! At the frontier, credits are added to what is there, one by one, as sequential execution would.

use counterpoint_state::{Changeset, Code, Fields, Lifecycle, NotReady, SourceError};
use revm::{
    bytecode::Bytecode,
    primitives::{Address, U256, hardfork::SpecId},
    state::{Account, AccountInfo, EvmState, TransactionId},
};

use crate::{
    balances::HUGE,
    block::BlockState,
    directory::Actor,
    execution::{Credit, Executed, Execution, Moved},
    fiber::contain,
    worker::{Signals, WorkerContext},
};

/// Why credits could not be settled.
#[derive(Debug)]
pub enum Unsettled {
    /// The transfer overflows the recipient's balance, or what was moved may overflow another one: the transaction has to be
    /// executed exactly.
    Overflow,
    /// The source failed.
    Source(SourceError),
    /// The source panicked.
    Panicked(String),
}

/// Which rule an overflow follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A transfer that overflows fails.
    Transfer,
    /// A reward that overflows is dropped, but touches the account.
    Fee,
}

/// Adds the deferred credits of a transaction to its state, or at once to the changeset, unless `apart`
/// asks for the transaction's changes apart. Everything below must be final, and in the changeset.
///
/// # Errors
///
/// See [`Unsettled`]; of [`Unsettled::Overflow`] nothing was changed.
pub fn settle(
    block: &BlockState,
    execution: &Execution,
    executed: &mut Executed,
    changeset: &mut Changeset,
    apart: bool,
    worker: WorkerContext,
    signals: &mut dyn Signals,
) -> Result<(), Unsettled> {
    let index = execution.index;
    balances(block, execution, changeset, worker)?;
    if apart {
        show_balances(execution, &mut executed.state, changeset);
    }
    for (kind, credit) in [(Kind::Transfer, executed.transfer), (Kind::Fee, executed.fee)] {
        let Some(credit) = credit else { continue };
        // Who is credited without being read is not in the state.
        debug_assert!(!executed.state.contains_key::<Address>(&credit.actor.address));
        if !apart
            && let Some(entry) = credit.entry
            && let Some(sum) = changeset.credit(&credit.actor.address, credit.amount, kind == Kind::Transfer)
        {
            // A later reader finds the sum at once, and not by folding.
            entry.settle(worker.arena.alloc(sum));
            continue;
        }
        let before = match changeset.account(&credit.actor.address) {
            Some(info) => info.cloned(),
            None => find(block, index, &credit, worker)?,
        };
        let account = add(block, index, before, &credit, kind, worker, signals)?;
        executed.state.insert(credit.actor.address, account);
    }
    executed.transfer = None;
    executed.fee = None;
    Ok(())
}

/// What an account holds that was not read so far, in wei.
fn balance(read: &Actor<'_>, changeset: &Changeset) -> U256 {
    // What no transaction has changed is as it was before the block.
    let info = match changeset.account(&read.address) {
        Some(info) => info,
        None => read.cells.base().and_then(Option::as_ref),
    };
    info.map_or(U256::ZERO, |info| info.balance)
}

/// Works out the balances that the transaction has changed without reading them, see `balances.rs`.
fn balances(
    block: &BlockState,
    execution: &Execution,
    changeset: &Changeset,
    worker: WorkerContext,
) -> Result<(), Unsettled> {
    let moved = &execution.moved;
    let is_huge = |actor: &Actor<'_>| balance(actor, changeset) >= HUGE;
    // What has come and gone again, or was undone, has not moved, and yet it may not have fitted.
    let paid = execution.pays || !block.transaction(execution.index).value.is_zero();
    let may_overflow = match paid {
        true => execution.accounts.iter().filter(|read| read.is_unseen()).any(|read| is_huge(read.actor)),
        false => moved.iter().any(|moved| is_huge(moved.actor)),
    };
    if may_overflow {
        return Err(Unsettled::Overflow);
    }
    for Moved { actor, delta, entry } in moved {
        // A later reader finds the sum at once, and not by folding.
        entry.settle(worker.arena.alloc(balance(actor, changeset).wrapping_add(*delta)));
    }
    Ok(())
}

/// In the transaction's state, the accounts that were read without their balances get them.
fn show_balances(execution: &Execution, state: &mut EvmState, changeset: &Changeset) {
    for read in execution.accounts.iter().filter(|read| read.is_unseen()) {
        let Some(account) = state.get_mut(&read.actor.address) else { continue };
        let raise = balance(read.actor, changeset).wrapping_sub(read.view.balance);
        account.info.balance = account.info.balance.wrapping_add(raise);
        let original = account.original_info_mut();
        original.balance = original.balance.wrapping_add(raise);
    }
}

/// The account as the transaction finds it.
fn find(
    block: &BlockState,
    index: u32,
    credit: &Credit,
    worker: WorkerContext,
) -> Result<Option<AccountInfo>, Unsettled> {
    let cells = &credit.actor.cells;
    loop {
        match cells.view(index) {
            Ok(view) => return Ok(view.info()),
            Err(NotReady::Unloaded) => {
                let answer =
                    contain(|| block.source.account(credit.actor.address)).map_err(Unsettled::Panicked)?;
                let info = answer.map_err(Unsettled::Source)?;
                // Nobody waits: a source that answers later was asked while the transaction was executed.
                let _ = cells.set_base(info, worker.arena);
            }
            Err(NotReady::Blocked(version)) => {
                unreachable!("everything below the frontier is final, but {version:?} is an estimate")
            }
        }
    }
}

fn add(
    block: &BlockState,
    index: u32,
    before: Option<AccountInfo>,
    credit: &Credit,
    kind: Kind,
    worker: WorkerContext,
    signals: &mut dyn Signals,
) -> Result<Account, Unsettled> {
    let cells = &credit.actor.cells;
    let existed = before.is_some();
    let mut account = match before {
        Some(info) => Account::from(info),
        None => Account::new_not_existing(TransactionId::ZERO),
    };
    let sum = account.info.balance.checked_add(credit.amount);
    let overflow = sum.is_none();
    match (sum, kind) {
        (Some(sum), _) => account.info.balance = sum,
        (None, Kind::Transfer) => return Err(Unsettled::Overflow),
        (None, Kind::Fee) => {}
    }
    account.mark_touch();
    if kind == Kind::Transfer && account.info.code.is_none() {
        // A call asks for the recipient's code, and there is none.
        account.info.code = Some(Bytecode::default());
        if cells.base().is_some_and(Option::is_none) {
            let code = Code { hash: account.info.code_hash, bytecode: account.info.code.clone() };
            let _ = cells.code.entry(index, worker.arena).publish(worker.arena.alloc_owned(code));
        }
    }

    let mut change = None;
    if account.is_empty() {
        // As in the end of revm's journal: before EIP-161 a touched empty account comes into being or stays,
        // since then it goes.
        if block.spec().is_enabled_in(SpecId::SPURIOUS_DRAGON) {
            if existed {
                change = Some(Lifecycle { exists: false, wiped: true });
            }
        } else if existed {
            account.unmark_touch();
        } else {
            account.mark_created();
            change = Some(Lifecycle { exists: true, wiped: true });
        }
    } else if !existed {
        change = Some(Lifecycle { exists: true, wiped: false });
    }

    if let Some(lifecycle) = change {
        let entry = cells.lifecycle.entry(index, worker.arena);
        let displaced = entry.publish(worker.arena.alloc(lifecycle));
        for waiter in displaced.waiters {
            signals.wake(waiter.index, waiter.ticket);
        }
        // That a credit brings the account into being was known from the credit.
        if lifecycle.wiped {
            cells.readers.affected(index, Fields::LIFECYCLE, |reader| {
                signals.invalidate(reader.index, reader.incarnation)
            });
        }
    }
    if change.is_none() && credit.entry.is_none() && account.info.has_no_code_and_nonce() {
        // That it was touched has to be seen, see `AccountCells::has_source_storage`. Who read its storage too
        // early notices when the frontier arrives.
        let _ = cells.nonce.entry(index, worker.arena).publish(worker.arena.alloc(account.info.nonce));
    }
    if let Some(entry) = credit.entry {
        // A later reader finds the sum at once, and not by folding.
        entry.settle(worker.arena.alloc(account.info.balance));
        if overflow {
            cells.readers.affected(index, Fields::BALANCE, |reader| {
                signals.invalidate(reader.index, reader.incarnation)
            });
        }
    }
    Ok(account)
}
