//! Block tests: chains of whole blocks, and blocks that must not become part of them.

mod chain;
mod format;

use alloy_hardforks::EthereumHardfork as Fork;

use super::{
    fixture::{self, Case, File, FileError, Rejection, Verdict, is_expected},
    network::{NO_CONSTANTINOPLE, Network},
};
use crate::ethereum::Engine;
use chain::Chain;
use format::{Fate, Test};

/// Executes the cases of a file that `wanted` takes, by name and network.
///
/// # Errors
///
/// A file that is no block test. A case that does not come out as expected is no error.
pub fn run(
    file: &File,
    engine: &impl Engine,
    wanted: &dyn Fn(&str, &str) -> bool,
) -> Result<Vec<Case>, FileError> {
    fixture::run(file, wanted, |name, test: Test, cases| {
        cases.run(name.to_owned(), test.network(), || execute(&test, engine));
    })
}

fn execute(test: &Test, engine: &impl Engine) -> Verdict {
    let network = match Network::new(test.network(), &test.config) {
        Ok(network) => network,
        Err(error) => return Verdict::Skipped(error.to_string()),
    };
    if network.forks().any(|fork| fork >= Fork::Amsterdam) {
        return Verdict::Skipped("block access lists (EIP-7928) are not built yet".to_owned());
    }
    let constantinople = network.forks().any(|fork| fork == Fork::Constantinople);
    match follow(test, network, engine) {
        Ok(()) => Verdict::Passed,
        Err(Failure::Seal) => {
            Verdict::Skipped("a seal is wrong, and proof of work is not checked".to_owned())
        }
        Err(Failure::Differs(_)) if constantinople => Verdict::Skipped(NO_CONSTANTINOPLE.to_owned()),
        Err(Failure::Differs(difference)) => Verdict::Failed(difference),
    }
}

enum Failure {
    /// A block should be rejected, perhaps for its seal.
    Seal,
    Differs(String),
}

impl From<String> for Failure {
    fn from(difference: String) -> Self {
        Self::Differs(difference)
    }
}

/// Imports the blocks; the error is what is not as the file says.
fn follow(test: &Test, network: Network, engine: &impl Engine) -> Result<(), Failure> {
    let sealed = test.seal.as_deref() == Some("Ethash");
    let mut chain = Chain::new(network, &test.genesis, fixture::state(&test.pre))?;
    for (place, block) in test.blocks.iter().enumerate() {
        let imported = chain.import(engine, &block.rlp);
        let differs =
            |difference: String| Err(Failure::Differs(format!("block {place} of the file: {difference}")));
        match (block.fate(test.network()), imported) {
            (Fate::Valid(hash), Ok(got)) if got == hash => {}
            (Fate::Valid(hash), Ok(got)) => return differs(format!("hash {got} is not {hash}")),
            (Fate::Valid(_), Err(error)) => return differs(format!("rejected: {error}")),
            (Fate::Invalid(_), Ok(_)) if sealed => return Err(Failure::Seal),
            (Fate::Invalid(None), Ok(_)) => return differs("not rejected".to_owned()),
            (Fate::Invalid(Some(exception)), Ok(_)) => {
                return differs(format!("not rejected for {exception}"));
            }
            (Fate::Invalid(None), Err(_)) => {}
            (Fate::Invalid(Some(exception)), Err(error)) => {
                let rejection = Rejection::Block(error);
                if !is_expected(&rejection, &exception) {
                    return differs(format!("rejected for another reason than {exception}: {rejection}"));
                }
            }
        }
    }
    // Which of several chains counts is not decided here: the file says it.
    let Some(last) = chain.after(&test.last) else {
        return Err(format!("no block {} was imported, which should be the last", test.last).into());
    };
    if let Some(post) = &test.post
        && let Some(difference) = fixture::first_difference(post, &last.state)
    {
        return Err(format!("state after the last block: {difference}").into());
    }
    let root = last.trie.root();
    if let Some(expected) = test.post_hash
        && root != expected
    {
        return Err(format!("state root after the last block: {root} is not {expected}").into());
    }
    Ok(())
}
