//! What makes a workload larger or harder, and the same from the command line.

use clap::Args;
use revm::primitives::hardfork::SpecId;

use super::Mix;

/// What makes a [`Mix`] larger or harder. Each mix reads the knobs that it lists, beside `seed`, `transactions`
/// and `spec`, which all of them read.
#[derive(Clone, Debug, PartialEq)]
pub struct Knobs {
    /// Everything that is left to chance follows from it.
    pub seed: u64,
    /// The number of transactions.
    pub transactions: usize,
    /// How many accounts take part, where a mix does not take one per transaction.
    pub accounts: usize,
    /// The number of tokens.
    pub tokens: usize,
    /// The number of pools, markets, collections or whatever a mix has one or many of.
    pub pools: usize,
    /// The share of the transactions, from 0 to 1, that goes to the hottest pool, token or recipient.
    pub hot: f64,
    /// Zipf's exponent for the choice among the others: 0 is uniform.
    pub skew: f64,
    /// The share of the transactions, from 0 to 1, whose sender is that of the one before.
    pub repeated: f64,
    /// How many transactions a chain has; 0 for one chain in all.
    pub chain: usize,
    /// The share of the transactions, from 0 to 1, that revert.
    pub reverting: f64,
    /// The fork, London or later for transactions with a base fee.
    pub spec: SpecId,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            seed: 0,
            transactions: 1_000,
            accounts: 500,
            tokens: 8,
            pools: 12,
            hot: 0.3,
            skew: 0.8,
            repeated: 0.0,
            chain: 0,
            reverting: 0.0,
            spec: SpecId::CANCUN,
        }
    }
}

impl Knobs {
    /// The options of a command that mean these knobs.
    pub fn options(&self) -> Vec<String> {
        let spec: &str = self.spec.into();
        let pairs = [
            ("seed", self.seed.to_string()),
            ("transactions", self.transactions.to_string()),
            ("accounts", self.accounts.to_string()),
            ("tokens", self.tokens.to_string()),
            ("pools", self.pools.to_string()),
            ("hot", self.hot.to_string()),
            ("skew", self.skew.to_string()),
            ("repeated", self.repeated.to_string()),
            ("chain", self.chain.to_string()),
            ("reverting", self.reverting.to_string()),
            ("fork", spec.to_owned()),
        ];
        pairs.into_iter().map(|(name, value)| format!("--{name}={value}")).collect()
    }
}

/// Knobs as options of a command; what is not given is the mix's own default.
#[derive(Clone, Debug, Default, Args)]
pub struct KnobArguments {
    /// Everything that is left to chance follows from it [default: 0].
    #[arg(long)]
    pub seed: Option<u64>,
    /// The number of transactions [default: about one gigagas of them].
    #[arg(long, value_name = "N", value_parser = number(10_000_000))]
    pub transactions: Option<u64>,
    /// About so much gas, in place of a number of transactions.
    #[arg(long, value_name = "GAS", conflicts_with = "transactions", value_parser = number(100_000_000_000))]
    pub gas: Option<u64>,
    /// How many accounts take part [default: half as many as transactions].
    #[arg(long, value_name = "N", value_parser = number(10_000_000))]
    pub accounts: Option<u64>,
    /// The number of tokens.
    #[arg(long, value_name = "N", value_parser = number(10_000))]
    pub tokens: Option<u64>,
    /// The number of pools, markets or collections.
    #[arg(long, value_name = "N", value_parser = number(10_000))]
    pub pools: Option<u64>,
    /// The share of the transactions, from 0 to 1, that goes to the hottest pool, token or recipient.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub hot: Option<f64>,
    /// Zipf's exponent for the choice among the others: 0 is uniform.
    #[arg(long, value_name = "EXPONENT", value_parser = exponent)]
    pub skew: Option<f64>,
    /// The share of the transactions, from 0 to 1, whose sender is that of the one before.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub repeated: Option<f64>,
    /// How many transactions a chain has; 0 for one chain in all.
    #[arg(long, value_name = "N")]
    pub chain: Option<usize>,
    /// The share of the transactions, from 0 to 1, that revert.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub reverting: Option<f64>,
    /// The hard fork, by revm's name (London, Cancun, Prague, ...): contracts need Petersburg or later
    /// [default: Cancun].
    #[arg(long, value_name = "NAME", value_parser = fork)]
    pub fork: Option<SpecId>,
}

impl KnobArguments {
    /// The knobs for this mix.
    pub fn knobs(&self, mix: Mix) -> Knobs {
        let mut knobs = mix.full_size();
        let set = |knob: &mut usize, value: Option<u64>| {
            if let Some(value) = value {
                // The parser knows better, but a usize may be smaller.
                *knob = usize::try_from(value).unwrap_or(usize::MAX);
            }
        };
        let share = |knob: &mut f64, value: Option<f64>| *knob = value.unwrap_or(*knob);
        knobs.seed = self.seed.unwrap_or(knobs.seed);
        knobs.spec = self.fork.unwrap_or(knobs.spec);
        knobs.chain = self.chain.unwrap_or(knobs.chain);
        set(&mut knobs.tokens, self.tokens);
        set(&mut knobs.pools, self.pools);
        share(&mut knobs.hot, self.hot);
        share(&mut knobs.skew, self.skew);
        share(&mut knobs.repeated, self.repeated);
        share(&mut knobs.reverting, self.reverting);
        set(&mut knobs.transactions, self.transactions);
        if let Some(gas) = self.gas {
            knobs.transactions = mix.transactions_for(gas, &knobs);
        }
        knobs.accounts = (knobs.transactions / 2).max(1);
        set(&mut knobs.accounts, self.accounts);
        knobs
    }
}

fn number(most: u64) -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=most)
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("not a number from 0 to 1".to_owned()),
    }
}

fn exponent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(exponent) if (0.0..=10.0).contains(&exponent) => Ok(exponent),
        _ => Err("not a number from 0 to 10".to_owned()),
    }
}

fn fork(text: &str) -> Result<SpecId, String> {
    match text.parse() {
        Ok(spec) if (SpecId::PETERSBURG..=SpecId::OSAKA).contains(&spec) => Ok(spec),
        Ok(_) => Err("a fork from Petersburg to Osaka is needed".to_owned()),
        Err(_) => Err("no hard fork is called so".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequential;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        knobs: KnobArguments,
    }

    fn parse(line: &str) -> Result<KnobArguments, clap::Error> {
        Command::try_parse_from(["test"].into_iter().chain(line.split_whitespace()))
            .map(|command| command.knobs)
    }

    #[test]
    fn options_are_knobs() {
        let knobs = parse("--seed 7 --transactions 40 --hot 0.5 --fork prague --fork Prague");
        assert!(knobs.is_err(), "twice");
        let knobs = parse("--seed 7 --transactions 40 --hot 0.5 --fork Prague").unwrap();
        let knobs = knobs.knobs(Mix::DefiDay);
        assert_eq!((knobs.seed, knobs.transactions, knobs.accounts), (7, 40, 20));
        assert_eq!((knobs.hot, knobs.spec), (0.5, SpecId::PRAGUE));
        assert_eq!(parse("").unwrap().knobs(Mix::IndependentTransfers).transactions, 47_620);
        for bad in
            ["--transactions 0", "--hot 1.5", "--hot nan", "--skew -1", "--fork atlantis", "--fork Frontier"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("--gas 5 --transactions 5").is_err());
    }

    #[test]
    fn knobs_come_back_from_their_options() {
        for mix in Mix::ALL {
            let knobs = Knobs { seed: 5, hot: 1.0 / 3.0, chain: 3, spec: SpecId::PRAGUE, ..mix.full_size() };
            assert_eq!(parse(&knobs.options().join(" ")).unwrap().knobs(*mix), knobs);
        }
    }

    #[test]
    fn gas_is_met_within_a_tenth() {
        let knobs = parse("--gas 30000000").unwrap();
        for mix in [Mix::IndependentTransfers, Mix::Erc20Independent, Mix::SwapsOnePool, Mix::DefiDay] {
            let gas = sequential::execute(&mix.build(&knobs.knobs(mix))).gas_used() as f64;
            assert!((gas / 30e6 - 1.0).abs() < 0.1, "{mix}: {gas}");
        }
    }
}
