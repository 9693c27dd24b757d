//! At the frontier, credits are added to what is there, one by one, as sequential execution would.

use counterpoint_state::{Code, Fields, Lifecycle, NotReady, SourceError};
use revm::{
    bytecode::Bytecode,
    primitives::{Address, hardfork::SpecId},
    state::{Account, TransactionId},
};

use crate::{
    block::BlockState,
    execution::{Credit, Executed},
    worker::{Signals, WorkerContext},
};

/// Why credits could not be settled.
#[derive(Debug)]
pub enum Unsettled {
    /// The transfer overflows the recipient's balance: the transaction has to be executed exactly.
    Overflow,
    /// The source failed.
    Source(SourceError),
}

/// Which rule an overflow follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A transfer that overflows fails.
    Transfer,
    /// A reward that overflows is dropped, but touches the account.
    Fee,
}

/// Adds the deferred credits of the transaction at `index` to its state. Everything below must be final.
///
/// # Errors
///
/// See [`Unsettled`]; nothing was changed.
pub fn settle(
    block: &BlockState,
    index: u32,
    executed: &mut Executed,
    worker: WorkerContext,
    signals: &mut dyn Signals,
) -> Result<(), Unsettled> {
    if let Some(credit) = executed.transfer {
        let account = add(block, index, &credit, Kind::Transfer, worker, signals)?;
        executed.state.insert(credit.actor.address, account);
        executed.transfer = None;
    }
    if let Some(credit) = executed.fee {
        // The beneficiary of a deferred fee was not loaded, so it is not in the state either.
        debug_assert!(!executed.state.contains_key::<Address>(&credit.actor.address));
        let account = add(block, index, &credit, Kind::Fee, worker, signals)?;
        executed.state.insert(credit.actor.address, account);
        executed.fee = None;
    }
    Ok(())
}

fn add(
    block: &BlockState,
    index: u32,
    credit: &Credit,
    kind: Kind,
    worker: WorkerContext,
    signals: &mut dyn Signals,
) -> Result<Account, Unsettled> {
    let cells = &credit.actor.cells;
    let view = loop {
        match cells.view(index) {
            Ok(view) => break view,
            Err(NotReady::Unloaded) => {
                let info = block.source.account(credit.actor.address).map_err(Unsettled::Source)?;
                cells.set_base(info, worker.arena);
            }
            Err(NotReady::Blocked(version)) => {
                unreachable!("everything below the frontier is final, but {version:?} is an estimate")
            }
        }
    };
    let mut account = match view.info() {
        Some(info) => Account::from(info),
        None => Account::new_not_existing(TransactionId::ZERO),
    };
    account.mark_touch();
    if kind == Kind::Transfer && account.info.code.is_none() {
        // A call asks for the recipient's code, and there is none.
        account.info.code = Some(Bytecode::default());
        if cells.base().is_some_and(Option::is_none) {
            let code = Code { hash: account.info.code_hash, bytecode: account.info.code.clone() };
            let _ = cells.code.entry(index, worker.arena).publish(worker.arena.alloc_owned(code));
        }
    }
    let sum = view.balance.checked_add(credit.amount);
    let overflow = sum.is_none();
    match (sum, kind) {
        (Some(sum), _) => account.info.balance = sum,
        (None, Kind::Transfer) => return Err(Unsettled::Overflow),
        (None, Kind::Fee) => {}
    }

    let mut change = None;
    if account.is_empty() {
        // As in the end of revm's journal: before EIP-161 a touched empty account comes into being or stays,
        // since then it goes.
        if block.spec().is_enabled_in(SpecId::SPURIOUS_DRAGON) {
            if view.exists {
                change = Some(Lifecycle { exists: false, wiped: true });
            }
        } else if view.exists {
            account.unmark_touch();
        } else {
            account.mark_created();
            change = Some(Lifecycle { exists: true, wiped: true });
        }
    } else if !view.exists {
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
                signals.invalidate(reader.index, reader.incarnation);
            });
        }
    }
    if !credit.amount.is_zero() {
        let entry = cells.balance.entry(index, worker.arena);
        // A later reader finds the sum at once, and not by folding.
        entry.settle(worker.arena.alloc(account.info.balance));
        if overflow {
            cells.readers.affected(index, Fields::BALANCE, |reader| {
                signals.invalidate(reader.index, reader.incarnation);
            });
        }
    }
    Ok(account)
}
