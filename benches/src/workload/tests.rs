//! What every mix promises: its transactions succeed or revert as asked, and they contend as it says.

use revm::primitives::hardfork::SpecId;

use super::{Knobs, Mix};
use crate::{contention::Contention, sequential};

fn small(seed: u64) -> Knobs {
    Knobs { seed, transactions: 300, accounts: 80, ..Knobs::default() }
}

#[test]
fn every_transaction_of_every_mix_succeeds_at_every_fork_and_seed() {
    for mix in Mix::ALL {
        for spec in [SpecId::PETERSBURG, SpecId::LONDON, SpecId::CANCUN, SpecId::PRAGUE, SpecId::OSAKA] {
            for seed in 0..2 {
                let workload = mix.build(&Knobs { spec, ..small(seed) });
                assert_eq!(workload.transactions.len(), 300, "{mix}");
                let outcome = sequential::execute(&workload);
                for (index, result) in outcome.results.iter().enumerate() {
                    let result =
                        result.as_ref().unwrap_or_else(|e| panic!("{mix} {spec:?} {seed} {index}: {e}"));
                    assert!(result.is_success(), "{mix} {spec:?} {seed} {index}: {result:?}");
                }
            }
        }
    }
}

#[test]
fn as_many_revert_as_asked() {
    for mix in Mix::ALL.iter().filter(|mix| mix.knobs().contains(&"reverting")) {
        for share in [0.2, 1.0] {
            let outcome = sequential::execute(&mix.build(&Knobs { reverting: share, ..small(1) }));
            let failed = outcome.results.iter().filter(|result| {
                !result.as_ref().unwrap_or_else(|error| panic!("{mix}: {error}")).is_success()
            });
            let failed = failed.count() as f64 / 300.0;
            assert!((failed - share).abs() < 0.08, "{mix}: {failed} of {share}");
        }
    }
}

#[test]
fn senders_repeat_as_asked() {
    for mix in Mix::ALL.iter().filter(|mix| mix.knobs().contains(&"repeated")) {
        let contention = Contention::of(&mix.build(&Knobs { repeated: 0.5, ..small(1) }));
        let share = contention.senders as f64 / 300.0;
        assert!((share - 0.5).abs() < 0.1, "{mix}: {share}");
    }
}

#[test]
fn the_same_knobs_give_the_same_block_and_other_seeds_another() {
    for mix in Mix::ALL {
        let build = |seed| mix.build(&Knobs { seed, transactions: 50, ..Knobs::default() });
        let transactions = build(3).transactions;
        assert_eq!(transactions, build(3).transactions, "{mix}");
        assert_ne!(transactions, build(4).transactions, "{mix}");
        let gas = |seed| sequential::execute(&build(seed)).gas_used();
        assert_eq!(gas(3), gas(3), "{mix}");
    }
}

#[test]
fn a_chain_breaks_without_its_first_transaction() {
    let mut workload = Mix::ChainedTransfers.build(&Knobs { transactions: 20, ..Knobs::default() });
    workload.transactions.remove(0);
    assert!(sequential::execute(&workload).results.iter().all(Result::is_err));
    let mut workload = Mix::Erc20Chained.build(&Knobs { transactions: 20, ..Knobs::default() });
    workload.transactions.remove(0);
    let results = sequential::execute(&workload).results;
    assert!(results.iter().all(|result| result.as_ref().is_ok_and(|result| !result.is_success())));
}

#[test]
fn one_knob_set_degenerates_without_panic() {
    let tiny = Knobs { accounts: 1, tokens: 1, pools: 1, hot: 0.0, transactions: 5, ..Knobs::default() };
    for mix in Mix::ALL {
        let outcome = sequential::execute(&mix.build(&tiny));
        assert!(outcome.results.iter().all(|result| result.as_ref().is_ok_and(|r| r.is_success())), "{mix}");
        assert_eq!(mix.build(&Knobs { transactions: 0, ..tiny.clone() }).transactions.len(), 0, "{mix}");
    }
}

#[test]
fn names_parse_back() {
    for mix in Mix::ALL {
        assert_eq!(mix.name().parse(), Ok(*mix));
    }
    assert!("nonsense".parse::<Mix>().is_err());
}

/// The contention of a block of 300 transactions.
fn contention(mix: Mix, change: impl FnOnce(&mut Knobs)) -> Contention {
    let mut knobs = Knobs { seed: 1, transactions: 300, accounts: 150, ..mix.full_size() };
    change(&mut knobs);
    Contention::of(&mix.build(&knobs))
}

#[test]
fn independent_mixes_have_no_dependencies() {
    for mix in [Mix::IndependentTransfers, Mix::Erc20Independent, Mix::SwapsIndependent, Mix::ManyToOne] {
        let contention = contention(mix, |_| {});
        assert_eq!((contention.dependent, contention.depth), (0, 1), "{mix}: {contention:?}");
        assert_eq!(contention.contended_slots, 0, "{mix}");
    }
}

#[test]
fn serial_mixes_are_one_chain() {
    for mix in [
        Mix::ChainedTransfers,
        Mix::OneToMany,
        Mix::SameSender,
        Mix::Erc20HotRecipient,
        Mix::Erc20OneToMany,
        Mix::Erc20Chained,
        Mix::SwapsOnePool,
    ] {
        let contention = contention(mix, |_| {});
        assert_eq!((contention.dependent, contention.depth), (299, 300), "{mix}: {contention:?}");
    }
    for mix in [Mix::ChainedTransfers, Mix::Erc20Chained] {
        let contention = contention(mix, |knobs| knobs.chain = 10);
        assert_eq!((contention.dependent, contention.depth), (270, 10), "{mix}: {contention:?}");
    }
}

#[test]
fn counters_and_sequences_put_all_in_a_row() {
    for mix in
        [Mix::NftDrop, Mix::NftBreeding, Mix::Airdrop, Mix::Erc20FeeOnTransfer, Mix::LiquidationCascade]
    {
        let contention = contention(mix, |_| {});
        assert_eq!((contention.dependent, contention.depth), (299, 300), "{mix}: {contention:?}");
    }
    // All but some of who only reads, cancels, or has an account of their own.
    for mix in [Mix::BridgeInbox, Mix::YieldFarm, Mix::OrderBook] {
        let contention = contention(mix, |_| {});
        assert!(contention.depth > 200, "{mix}: {contention:?}");
    }
}

#[test]
fn what_is_spread_over_several_is_contended_in_part() {
    for mix in [
        Mix::SwapsManyPools,
        Mix::SwapsMultiHop,
        Mix::SwapsConcentrated,
        Mix::SwapsStable,
        Mix::LendingOneOracle,
        Mix::DaoVote,
        Mix::FlashArbitrage,
        Mix::DefiDay,
        Mix::Defi,
        Mix::SupplyChain,
    ] {
        let contention = contention(mix, |_| {});
        assert!(contention.dependent >= 50, "{mix}: {contention:?}");
        assert!((30..270).contains(&contention.depth), "{mix}: {contention:?}");
        assert!(contention.hottest_slot >= 20, "{mix}: {contention:?}");
    }
    // More pools, fewer in a row.
    for mix in
        [Mix::SwapsManyPools, Mix::SwapsConcentrated, Mix::SwapsStable, Mix::LendingOneOracle, Mix::DaoVote]
    {
        let depth = |pools| {
            contention(mix, |knobs| {
                (knobs.pools, knobs.hot, knobs.skew, knobs.tokens) = (pools, 0.0, 0.0, 20)
            })
            .depth
        };
        let (one, many) = (depth(1), depth(20));
        assert!(many < one / 2, "{mix}: {one} with one, {many} with 20");
    }
}

#[test]
fn hot_shares_are_what_the_hottest_slot_gets() {
    for mix in [Mix::Erc20HotRecipient, Mix::SwapsManyPools, Mix::AdversarialLate] {
        let hottest = |hot| {
            let contention = contention(mix, |knobs| (knobs.hot, knobs.skew) = (hot, 0.0));
            contention.hottest_slot as f64 / 300.0
        };
        assert!((hottest(0.7) - 0.7).abs() < 0.12, "{mix}: {}", hottest(0.7));
        assert!(hottest(0.0) < 0.2, "{mix}: {}", hottest(0.0));
    }
}

#[test]
fn adversaries_do_as_they_say() {
    let shifting = contention(Mix::AdversarialShifting, |_| {});
    assert_eq!(shifting.contended_slots, 12, "{shifting:?}");
    assert!(shifting.dependent > 180 && shifting.depth < 150, "{shifting:?}");
    let invalidated = contention(Mix::AdversarialInvalidated, |_| {});
    assert_eq!((invalidated.dependent, invalidated.depth), (1, 2), "{invalidated:?}");
}
