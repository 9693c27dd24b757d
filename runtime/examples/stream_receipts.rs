//! Receipts as they become final, while the block still executes.

use std::{
    error::Error,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use counterpoint::{Block, CancelToken, Control, Finalized, Mode, Runtime, state::MemorySource};
use revm::{
    context::{BlockEnv, CfgEnv, TxEnv},
    primitives::{Address, TxKind, U256, hardfork::SpecId},
    state::AccountInfo,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut source = MemorySource::new();
    let senders: Vec<Address> = (1..=100).map(Address::with_last_byte).collect();
    for sender in &senders {
        source.insert_account(*sender, AccountInfo::from_balance(U256::from(1_000_000)), []);
    }
    let transfer = |from: &Address| TxEnv {
        caller: *from,
        kind: TxKind::Call(Address::repeat_byte(0xaa)),
        value: U256::from(7),
        gas_limit: 21_000,
        ..TxEnv::default()
    };
    let block = Block {
        env: BlockEnv::default(),
        cfg: CfgEnv::new_with_spec(SpecId::SHANGHAI),
        transactions: senders.iter().map(transfer).collect(),
        source: Arc::new(source),
        mode: Mode::Verify,
    };

    // The hook is called in the block's order. It hands over what it gets: whoever computes a receipt's hash, or the state
    // root, does that on another thread.
    let (sender, stream) = mpsc::channel();
    let token = CancelToken::new();
    let control = Control::new()
        .hook(move |last: Finalized<'_>| {
            let changed: Vec<Address> = last.state.keys().copied().collect();
            Ok(sender.send((last.index, last.gas_used, changed))?)
        })
        .cancel(&token)
        .deadline(Instant::now() + Duration::from_secs(10));

    let follower = thread::spawn(move || {
        let mut receipts = 0;
        // Ends with the block, whether that succeeds or not.
        for (index, gas_used, changed) in stream {
            assert_eq!((index, gas_used), (receipts, 21_000 * (receipts as u64 + 1)));
            assert!(changed.contains(&Address::repeat_byte(0xaa)));
            receipts += 1;
        }
        receipts
    });
    let runtime = Runtime::builder().workers(2).build()?;
    // What was heard counts if this succeeds. After an error, nothing of the block does.
    runtime.execute_with(&block, control)?;
    let receipts = follower.join().map_err(|_| "the follower panicked")?;
    assert_eq!(receipts, senders.len());
    println!("{receipts} receipts");
    Ok(())
}
