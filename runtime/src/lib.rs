//! Counterpoint executes an ordered block of EVM transactions on many cores, with exactly the result of
//! executing them one at a time.
//!
//! ```
//! use std::sync::Arc;
//! use counterpoint::{Block, Mode, Runtime, state::MemorySource};
//! use revm::{
//!     context::{BlockEnv, CfgEnv, TxEnv},
//!     primitives::{Address, TxKind, U256, hardfork::SpecId},
//!     state::AccountInfo,
//! };
//!
//! let sender = Address::repeat_byte(1);
//! let mut source = MemorySource::new();
//! source.insert_account(sender, AccountInfo::from_balance(U256::from(10).pow(U256::from(18))), []);
//! let transfer = TxEnv::builder()
//!     .caller(sender)
//!     .kind(TxKind::Call(Address::repeat_byte(2)))
//!     .value(U256::from(7))
//!     .gas_limit(21_000)
//!     .build()
//!     .expect("a complete transaction");
//!
//! let runtime = Runtime::builder().workers(2).build()?;
//! let outcome = runtime.execute(&Block {
//!     env: BlockEnv::default(),
//!     cfg: CfgEnv::new_with_spec(SpecId::CANCUN),
//!     transactions: Arc::from([transfer]),
//!     source: Arc::new(source),
//!     mode: Mode::Verify,
//! })?;
//! assert_eq!(outcome.gas_used, 21_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The state comes from a [`StateSource`](state::StateSource); what the block changes comes out as revm's
//! `BundleState`. See `docs/architecture.md` for how it works.

mod allowance;
mod begins;
mod builder;
mod building;
mod calls;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod commit;
mod conflicts;
mod control;
#[cfg(feature = "ethereum")]
pub mod ethereum;
mod finish;
mod input;
mod known_reads;
mod longest;
mod observe;
mod outcome;
mod pace;
mod plan;
mod pool;
mod presence;
mod run;
mod runtime;
mod scout;
mod serial;
#[cfg(feature = "service")]
pub mod service;
pub mod sources;
mod worker;

/// Where state comes from, at once or later.
pub mod state {
    pub use counterpoint_state::{
        Answer, DeferredSource, DroppedError, Key, MemorySource, MissingError, Request, SourceError,
        StateSource, WrongAnswerError,
    };
}

pub use builder::{BuildError, Builder};
pub use building::{Built, Candidates, Draft, Ended, FromIter, Included, LeftOut, Next};
pub use control::{CancelToken, Control, Finalized, Hook, HookError};
pub use input::{Block, Mode};
pub use outcome::{ExecuteError, HookFailure, Outcome, Statistics, TransactionOutcome};
pub use runtime::Runtime;
