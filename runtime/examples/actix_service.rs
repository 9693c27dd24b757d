//! Blocks executed and committed by the service, inside an actix system.

use std::{error::Error, sync::Arc};

use actix::{Actor, Context, Handler, System};
use counterpoint::{
    Mode, Runtime,
    service::{Committed, Job, MemoryStore, Service, ServiceSettings},
    sources::Head,
    state::MemorySource,
};
use revm::{
    context::{BlockEnv, CfgEnv, TxEnv},
    primitives::{Address, B256, TxKind, U256, hardfork::SpecId},
    state::AccountInfo,
};

/// An actor of the host's, which hears of every block that is committed.
struct Listener;

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<Committed> for Listener {
    type Result = ();

    fn handle(&mut self, committed: Committed, _: &mut Context<Self>) {
        println!("block {}: {} gas", committed.block.number, committed.output.gas_used());
    }
}

fn head(number: u64) -> Head {
    Head { number, hash: B256::from(U256::from(number)) }
}

fn main() -> Result<(), Box<dyn Error>> {
    let sender = Address::with_last_byte(1);
    let mut state = MemorySource::new();
    state.insert_account(sender, AccountInfo::from_balance(U256::from(1_000_000)), []);
    // On disk it would be `sources::redb::RedbStore`.
    let store = Arc::new(MemoryStore::new(state, head(0)));
    let runtime = Arc::new(Runtime::builder().workers(2).build()?);

    System::new().block_on(async {
        let service = Service::start(runtime, store, ServiceSettings::default())?;
        service.subscribe(Listener.start().recipient()).await?;
        for number in 1..=5_u64 {
            let transfer = TxEnv {
                caller: sender,
                kind: TxKind::Call(Address::repeat_byte(0xaa)),
                value: U256::from(7),
                nonce: number - 1,
                gas_limit: 21_000,
                ..TxEnv::default()
            };
            let env = BlockEnv { number: U256::from(number), ..BlockEnv::default() };
            let cfg = CfgEnv::new_with_spec(SpecId::SHANGHAI);
            let job = Job::transactions(head(number), env, cfg, Arc::from([transfer]), Mode::Verify);
            // When this returns, the store has the block.
            service.commit(job).await?;
        }
        let statistics = service.statistics().await?;
        assert_eq!((statistics.committed, statistics.restarts), (5, 0));
        service.stop().await;
        Ok(())
    })
}
