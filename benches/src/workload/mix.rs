//! The named mixes: what each is, which knobs it reads, and how large it is unless asked otherwise.

use std::{fmt, str::FromStr};

use super::{
    Knobs, Workload, adversarial, arbitrage, day, defi, exchanges, farm, lending, nfts, payouts, records,
    swaps, tokens, transfers,
};
use crate::sequential;

/// Declares the mixes: a variant, its name, its own defaults, the knobs that it reads, its builder, and what it is.
macro_rules! mixes {
    ($($variant:ident $name:literal { $($field:ident: $value:expr),* } [$($knob:ident)*] $build:path, $description:literal;)*) => {
        /// The named kinds of workload.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Mix {
            $(#[doc = concat!("`", $name, "`: ", $description, ".")] $variant,)*
        }

        impl Mix {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name, as the command line takes it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it is, in a line.
            pub const fn description(self) -> &'static str {
                match self { $(Self::$variant => $description,)* }
            }

            /// The knobs that it reads beside `seed`, `transactions` and `spec`.
            pub const fn knobs(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$(stringify!($knob),)*],)* }
            }

            /// Builds the block.
            pub fn build(self, knobs: &Knobs) -> Workload {
                match self { $(Self::$variant => $build(knobs),)* }
            }

            fn defaults(self) -> Knobs {
                match self { $(Self::$variant => Knobs { $($field: $value,)* ..Knobs::default() },)* }
            }
        }
    };
}

mixes! {
    IndependentTransfers "independent-transfers" { transactions: 47_620 } [repeated reverting]
        transfers::independent, "plain transfers that share no account";
    ChainedTransfers "chained-transfers" { transactions: 47_620 } [chain]
        transfers::chained, "plain transfers of which each funds the next one's sender";
    OneToMany "one-to-many" { transactions: 47_620 } [reverting]
        transfers::one_to_many, "plain transfers from one sender to accounts that did not exist";
    SameSender "same-sender" { transactions: 47_620 } [accounts reverting]
        transfers::same_sender, "plain transfers from one sender to existing accounts, again and again";
    ManyToOne "many-to-one" { transactions: 47_620 } [hot repeated reverting]
        transfers::many_to_one, "plain transfers, the hot share of them to one account";
    Erc20Independent "erc20-independent" { transactions: 33_000 } [repeated reverting]
        tokens::independent, "transfers of one token between disjoint holders";
    Erc20HotRecipient "erc20-hot-recipient" { transactions: 33_000, hot: 1.0 } [hot repeated reverting]
        tokens::hot_recipient, "transfers of one token, the hot share of them to one recipient";
    Erc20OneToMany "erc20-one-to-many" { transactions: 33_000 } [reverting]
        tokens::one_to_many, "payouts of one token from one sender";
    Erc20Chained "erc20-chained" { transactions: 33_000 } [chain reverting]
        tokens::chained, "transfers of one token of which each passes on what the one before gave";
    SwapsIndependent "swaps-independent" { transactions: 6_400 } [repeated reverting]
        swaps::independent, "swaps, each on a pool and with tokens of its own";
    SwapsOnePool "swaps-one-pool" { transactions: 13_300 } [repeated reverting]
        swaps::one_pool, "swaps on one pool";
    SwapsManyPools "swaps-many-pools" { transactions: 13_300 } [pools tokens hot skew repeated reverting]
        swaps::many_pools, "swaps on many pools, with a hot one";
    SwapsMultiHop "swaps-multi-hop" { transactions: 5_600 } [tokens hot skew repeated reverting]
        exchanges::multi_hop, "swaps through a router over two or three pools of a ring";
    SwapsConcentrated "swaps-concentrated" { transactions: 11_500, pools: 4 } [pools hot skew repeated reverting]
        exchanges::concentrated, "swaps and liquidity on pools with liquidity between prices";
    SwapsStable "swaps-stable" { transactions: 11_300, pools: 4 } [pools hot skew repeated reverting]
        exchanges::stable, "swaps and liquidity on stable-swap pools";
    OrderBook "order-book" { transactions: 11_000 } [repeated reverting]
        exchanges::order_book, "orders of one exchange with an order book, some matched at once";
    LendingOneOracle "lending-one-oracle" { transactions: 16_000, pools: 4 } [pools hot skew repeated reverting]
        lending::one_oracle, "borrowing, repaying, supplying on several markets with one oracle";
    LiquidationCascade "liquidation-cascade" { transactions: 11_200 } [reverting]
        lending::cascade, "liquidations, each made possible by the sale of what the one before seized";
    YieldFarm "yield-farm" { transactions: 10_000, pools: 4 } [pools hot skew repeated reverting]
        farm::stakes, "stakes, withdrawals and harvests with a reward-per-unit index for each pool";
    NftDrop "nft-drop" { transactions: 6_000 } [repeated reverting]
        nfts::drop, "minting of one collection with sequential numbers";
    NftBreeding "nft-breeding" { transactions: 7_300 } [repeated reverting]
        nfts::breeding, "births in a breeding game, numbered and with mixed genes";
    Airdrop "airdrop" { transactions: 11_900 } [repeated reverting]
        payouts::airdrop, "claims of one airdrop, with Merkle proofs and shared words of claimed bits";
    Multisend "multisend" { transactions: 5_500 } [hot repeated reverting]
        payouts::multisend, "payments of 2 to 12 at once, in ether or a token, the hot share to three accounts";
    Erc20FeeOnTransfer "erc20-fee-on-transfer" { transactions: 15_000 } [repeated reverting]
        payouts::fee_token, "transfers of a token with a fee for one account and a global counter";
    DaoVote "dao-vote" { transactions: 15_400, pools: 4 } [pools hot skew repeated reverting]
        records::votes, "votes on a few proposals, the pools knob says how many";
    SupplyChain "supply-chain" { transactions: 7_800 } [repeated reverting]
        records::goods, "append-only records of items, and items handed on";
    BridgeInbox "bridge-inbox" { transactions: 5_000 } [repeated reverting]
        records::bridge, "deposits into a rollup's inbox, single and in batches, each hashed with all before";
    FlashArbitrage "flash-arbitrage" { transactions: 6_300, pools: 9 } [pools hot skew repeated reverting]
        arbitrage::flash, "trades that open a gap between three pools, and flash loans that close it";
    DefiDay "defi-day" { transactions: 15_700, pools: 12 } [accounts pools tokens hot skew reverting]
        day::day, "a weighted mix of all of these, with hot spots";
    Defi "defi" { transactions: 21_500 } [accounts pools tokens hot skew]
        defi::defi, "transfers, one kind of token, pools with liquidity coming and going";
    AdversarialShifting "adversarial-shifting" { transactions: 15_000, hot: 0.8 } [hot pools repeated reverting]
        adversarial::shifting, "one function; which earlier transaction each depends on changes all the time";
    AdversarialLate "adversarial-late" { transactions: 15_000, hot: 0.8 } [hot repeated reverting]
        adversarial::late, "a dependency that is known only at the last instruction";
    AdversarialInvalidated "adversarial-invalidated" { transactions: 4_000 } [reverting]
        adversarial::invalidated, "30-Mgas transactions misled by one that writes last, among transfers";
}

impl Mix {
    /// The knobs of a block of about one gigagas.
    pub fn full_size(self) -> Knobs {
        let knobs = self.defaults();
        Knobs { accounts: knobs.transactions / 2, ..knobs }
    }

    /// How many transactions use about so much gas: by what a small block of the mix uses for each.
    pub fn transactions_for(self, gas: u64, knobs: &Knobs) -> usize {
        /// Enough for an average.
        const SAMPLE: usize = 500;
        let sample = Knobs { transactions: SAMPLE, accounts: SAMPLE / 2, ..knobs.clone() };
        let used = sequential::execute(&self.build(&sample)).gas_used().max(1);
        let transactions = u128::from(gas) * SAMPLE as u128 / u128::from(used);
        usize::try_from(transactions).unwrap_or(usize::MAX).max(1)
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No [`Mix`] has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownMixError(String);

impl fmt::Display for UnknownMixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Mix::ALL.iter().map(|mix| mix.name()).collect::<Vec<_>>().join(", ");
        write!(f, "no workload is called {:?}; there are {names}", self.0)
    }
}

impl std::error::Error for UnknownMixError {}

impl FromStr for Mix {
    type Err = UnknownMixError;

    fn from_str(name: &str) -> Result<Self, UnknownMixError> {
        let mix = Self::ALL.iter().find(|mix| mix.name() == name);
        mix.copied().ok_or_else(|| UnknownMixError(name.to_owned()))
    }
}
