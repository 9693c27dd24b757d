//! `counterpoint t8n`: the state transition of one block, with the interface of geth's `evm t8n`.

use std::{
    fs, io,
    io::{Read, Write},
    num::NonZero,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

use clap::{
    Args,
    builder::{OsStringValueParser, TypedValueParser},
};
use counterpoint::{
    Runtime,
    cli::{
        network,
        t8n::{Input, Options, Output, T8nError, transition},
    },
};
use serde_json::{Map, Value};

use crate::{output::complain, replay::MOST_WORKERS};

/// Execute a block that is given as JSON and write the state after it, as `evm t8n` does.
///
/// An input called `stdin` is a field (`alloc`, `env`, `txs` or `txsRlp`) of one JSON object on standard input; an output
/// called `stdout` or `stderr` becomes one (`alloc`, `result`, `body`) of one object on standard output or error. Exits with 0, or with 2 if the
/// block cannot be executed, 3 for a bad environment or fork, 4 if the hash of a block is missing, 10 for bad JSON, 11
/// for a file that cannot be read or written, 12 for bad RLP.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The accounts before the block.
    #[arg(long = "input.alloc", value_name = "FILE", default_value = "alloc.json")]
    alloc: PathBuf,

    /// The block's environment.
    #[arg(long = "input.env", value_name = "FILE", default_value = "env.json")]
    env: PathBuf,

    /// The transactions: JSON, or as *.rlp the hex of their list.
    #[arg(long = "input.txs", value_name = "FILE", default_value = "txs.json")]
    txs: PathBuf,

    /// Blob parameters other than the fork's: target, max, baseFeeUpdateFraction.
    #[arg(long = "input.blobParams", value_name = "FILE")]
    blob_params: Option<PathBuf>,

    /// Where the outputs are written.
    #[arg(long = "output.basedir", value_name = "FOLDER", value_parser = any_name())]
    basedir: Option<PathBuf>,

    /// The accounts after the block.
    #[arg(long = "output.alloc", value_name = "FILE", value_parser = any_name(), default_value = "alloc.json")]
    output_alloc: PathBuf,

    /// Roots, receipts and what was rejected.
    #[arg(long = "output.result", value_name = "FILE", value_parser = any_name(), default_value = "result.json")]
    output_result: PathBuf,

    /// The transactions that are part of the block, as hex of their RLP. Not written unless it is named.
    #[arg(long = "output.body", value_name = "FILE", value_parser = any_name())]
    output_body: Option<PathBuf>,

    /// The fork, or the chain, such as ParisToShanghaiAtTime15k.
    #[arg(long_help = fork_help())]
    #[arg(long = "state.fork", value_name = "NAME", default_value = "GrayGlacier")]
    fork: String,

    /// The chain's id.
    #[arg(long = "state.chainid", value_name = "ID", default_value_t = 1)]
    chain_id: u64,

    /// What the miner gets, in wei; -1 for no reward at all.
    #[arg(long = "state.reward", value_name = "WEI", default_value_t = 0, allow_negative_numbers = true)]
    reward: i128,

    /// Workers, the calling thread included [default: the number of cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MOST_WORKERS))]
    workers: Option<u16>,

    /// Random yields, wrong predictions and forced invalidations, from this seed. Results must not change.
    #[cfg(feature = "chaos")]
    #[arg(long, value_name = "SEED", hide = true)]
    chaos: Option<u64>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match execute(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            error.exit_code().into()
        }
    }
}

fn execute(arguments: &Arguments) -> Result<(), T8nError> {
    let mut inputs = Inputs::default();
    let input = Input {
        alloc: inputs.read(&arguments.alloc, "alloc")?,
        env: inputs.read(&arguments.env, "env")?,
        txs: inputs.read(&arguments.txs, "txs")?,
    };
    let options = Options {
        fork: arguments.fork.clone(),
        chain_id: arguments.chain_id,
        reward: arguments.reward,
        blob_params: match &arguments.blob_params {
            Some(path) => Some(inputs.read(path, "blobParams")?),
            None => None,
        },
    };
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let builder = Runtime::builder().workers(arguments.workers.map_or(cores, usize::from));
    #[cfg(feature = "chaos")]
    let builder = match arguments.chaos {
        Some(seed) => builder.chaos(seed),
        None => builder,
    };
    let runtime = builder.build().map_err(|error| T8nError::Evm(error.to_string()))?;
    write(arguments, transition(&runtime, input, &options)?)
}

/// What was read from standard input, once it was.
#[derive(Default)]
struct Inputs {
    stdin: Option<Map<String, Value>>,
}

impl Inputs {
    fn read(&mut self, path: &Path, field: &str) -> Result<Value, T8nError> {
        if path.as_os_str() != "stdin" {
            let text = fs::read_to_string(path).map_err(|error| T8nError::io(path, error))?;
            // The list alone, as hex, with or without quotes.
            let is_rlp = path.extension().is_some_and(|extension| extension == "rlp");
            if is_rlp && !text.trim_start().starts_with('"') {
                return Ok(Value::String(text.trim().to_owned()));
            }
            return serde_json::from_str(&text).map_err(|error| T8nError::json(field, error));
        }
        let stdin = match &mut self.stdin {
            Some(stdin) => stdin,
            empty => {
                let mut text = String::new();
                io::stdin().read_to_string(&mut text).map_err(|error| T8nError::io(path, error))?;
                let object = serde_json::from_str(&text).map_err(|error| T8nError::json("stdin", error))?;
                empty.insert(object)
            }
        };
        match field {
            // Their RLP has a field of its own, which comes first.
            "txs" => {
                let rlp =
                    stdin.remove("txsRlp").filter(|rlp| rlp.as_str().is_some_and(|rlp| !rlp.is_empty()));
                Ok(rlp.or_else(|| stdin.remove(field)).unwrap_or_default())
            }
            "alloc" => Ok(stdin.remove(field).unwrap_or_else(|| Map::new().into())),
            _ => stdin.remove(field).ok_or_else(|| T8nError::json("stdin", format!("no field {field:?}"))),
        }
    }
}

/// The name of a file or folder, or none at all.
fn any_name() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Lists the forks: whoever drives transition tools looks for their names here.
fn fork_help() -> String {
    format!(
        "The fork, or the chain, such as ParisToShanghaiAtTime15k.\n\nForks, some of them by several names: {}",
        network::NAMES.map(|(name, _)| name).join(", ")
    )
}

fn write(arguments: &Arguments, output: Output) -> Result<(), T8nError> {
    let base = arguments.basedir.as_deref().unwrap_or(Path::new(""));
    if arguments.basedir.is_some() {
        fs::create_dir_all(base).map_err(|error| T8nError::io(base, error))?;
    }
    let (mut stdout, mut stderr) = (Map::new(), Map::new());
    let outputs = [
        (Some(&arguments.output_alloc), "alloc", output.alloc),
        (Some(&arguments.output_result), "result", output.result),
        (arguments.output_body.as_ref(), "body", output.body),
    ];
    for (path, name, value) in outputs {
        match path {
            Some(path) if path.as_os_str() == "stdout" => {
                stdout.insert(name.to_owned(), value);
            }
            Some(path) if path.as_os_str() == "stderr" => {
                stderr.insert(name.to_owned(), value);
            }
            // An empty name is none.
            Some(path) if !path.as_os_str().is_empty() => {
                let path = base.join(path);
                let text =
                    serde_json::to_string_pretty(&value).map_err(|error| T8nError::json(name, error))?;
                fs::write(&path, text).map_err(|error| T8nError::io(&path, error))?;
            }
            _ => {}
        }
    }
    print(io::stdout(), "stdout", &stdout)?;
    print(io::stderr(), "stderr", &stderr)
}

fn print(mut to: impl Write, name: &str, fields: &Map<String, Value>) -> Result<(), T8nError> {
    if fields.is_empty() {
        return Ok(());
    }
    let text = serde_json::to_string_pretty(fields).map_err(|error| T8nError::json(name, error))?;
    writeln!(to, "{text}").map_err(|error| T8nError::io(Path::new(name), error))
}
