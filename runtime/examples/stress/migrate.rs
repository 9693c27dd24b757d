//! Park, move, resume: fibers that pause before every read and go on with another worker.

use std::{sync::Arc, time::Instant};

use counterpoint::{
    Block, Mode, Runtime,
    cli::{compare::first_difference, sequential::execute_sequential},
    state::MemorySource,
};
use counterpoint_benches::{asm::Asm, fork};
use revm::{
    bytecode::{Bytecode, opcode},
    context::TxEnv,
    primitives::{Address, B256, Bytes, TxKind, U256, hardfork::SpecId},
    state::AccountInfo,
};

use crate::{Failure, watch::Watch};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How often a fiber is to be parked and resumed.
    #[arg(long, default_value_t = 1_000_000)]
    cycles: u64,
    /// Workers, the calling thread included.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Fibers in flight.
    #[arg(long, default_value_t = 32)]
    fibers: usize,
    /// Transactions of a block.
    #[arg(long, default_value_t = 64)]
    transactions: u64,
    /// How often each transaction reads a slot, a balance, and two block hashes.
    #[arg(long, default_value_t = 250)]
    rounds: u64,
}

const CONTRACT: Address = Address::repeat_byte(0xcc);
const BENEFICIARY: Address = Address::repeat_byte(0xbe);

fn address(number: u64) -> Address {
    Address::left_padding_from(&(0x5eed_0000_0000 + number).to_be_bytes())
}

/// Folds everything that it reads into one number, and stores that under the sender: whatever a move between
/// threads did to the stack would show.
fn contract(rounds: u64) -> Bytecode {
    let mut code = Asm::new();
    // The sum is in memory, the countdown on the stack.
    code.repeat(rounds, |code| {
        code.ops(&[opcode::DUP1, opcode::SLOAD]);
        fold(code);
        code.ops(&[opcode::DUP1]).num(0x5eed_0000_0000).ops(&[opcode::ADD, opcode::BALANCE]);
        fold(code);
        for distance in [1, 200] {
            code.num(distance).ops(&[opcode::NUMBER, opcode::SUB, opcode::BLOCKHASH]);
            fold(code);
        }
    });
    code.num(0).ops(&[opcode::MLOAD, opcode::CALLER, opcode::SSTORE, opcode::STOP]);
    Bytecode::new_raw(code.build())
}

/// Takes the top of the stack into the sum.
fn fold(code: &mut Asm) {
    code.num(0).ops(&[opcode::MLOAD]).num(31).ops(&[opcode::MUL, opcode::ADD]).num(0).ops(&[opcode::MSTORE]);
}

fn block(options: &Options) -> (Block, MemorySource) {
    let mut source = MemorySource::new();
    let env = fork::block_env(SpecId::CANCUN, BENEFICIARY, u64::MAX, 0);
    let number: u64 = env.number.saturating_to();
    for distance in [1, 200] {
        source.insert_block_hash(number - distance, B256::repeat_byte(distance as u8));
    }
    for round in 1..=options.rounds {
        source.insert_account(address(round), AccountInfo::from_balance(U256::from(round * 7)), []);
    }
    let storage = (1..=options.rounds).map(|round| (U256::from(round), U256::from(round * round)));
    let info = AccountInfo { nonce: 1, ..AccountInfo::default() }.with_code(contract(options.rounds));
    source.insert_account(CONTRACT, info, storage);
    let transactions: Vec<_> = (0..options.transactions)
        .map(|sender| {
            let caller = address(1 << 32 | sender);
            source.insert_account(caller, AccountInfo::from_balance(U256::from(u64::MAX)), []);
            let gas_limit = 100_000 + options.rounds * 6_000;
            // With call data, or it would be taken for a plain transfer, which gets no fiber.
            let data = Bytes::from_static(&[1]);
            TxEnv { caller, kind: TxKind::Call(CONTRACT), data, gas_limit, gas_price: 0, ..TxEnv::default() }
        })
        .collect();
    let block = Block {
        env,
        cfg: fork::cfg_env(SpecId::CANCUN),
        transactions: transactions.into(),
        source: Arc::new(source.clone()),
        mode: Mode::Verify,
    };
    (block, source)
}

pub(crate) fn run(options: &Options, seed: u64, watch: &Watch) -> Result<String, Failure> {
    let (block, source) = block(options);
    let expected =
        execute_sequential(&block.env, &block.cfg, &block.transactions, &source, Mode::Verify, false)
            .map_err(|cause| Failure::Sequential { seed, cause })?;
    if let Some(index) =
        expected.transactions.iter().position(|o| !o.result().is_some_and(|r| r.is_success()))
    {
        return Err(Failure::Idle(format!("transaction {index} does not get through: too many rounds")));
    }
    let way = format!("{} workers, {} fibers", options.workers, options.fibers);
    let runtime =
        Runtime::builder().workers(options.workers).fibers(options.fibers).pause_everywhere().build()?;
    let (mut cycles, mut migrated, mut blocks) = (0, 0, 0_u64);
    let start = Instant::now();
    while cycles < options.cycles {
        watch.begin(0, seed, &way);
        let outcome = runtime.execute(&block).map_err(|cause| Failure::Unexpected {
            seed,
            way: way.clone(),
            got: cause.to_string(),
            expected: "success".to_owned(),
        })?;
        if let Some(difference) = first_difference(&expected, &outcome) {
            return Err(Failure::Differs { seed, way, difference });
        }
        if outcome.statistics.resumed == 0 {
            return Err(Failure::Idle(format!("{way}: no fiber was parked")));
        }
        cycles += outcome.statistics.resumed;
        migrated += outcome.statistics.migrated;
        blocks += 1;
    }
    if options.workers > 1 && migrated == 0 {
        return Err(Failure::Idle(format!("{way}: no fiber moved")));
    }
    let seconds = start.elapsed().as_secs_f64();
    let share = migrated as f64 / cycles as f64 * 100.0;
    Ok(format!(
        "migrate, {way}: {cycles} parked and resumed, the worker checked each time; {migrated} ({share:.1} %) on \
         another thread; {blocks} blocks equal to sequential revm; {seconds:.1} s"
    ))
}
