//! Bytes that choose a block, a runtime and a source: parallel execution has to equal sequential revm.
//!
//! The first eight bytes set up the runtime and the source, the others are the block: see [`Setting::new`] and
//! [`workload`].

use std::{sync::Arc, time::Duration};

use counterpoint::{
    Block, Builder, Mode, Runtime,
    cli::{
        compare::{first_difference, same_error},
        latency::LatencySource,
        sequential::execute_sequential,
    },
    state::{MemorySource, SourceError, StateSource},
};
use counterpoint_benches::{Knobs, Mix, Workload, random::random_block_from};
use revm::{
    bytecode::Bytecode,
    primitives::{Address, B256, U256, hardfork::SpecId},
    state::AccountInfo,
};

/// Executes the block that the bytes mean in both ways.
///
/// # Panics
///
/// If the two differ.
pub fn run(bytes: &[u8]) {
    let (setting, block) = bytes.split_at(bytes.len().min(8));
    let setting = Setting::new(setting);
    let workload = workload(setting.mix, block);
    let expected = execute_sequential(
        &workload.env,
        &workload.cfg,
        &workload.transactions,
        &workload.source,
        setting.mode,
        true,
    );
    let runtime = setting.builder.clone().keep_states(true).build().expect("threads can be started");
    let block = Block {
        env: workload.env,
        cfg: workload.cfg,
        transactions: workload.transactions.into(),
        source: setting.pace.source(workload.source),
        mode: setting.mode,
    };
    match (&expected, runtime.execute(&block)) {
        (Ok(expected), Ok(got)) => {
            if let Some(difference) = first_difference(expected, &got) {
                panic!("{setting:?}: {difference}");
            }
        }
        (Err(expected), Err(got)) if same_error(expected, &got) => {}
        (expected, got) => {
            let expected = expected.as_ref().map(|_| "a block");
            panic!("{setting:?}: sequential execution gives {expected:?}, parallel execution {got:?}");
        }
    }
}

/// Everything but the block.
#[derive(Debug)]
struct Setting {
    builder: Builder,
    mode: Mode,
    pace: Pace,
    mix: Option<Mix>,
}

impl Setting {
    /// Workers, fibers, window, chaos, in flight, pace, mode, kind of block: a byte each. What is missing is zero.
    fn new(bytes: &[u8]) -> Self {
        let byte = |place: usize| bytes.get(place).copied().unwrap_or_default();
        let pick = |place: usize, values: [usize; 5]| values[usize::from(byte(place)) % values.len()];
        let mut builder = Runtime::builder()
            .workers(1 + usize::from(byte(0) % 4))
            .fibers(pick(1, [256, 1, 2, 3, 16]))
            .window(pick(2, [256, 1, 2, 5, 32]))
            .in_flight(pick(4, [1_024, 1, 2, 5, 32]));
        if byte(3) != 0 {
            builder = builder.chaos(u64::from(byte(3)));
        }
        if byte(3) % 16 == 15 {
            builder = builder.pause_everywhere();
        }
        Self {
            builder,
            pace: Pace::new(byte(5)),
            mode: if byte(6) % 4 == 3 { Mode::Verify } else { Mode::Build },
            // Mostly a block that mixes everything.
            mix: usize::from(byte(7)).checked_sub(200).map(|mix| Mix::ALL[mix % Mix::ALL.len()]),
        }
    }
}

/// The block: random, or one of the named kinds with these knobs.
fn workload(mix: Option<Mix>, bytes: &[u8]) -> Workload {
    const FORKS: [SpecId; 6] =
        [SpecId::LONDON, SpecId::MERGE, SpecId::SHANGHAI, SpecId::CANCUN, SpecId::PRAGUE, SpecId::OSAKA];
    let Some(mix) = mix else {
        return random_block_from(bytes);
    };
    let byte = |place: usize| usize::from(bytes.get(place).copied().unwrap_or_default());
    mix.build(&Knobs {
        seed: byte(0) as u64,
        transactions: 1 + byte(1) % 64,
        accounts: 1 + byte(2) % 32,
        tokens: 1 + byte(3) % 4,
        pools: 1 + byte(4) % 4,
        hot: byte(5) as f64 / 255.0,
        skew: byte(6) as f64 / 64.0,
        chain: byte(7) % 8,
        repeated: byte(9) as f64 / 255.0,
        reverting: byte(10) as f64 / 510.0,
        spec: FORKS[byte(8) % FORKS.len()],
    })
}

/// How the source takes its time.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// It answers at once.
    Prompt,
    /// It answers when asked, and some questions let other threads go first.
    Hesitant(u8),
    /// It answers later.
    Late(Duration),
}

impl Pace {
    fn new(byte: u8) -> Self {
        match byte {
            0..96 => Self::Prompt,
            96..192 => Self::Hesitant(byte),
            192.. => Self::Late(Duration::from_micros(u64::from(byte - 192))),
        }
    }

    fn source(self, memory: MemorySource) -> Arc<dyn StateSource> {
        let memory = Arc::new(memory);
        match self {
            Self::Prompt => memory,
            Self::Hesitant(mask) => Arc::new(Hesitant { memory, mask }),
            Self::Late(latency) => {
                Arc::new(LatencySource::new(memory, latency).expect("a thread can be started"))
            }
        }
    }
}

/// A source that lets other threads go first, depending on what it is asked for.
struct Hesitant {
    memory: Arc<MemorySource>,
    mask: u8,
}

impl Hesitant {
    fn memory(&self, asked: u8) -> &dyn StateSource {
        if (asked ^ self.mask).is_multiple_of(4) {
            std::thread::yield_now();
        }
        &*self.memory
    }
}

impl StateSource for Hesitant {
    fn account(&self, address: Address) -> Result<Option<AccountInfo>, SourceError> {
        self.memory(address[19]).account(address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, SourceError> {
        self.memory(slot.byte(0)).storage(address, slot)
    }

    fn code(&self, hash: B256) -> Result<Bytecode, SourceError> {
        self.memory(hash[31]).code(hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, SourceError> {
        self.memory(number as u8).block_hash(number)
    }
}
