//! How much of its stack a fiber uses, at worst: the basis of `STACK_SIZE`.

use std::sync::Arc;

use counterpoint_actors::{BlockState, Execution, Fiber, STACK_SIZE, WorkerMemory, Yielded};
use counterpoint_state::MemorySource;
use revm::{
    bytecode::Bytecode,
    context::{BlockEnv, CfgEnv, TxEnv},
    primitives::{Address, Bytes, TxKind, U256, hardfork::SpecId},
    state::AccountInfo,
};

const SENDER: Address = Address::repeat_byte(0xaa);
const CONTRACT: Address = Address::repeat_byte(0xcc);

/// Runs one transaction on a fresh fiber; returns its high-water mark in bytes.
fn high_water_mark(code: Vec<u8>, data: Vec<u8>, to: Address) -> usize {
    let mut source = MemorySource::new();
    source.insert_account(SENDER, AccountInfo::from_balance(U256::MAX >> 1), []);
    let code = Bytecode::new_raw(Bytes::from(code));
    source.insert_account(CONTRACT, AccountInfo::default().with_code(code), []);
    let transaction = TxEnv::builder()
        .caller(SENDER)
        .kind(TxKind::Call(to))
        .data(Bytes::from(data))
        .gas_limit(16_000_000)
        .build()
        .expect("a complete transaction");
    let block = BlockState::new(
        BlockEnv::default(),
        CfgEnv::new_with_spec(SpecId::OSAKA),
        Arc::from([transaction]),
        0..1,
        Arc::new(source),
        1,
        WorkerMemory::default,
        None,
        || (),
    );
    let mut fiber = Fiber::new().expect("memory for a stack");
    let mut execution = Execution::new();
    execution.reset(1, 0, false, false);
    // SAFETY: one thread, one worker; the fiber is new, and the block outlives it.
    let yielded = unsafe { fiber.run(&block, execution, block.worker(0)) };
    assert!(matches!(yielded, Ok(Yielded::Done(_))), "{yielded:?}");
    fiber.high_water_mark()
}

/// Calls `to` with the transaction's data as input, `times` times.
fn forward(to: Address, times: usize) -> Vec<u8> {
    let mut code = vec![0x36, 0x5f, 0x5f, 0x37]; // CALLDATASIZE PUSH0 PUSH0 CALLDATACOPY
    for _ in 0..times {
        code.extend([0x5f, 0x5f, 0x36, 0x5f, 0x5f, 0x73]); // no output, input, no value, address
        code.extend(to.as_slice());
        code.extend([0x5a, 0xf1, 0x50]); // GAS CALL POP
    }
    code
}

#[test]
#[cfg_attr(miri, ignore = "Miri cannot switch stacks")]
fn no_transaction_comes_near_the_end_of_its_stack() {
    let mut worst = (0, String::new());
    let mut note = |mark: usize, what: String| {
        if mark > worst.0 {
            worst = (mark, what);
        }
    };
    note(high_water_mark(forward(CONTRACT, 1), vec![], CONTRACT), "recursion to the depth limit".into());
    // PUSH1 0x00 PUSH4 1 MiB KECCAK256; MCOPY; LOG4; CREATE of nothing; CREATE2; EXTCODECOPY; SELFDESTRUCT.
    let variety = vec![
        0x62, 0x10, 0x00, 0x00, 0x5f, 0x20, 0x50, 0x60, 0xff, 0x5f, 0x60, 0x20, 0x5e, 0x5f, 0x5f, 0x5f, 0x5f,
        0x60, 0x40, 0x5f, 0xa4, 0x60, 0x20, 0x5f, 0x5f, 0xf0, 0x50, 0x5f, 0x60, 0x20, 0x5f, 0x5f, 0xf5, 0x50,
        0x60, 0x20, 0x5f, 0x5f, 0x30, 0x3c, 0x30, 0xff,
    ];
    note(high_water_mark(variety, vec![], CONTRACT), "memory, logs, creations".into());
    for precompile in (1..=0x11).chain([0x100]) {
        let address = Address::from_word(U256::from(precompile).into());
        for (length, byte) in [(0, 0), (32, 0xff), (128, 1), (213, 0), (384, 0), (1024, 0), (4096, 0)] {
            let what = format!("precompile {precompile:#x} with {length} bytes");
            note(high_water_mark(forward(address, 2), vec![byte; length], CONTRACT), what.clone());
            note(high_water_mark(vec![], vec![byte; length], address), what);
        }
    }
    // A modular exponentiation as large as EIP-7823 allows.
    let mut modexp = vec![0; 96];
    for position in [30, 62, 94] {
        modexp[position] = 4;
    }
    modexp.extend(vec![0xfd; 3 * 1024]);
    note(high_water_mark(forward(Address::with_last_byte(5), 1), modexp, CONTRACT), "modexp".into());

    println!("{} of {STACK_SIZE} bytes: {}", worst.0, worst.1);
    assert!(worst.0 > 4096, "the measurement sees nothing");
    assert!(worst.0 < STACK_SIZE / 4, "{} of {STACK_SIZE} bytes: {}", worst.0, worst.1);
}
