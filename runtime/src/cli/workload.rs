//! A generated workload as a block that the runtime takes.

use std::sync::Arc;

use counterpoint_benches::Workload;

use crate::{Block, Mode};

/// The block, with the state before it as its source.
pub fn block(workload: Workload, mode: Mode) -> Block {
    let Workload { env, cfg, transactions, source } = workload;
    Block { env, cfg, transactions: transactions.into(), source: Arc::new(source), mode }
}
