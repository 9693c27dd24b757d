//! A block built from candidates that come over a channel, until it is full.

use std::{
    error::Error,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use counterpoint::{Draft, Ended, LeftOut, Runtime, state::MemorySource};
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
    // Room for thirty transfers.
    let env = BlockEnv { gas_limit: 30 * 21_000, ..BlockEnv::default() };
    let mut draft = Draft::new(env, CfgEnv::new_with_spec(SpecId::SHANGHAI), Arc::new(source));
    draft.deadline = Some(Instant::now() + Duration::from_secs(2));

    let (pool, mut candidates) = mpsc::channel();
    let feeder = thread::spawn(move || {
        for (number, sender) in senders.into_iter().enumerate() {
            let candidate = TxEnv {
                caller: sender,
                kind: TxKind::Call(Address::repeat_byte(0xaa)),
                value: U256::from(7),
                // Every tenth cannot be included.
                nonce: u64::from(number % 10 == 9),
                gas_limit: 21_000,
                ..TxEnv::default()
            };
            // The block may be full already.
            let _ = pool.send(candidate);
        }
    });

    let runtime = Runtime::builder().workers(2).build()?;
    let built = runtime.build_block(&draft, &mut candidates)?;
    drop(candidates);
    feeder.join().map_err(|_| "the feeder panicked")?;

    assert_eq!((built.included.len(), built.ended), (30, Ended::Full));
    let invalid = built.left_out.iter().filter(|(_, reason)| matches!(reason, LeftOut::Invalid(_))).count();
    println!(
        "{} included, {} gas; {invalid} of those tried were invalid",
        built.included.len(),
        built.gas_used
    );
    for (candidate, reason) in built.left_out.iter().take(3) {
        println!("candidate {candidate}: {reason}");
    }
    Ok(())
}
