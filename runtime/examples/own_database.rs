//! A database of one's own: as revm's `DatabaseRef`, on threads that wait for it, with hot state before it.

use std::{collections::HashMap, error::Error, sync::Arc, thread, time::Duration};

use counterpoint::{
    Block, Mode, Runtime,
    sources::{BlockingSource, HotState},
    state::StateSource,
};
use revm::{
    bytecode::Bytecode,
    context::{BlockEnv, CfgEnv, TxEnv},
    database_interface::{DBErrorMarker, DatabaseRef},
    primitives::{Address, B256, TxKind, U256, hardfork::SpecId},
    state::AccountInfo,
};

/// What a host keeps its state in.
struct Disk {
    balances: HashMap<Address, u64>,
}

#[derive(Debug, thiserror::Error)]
#[error("the disk has no {0}")]
struct DiskError(&'static str);

impl DBErrorMarker for DiskError {}

impl DatabaseRef for Disk {
    type Error = DiskError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, DiskError> {
        thread::sleep(Duration::from_millis(1));
        Ok(self.balances.get(&address).map(|balance| AccountInfo::from_balance(U256::from(*balance))))
    }

    fn storage_ref(&self, _: Address, _: U256) -> Result<U256, DiskError> {
        Ok(U256::ZERO)
    }

    fn code_by_hash_ref(&self, _: B256) -> Result<Bytecode, DiskError> {
        Err(DiskError("code"))
    }

    fn block_hash_ref(&self, _: u64) -> Result<B256, DiskError> {
        Err(DiskError("block hashes"))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let senders: Vec<Address> = (1..=200).map(Address::with_last_byte).collect();
    let balances = senders.iter().map(|sender| (*sender, 1_000_000)).collect();

    // Sixteen threads read; fibers wait for them, and no worker does.
    let disk: Arc<dyn StateSource> = Arc::new(BlockingSource::new(Disk { balances }, 16)?);
    // What a block read or wrote, the next one has in memory: 64 MiB of it at most.
    let hot = HotState::new(64 << 20);
    let runtime = Runtime::builder().workers(2).build()?;

    let transfer = |from: &Address| TxEnv {
        caller: *from,
        kind: TxKind::Call(Address::repeat_byte(0xaa)),
        value: U256::from(1),
        gas_limit: 21_000,
        ..TxEnv::default()
    };
    let block = |source: Arc<dyn StateSource>| Block {
        env: BlockEnv::default(),
        cfg: CfgEnv::new_with_spec(SpecId::SHANGHAI),
        transactions: senders.iter().map(transfer).collect(),
        source,
        mode: Mode::Verify,
    };
    for _ in 0..2 {
        let outcome = runtime.execute(&block(Arc::new(hot.source(Arc::clone(&disk)))))?;
        println!("{:?} in execution, {:?}", outcome.statistics.execution, hot.statistics());
        // The host would write `outcome.bundle` to the disk here, and then say so: `hot.commit(&outcome.bundle)`.
    }
    assert!(hot.statistics().hits >= 200);
    Ok(())
}
