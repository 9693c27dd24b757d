//! The state of one block in execution: its actors, its transactions' words, and the memory of both.

use std::{
    fmt,
    ops::{Range, RangeInclusive},
    ptr,
    sync::Arc,
};

use counterpoint_state::{
    StateSource, TransactionWord,
    sync::{AtomicBool, AtomicPtr, Ordering, unordered::AtomicU64},
};
use crossbeam_utils::CachePadded;
use revm::{
    context::{BlockEnv, Cfg, CfgEnv, Transaction, TxEnv},
    precompile::{PrecompileSpecId, Precompiles},
    primitives::{Address, TxKind, hardfork::SpecId},
};

use crate::{
    chaos::Chaos,
    directory::{Actor, Directory},
    loading::Inbox,
    mailbox::Letter,
    message::Message,
    worker::{Space, WorkerContext, WorkerMemory},
};

/// One block's actors, cells and transaction words.
///
/// Inside, references to the block's arenas carry the lifetime `'static`, since fibers hold them and a fiber
/// outlives any scope. What makes that sound: the arenas are a field of this struct and are dropped last;
/// every fiber, execution and list of writes that holds such a reference belongs to one block, is emptied
/// before it leaves it, and only runs while somebody holds the `Arc` of the block.
pub struct BlockState {
    directory: Directory<'static>,
    words: Box<[CachePadded<TransactionWord>]>,
    /// Number, beneficiary and so on.
    pub env: BlockEnv,
    /// The rules.
    pub cfg: CfgEnv,
    /// All of the block's.
    transactions: Arc<[TxEnv]>,
    /// Those that are executed here, by their places.
    range: Range<usize>,
    /// Of each transaction, whether it looks like a plain transfer, and its sender's actor once that was asked for.
    routes: Box<[Route]>,
    pub(crate) source: Arc<dyn StateSource>,
    /// The answers of a source that answers later.
    pub(crate) inbox: Option<Arc<Inbox>>,
    pub(crate) id: u64,
    pub(crate) chaos: Option<Chaos>,
    /// Nobody needs what is executed from now on.
    over: AtomicBool,
    /// The beneficiary's actor, once somebody asked for it; null before.
    beneficiary: AtomicPtr<Actor<'static>>,
    /// Dropped last: everything above points into it.
    spaces: Box<[CachePadded<Space>]>,
}

// SAFETY: a `Space`'s arena, requests and digests are the only parts that are not `Sync`. `worker` hands it out under the contract that
// one thread at a time acts as that worker.
unsafe impl Sync for BlockState {}

/// What is known of a transaction before it runs.
struct Route {
    credits: bool,
    sender: AtomicPtr<Actor<'static>>,
}

/// Whether the recipient can be credited without a look at it, if it has no code.
fn credited(tx: &TxEnv, cfg: &CfgEnv, precompiles: &Precompiles) -> bool {
    let TxKind::Call(to) = tx.kind else { return false };
    to != tx.caller
        && tx.authorization_list_len() == 0
        // EIP-2780 and EIP-8037 charge for what the recipient is, EIP-7708 logs the transfer.
        && !cfg.spec.is_enabled_in(SpecId::AMSTERDAM)
        && !cfg.is_amsterdam_eip2780_enabled()
        && !cfg.is_amsterdam_eip8037_enabled()
        && !precompiles.contains(&to)
}

/// About how many accounts a block touches, so that the directory seldom has to grow: two for each transaction, or
/// as many as its gas may reach, within reason.
fn expected_accounts(transactions: &[TxEnv]) -> usize {
    let gas = transactions.iter().fold(0, |sum: u64, tx| sum.saturating_add(tx.gas_limit));
    let reached = usize::try_from(gas / 2_000).unwrap_or(usize::MAX).min(4_096);
    reached.max(transactions.len() * 2)
}

static IDS: AtomicU64 = AtomicU64::new(1);

impl BlockState {
    /// The state of a block of which this many workers will execute a range; the source knows what the transactions before
    /// it have changed. Memory comes from `memory`. `wake` is called when a source that answers later has answered.
    #[expect(clippy::too_many_arguments, reason = "what a block is made of")]
    pub fn new(
        env: BlockEnv,
        cfg: CfgEnv,
        transactions: Arc<[TxEnv]>,
        range: Range<usize>,
        source: Arc<dyn StateSource>,
        workers: usize,
        memory: impl Fn() -> WorkerMemory,
        chaos: Option<Chaos>,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let precompiles = Precompiles::new(PrecompileSpecId::from_spec_id(cfg.spec));
        let route = |tx: &TxEnv| Route {
            credits: credited(tx, &cfg, precompiles),
            sender: AtomicPtr::new(ptr::null_mut()),
        };
        let own = &transactions[range.clone()];
        Self {
            routes: own.iter().map(route).collect(),
            inbox: source.deferred().is_some().then(|| Arc::new(Inbox::new(wake))),
            directory: Directory::new(expected_accounts(own)),
            over: AtomicBool::new(false),
            beneficiary: AtomicPtr::new(ptr::null_mut()),
            words: range.clone().map(|_| CachePadded::default()).collect(),
            range,
            env,
            cfg,
            transactions,
            source,
            // Relaxed: an id only has to be unique.
            id: IDS.fetch_add(1, Ordering::Relaxed),
            chaos,
            spaces: (0..workers).map(|_| CachePadded::new(Space::new(memory()))).collect(),
        }
    }

    /// The block is committed or given up: what is still executed ends at its next read.
    pub fn end(&self) {
        // Release: who sees it finds out what the caller did before. Pairs with `is_over`.
        self.over.store(true, Ordering::Release);
    }

    /// Whether the block is committed or given up.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        // Acquire: pairs with `end`.
        self.over.load(Ordering::Acquire)
    }

    /// Takes the block apart and gives its memory back, to be reset.
    pub fn into_memory(self) -> impl Iterator<Item = WorkerMemory> {
        let Self { directory, spaces, .. } = self;
        // What points into it goes first.
        drop(directory);
        spaces.into_iter().map(|space| space.into_inner().into_memory())
    }

    /// The indices of the transactions that are executed here; the block's first has index 1.
    pub fn indices(&self) -> RangeInclusive<u32> {
        self.range.start as u32 + 1..=self.range.end as u32
    }

    /// Where a transaction's things are that are kept for those executed here only.
    #[inline]
    fn place(&self, index: u32) -> usize {
        index as usize - 1 - self.range.start
    }

    /// The word of the transaction at `index`.
    #[inline]
    pub fn word(&self, index: u32) -> &TransactionWord {
        &self.words[self.place(index)]
    }

    /// The transaction at `index`.
    pub fn transaction(&self, index: u32) -> &TxEnv {
        &self.transactions[index as usize - 1]
    }

    /// The hard fork.
    pub fn spec(&self) -> SpecId {
        self.cfg.spec
    }

    /// Acts as worker number `worker`, on the calling thread.
    ///
    /// # Safety
    ///
    /// No two threads may act as the same worker of the block at the same time, and the context must not
    /// outlive the block.
    pub unsafe fn worker(&self, worker: usize) -> WorkerContext {
        let space: *const Space = &*self.spaces[worker];
        // SAFETY: the space lives as long as the block, see `BlockState`.
        let space: &'static Space = unsafe { &*space };
        let worker = WorkerContext {
            arena: &space.arena,
            requests: &space.requests,
            digests: &space.digests,
            counters: &space.counters,
        };
        if self.chaos.is_some() {
            worker.enter();
        }
        worker
    }

    /// The disorder to execute the block in, if any.
    pub fn chaos(&self) -> Option<&Chaos> {
        self.chaos.as_ref()
    }

    /// Each worker's counters.
    pub fn counters(&self) -> impl Iterator<Item = &crate::worker::Counters> {
        self.spaces.iter().map(|space| &space.counters)
    }

    /// Bytes that the block's arenas hold.
    pub fn allocated_bytes(&self) -> usize {
        self.spaces.iter().map(|space| space.arena.allocated_bytes()).sum()
    }

    pub(crate) fn directory(&self) -> &Directory<'static> {
        &self.directory
    }

    pub(crate) fn actor(&self, address: Address, worker: &WorkerContext) -> &'static Actor<'static> {
        self.directory.actor(address, worker.arena)
    }

    pub(crate) fn beneficiary(&self, worker: &WorkerContext) -> &'static Actor<'static> {
        // Acquire: pairs with the release below. Who comes first does not matter: the directory has one answer.
        let known = self.beneficiary.load(Ordering::Acquire);
        // SAFETY: null, or a `&'static Actor` that was stored below.
        if let Some(actor) = unsafe { known.as_ref() } {
            return actor;
        }
        let actor = self.actor(self.env.beneficiary, worker);
        self.beneficiary.store(ptr::from_ref(actor).cast_mut(), Ordering::Release);
        actor
    }

    /// The actor of a transaction's sender.
    pub(crate) fn sender(&self, index: u32, worker: &WorkerContext) -> &'static Actor<'static> {
        let route = &self.routes[self.place(index)];
        // Acquire: pairs with the release below, as in `beneficiary`.
        let known = route.sender.load(Ordering::Acquire);
        // SAFETY: null, or a `&'static Actor` that was stored below.
        if let Some(actor) = unsafe { known.as_ref() } {
            return actor;
        }
        let actor = self.actor(self.transaction(index).caller, worker);
        // Release: pairs with the load above.
        route.sender.store(ptr::from_ref(actor).cast_mut(), Ordering::Release);
        actor
    }

    /// Routes a transaction's begin to its sender's actor. `true`: it may begin; `false`: it waits in the
    /// mailbox for an earlier one of the same sender.
    pub fn send_begin(&self, index: u32, worker: &WorkerContext) -> bool {
        let actor = self.sender(index, worker);
        worker.counters.hops.increment();
        let letter = worker.arena.alloc(Letter::new(Message::Begin { index }));
        let inline = actor.mailbox.send(letter);
        if !inline {
            worker.counters.queued.increment();
        }
        inline
    }

    /// A transaction was executed for the first time: the next one of its sender may begin.
    pub fn next_begin(&self, index: u32, worker: &WorkerContext) -> Option<u32> {
        let actor = self.sender(index, worker);
        match actor.mailbox.receive()? {
            Message::Begin { index } => Some(index),
            other => unreachable!("only begin messages are queued, not {other:?}"),
        }
    }

    /// The recipient whose balance the transaction adds to without anybody looking, provided that the account
    /// has no code: a top-level call that transfers to it runs nothing and reads nothing of it.
    pub fn credited(&self, index: u32) -> Option<Address> {
        match self.transaction(index).kind {
            TxKind::Call(to) if self.routes[self.place(index)].credits => Some(to),
            _ => None,
        }
    }

    /// Whether the transaction looks like a plain transfer, to be tried without a fiber.
    pub fn looks_plain(&self, index: u32) -> bool {
        self.routes[self.place(index)].credits && self.transaction(index).data.is_empty()
    }
}

impl fmt::Debug for BlockState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockState")
            .field("transactions", &self.words.len())
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}
