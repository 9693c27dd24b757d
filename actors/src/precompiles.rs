//! Precompiled contracts, run on the worker's own stack: some of them need more than a fiber has.

use std::fmt;

use corosensei::Yielder;
use revm::{
    context::Cfg,
    context_interface::ContextTr,
    handler::{EthPrecompiles, PrecompileProvider},
    interpreter::{CallInputs, InterpreterResult},
    primitives::{Address, AddressSet, hardfork::SpecId},
};

use crate::fiber::{Order, Request, on_worker_stack};

/// revm's precompiles behind a stack switch.
pub(crate) struct WorkerPrecompiles {
    inner: EthPrecompiles,
    yielder: *const Yielder<Order, Request>,
}

impl WorkerPrecompiles {
    pub(crate) fn new(spec: SpecId) -> Self {
        Self { inner: EthPrecompiles::new(spec), yielder: std::ptr::null() }
    }

    /// Sets the fiber that runs the EVM; null for none.
    pub(crate) fn set_yielder(&mut self, yielder: *const Yielder<Order, Request>) {
        self.yielder = yielder;
    }
}

impl<CTX: ContextTr<Cfg: Cfg<Spec = SpecId>>> PrecompileProvider<CTX> for WorkerPrecompiles {
    type Output = InterpreterResult;

    fn set_spec(&mut self, spec: SpecId) -> bool {
        PrecompileProvider::<CTX>::set_spec(&mut self.inner, spec)
    }

    fn run(&mut self, context: &mut CTX, inputs: &CallInputs) -> Result<Option<InterpreterResult>, String> {
        if !self.inner.contains(&inputs.bytecode_address) {
            return Ok(None);
        }
        let inner = &mut self.inner;
        // SAFETY: the fiber that set the yielder is the one that runs this.
        unsafe { on_worker_stack(self.yielder, || inner.run(context, inputs)) }
    }

    fn warm_addresses(&self) -> &AddressSet {
        self.inner.warm_addresses()
    }

    fn contains(&self, address: &Address) -> bool {
        self.inner.contains(address)
    }
}

impl fmt::Debug for WorkerPrecompiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPrecompiles").field("spec", &self.inner.spec).finish_non_exhaustive()
    }
}
