//! What a whole block reads whatever its transactions do: asked for together before it begins, of a source that answers later.

use std::{collections::HashMap, sync::Arc};

use alloy_eips::{
    eip2935::{HISTORY_SERVE_WINDOW, HISTORY_STORAGE_ADDRESS},
    eip4788::BEACON_ROOTS_ADDRESS,
    eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
    eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
};
use alloy_evm::{
    block::system_calls::{
        BUILDER_DEPOSIT_REQUEST_PREDEPLOY_ADDRESS, BUILDER_EXIT_REQUEST_PREDEPLOY_ADDRESS,
    },
    eth::dao_fork::{DAO_HARDFORK_ACCOUNTS, DAO_HARDFORK_BENEFICIARY},
};
use alloy_hardforks::EthereumHardfork;
use counterpoint_actors::contain;
use counterpoint_state::{Answer, DeferredSource, Key, Request, SourceError, StateSource};
// Seam: a plain lock, held for a moment and outside of the protocols within a block.
use parking_lot::Mutex;
use revm::primitives::{Address, U256};

use super::{Rules, WholeBlock};
use crate::sources::{read_by, wait_for};

/// Slots of the beacon roots (EIP-4788): times, and as many roots after them.
const BEACON_ROOTS: u64 = 8_191;

/// Slots that each contract for requests reads first (EIP-7002, EIP-7251): excess, count, the queue's head and tail.
const REQUEST_SLOTS: u64 = 4;

/// The block's source. If it answers later, it was asked for what the block reads in any case, and answers whoever waits on
/// this thread in that way, too.
pub(super) fn source(rules: &Rules, block: &WholeBlock<'_>) -> Arc<dyn StateSource> {
    let base = &block.source;
    if base.deferred().is_none() {
        return Arc::clone(base);
    }
    let ahead = Ahead { base: Arc::clone(base), asked: Arc::default() };
    let contracts = contracts(rules);
    let mut keys: Vec<Key> = contracts.iter().map(|contract| Key::Account(*contract)).collect();
    keys.extend(slots(rules, block));
    keys.extend(paid(rules, block).map(Key::Account));
    ahead.ask(&keys);
    // The first system call waits for its contract in any case.
    let codes: Vec<Key> = contracts
        .iter()
        .filter_map(|contract| ahead.account(*contract).ok()?)
        .filter(|info| info.code.is_none() && !info.is_empty_code_hash())
        .map(|info| Key::Code(info.code_hash))
        .collect();
    ahead.ask(&codes);
    Arc::new(ahead)
}

/// The contracts that the block calls itself.
fn contracts(rules: &Rules) -> Vec<Address> {
    let mut contracts = Vec::new();
    if rules.has(EthereumHardfork::Cancun) {
        contracts.push(BEACON_ROOTS_ADDRESS);
    }
    if rules.has(EthereumHardfork::Prague) {
        contracts.extend([
            HISTORY_STORAGE_ADDRESS,
            WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
            CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
        ]);
    }
    if rules.has(EthereumHardfork::Amsterdam) {
        contracts.extend([BUILDER_DEPOSIT_REQUEST_PREDEPLOY_ADDRESS, BUILDER_EXIT_REQUEST_PREDEPLOY_ADDRESS]);
    }
    contracts
}

/// What they read and write.
fn slots(rules: &Rules, block: &WholeBlock<'_>) -> Vec<Key> {
    let mut keys = Vec::new();
    if rules.has(EthereumHardfork::Cancun) {
        let time = block.env.timestamp % U256::from(BEACON_ROOTS);
        keys.extend(
            [time, time + U256::from(BEACON_ROOTS)].map(|slot| Key::Storage(BEACON_ROOTS_ADDRESS, slot)),
        );
    }
    if rules.has(EthereumHardfork::Prague) {
        let parent = block.env.number.saturating_sub(U256::from(1)) % U256::from(HISTORY_SERVE_WINDOW);
        keys.push(Key::Storage(HISTORY_STORAGE_ADDRESS, parent));
        for contract in [WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS] {
            keys.extend((0..REQUEST_SLOTS).map(|slot| Key::Storage(contract, U256::from(slot))));
        }
    }
    keys
}

/// Whom the block pays.
fn paid(rules: &Rules, block: &WholeBlock<'_>) -> impl Iterator<Item = Address> {
    let withdrawals = block.withdrawals.unwrap_or_default().iter().map(|withdrawal| withdrawal.address);
    let ommers = block.reward.map_or(&[][..], |_| block.ommers).iter().map(|ommer| ommer.beneficiary);
    let dao = rules
        .dao_block
        .filter(|dao| block.env.number == U256::from(*dao))
        .map(|_| DAO_HARDFORK_ACCOUNTS.into_iter().chain([DAO_HARDFORK_BENEFICIARY]));
    [block.env.beneficiary].into_iter().chain(withdrawals).chain(ommers).chain(dao.into_iter().flatten())
}

/// A source that answers later, and what it was asked for.
struct Ahead {
    base: Arc<dyn StateSource>,
    asked: Arc<Mutex<HashMap<Key, Asked>>>,
}

enum Asked {
    /// It has not answered; these wait.
    Waits(Vec<Request>),
    Answered(Result<Answer, SourceError>),
}

impl Ahead {
    /// Asks for these keys, each once.
    fn ask(&self, keys: &[Key]) {
        let mut new = Vec::new();
        {
            let mut asked = self.asked.lock();
            for key in keys {
                asked.entry(*key).or_insert_with(|| {
                    new.push(*key);
                    Asked::Waits(Vec::new())
                });
            }
        }
        let requests = new.into_iter().map(|key| {
            let asked = Arc::clone(&self.asked);
            Request::new(key, move |answer| {
                let before = asked.lock().insert(key, Asked::Answered(answer.clone()));
                if let Some(Asked::Waits(requests)) = before {
                    requests.into_iter().for_each(|request| request.answer(answer.clone()));
                }
            })
        });
        self.send(requests.collect());
    }

    fn send(&self, requests: Vec<Request>) {
        if let Some(base) = self.base.deferred().filter(|_| !requests.is_empty()) {
            // What unwinds drops the requests, which answers them with an error: it counts where a key is needed.
            let _ = contain(|| base.request(requests));
        }
    }
}

impl DeferredSource for Ahead {
    fn request(&self, requests: Vec<Request>) {
        let (mut answered, mut unknown) = (Vec::new(), Vec::new());
        {
            let mut asked = self.asked.lock();
            for request in requests {
                match asked.get_mut(&request.key()) {
                    Some(Asked::Waits(waiting)) => waiting.push(request),
                    Some(Asked::Answered(answer)) => answered.push((request, answer.clone())),
                    None => unknown.push(request),
                }
            }
        }
        for (request, answer) in answered {
            request.answer(answer);
        }
        self.send(unknown);
    }
}

/// At once: the thread that asks waits.
impl StateSource for Ahead {
    read_by!(wait_for);

    fn deferred(&self) -> Option<&dyn DeferredSource> {
        Some(self)
    }

    fn has_storage(&self, address: Address) -> Result<bool, SourceError> {
        self.base.has_storage(address)
    }
}
