//! Running Ethereum's test fixtures: many files side by side, progress, failures, a table.

use std::{
    collections::BTreeMap,
    fs, io,
    num::NonZero,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use clap::Args;
use counterpoint::{
    Runtime,
    cli::{
        executor::Executor,
        fixture::{Case, File, FileError, Verdict},
        network::{Config, Network},
    },
};
use regex::Regex;

use crate::{
    output::{self, Output},
    replay::{MOST_WORKERS, Status},
};

/// Tests call deep.
const STACK: usize = 16 << 20;

/// What both commands are told.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Fixture files (*.json), or folders of them, whatever is in them.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Only cases of this fork, such as Cancun, or of this chain, such as ParisToShanghaiAtTime15k.
    #[arg(long, value_name = "NAME")]
    fork: Option<String>,

    /// Only cases whose file and name, with a colon between, match this.
    #[arg(long, value_name = "REGEX")]
    filter: Option<Regex>,

    /// Workers that execute a block, the thread of the test included [default: the number of cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MOST_WORKERS))]
    workers: Option<u16>,

    /// Tests at the same time [default: the number of cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MOST_WORKERS))]
    jobs: Option<u16>,

    /// Execute with plain sequential revm instead, to compare what it takes. It does not have EIP-7610.
    #[arg(long, conflicts_with = "workers")]
    sequential: bool,

    /// Write one JSON object for each case and one for the sums, instead of text.
    #[arg(long)]
    json: bool,

    /// Random yields, wrong predictions and forced invalidations, from this seed. Results must not change.
    #[cfg(feature = "chaos")]
    #[arg(long, value_name = "SEED", hide = true)]
    chaos: Option<u64>,
}

/// Executes the wanted cases of a file.
pub(crate) type RunFile =
    fn(&File, Executor<'_>, &dyn Fn(&str, &str) -> bool) -> Result<Vec<Case>, FileError>;

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, run_file: RunFile) -> Status {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let workers = arguments.workers.map_or(cores, usize::from);
    let jobs = arguments.jobs.map_or(cores, usize::from);
    if let Some(fork) = &arguments.fork
        && let Err(error) = Network::new(fork, &Config::default())
    {
        return bad_input(error);
    }
    let files = match collect(&arguments.paths) {
        Ok(files) => files,
        Err(error) => return bad_input(error),
    };
    let builder = Runtime::builder().workers(workers);
    // The tests' blocks are small, and would hardly ever be shared.
    let builder = if workers > 1 { builder.serial_prefix(0) } else { builder };
    #[cfg(feature = "chaos")]
    let builder = match arguments.chaos {
        Some(seed) => builder.chaos(seed),
        None => builder,
    };
    // Nobody would use it.
    let builder = if arguments.sequential { builder.workers(1) } else { builder };
    let runtime = match builder.build() {
        Ok(runtime) => runtime,
        Err(error) => return bad_input(format_args!("cannot start {workers} workers: {error}")),
    };
    let mut suite = Suite {
        output: Output::new(files.len(), !arguments.json),
        json: arguments.json,
        roots: &arguments.paths,
        table: BTreeMap::new(),
        skipped: BTreeMap::new(),
        sums: Sums::default(),
        status: Status::Agrees,
    };
    let executor = if arguments.sequential { Executor::Sequential } else { Executor::Parallel(&runtime) };
    let work = Work { files: &files, next: AtomicUsize::new(0), executor, arguments, run_file };
    match suite.all(&work, jobs.min(files.len())) {
        Ok(()) => suite.status,
        // Whoever reads our output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => suite.status,
        Err(error) => bad_input(format_args!("cannot write to standard output: {error}")),
    }
}

fn bad_input(message: impl std::fmt::Display) -> Status {
    output::complain(message);
    Status::BadInput
}

/// The fixture files under the paths, in order.
fn collect(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in paths {
        let before = files.len();
        descend(path, true, &mut files).map_err(|error| format!("{}: {error}", path.display()))?;
        if files.len() == before {
            return Err(format!("{}: no fixture file (*.json) in this folder", path.display()));
        }
    }
    Ok(files)
}

fn descend(path: &Path, named: bool, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if fs::metadata(path)?.is_dir() {
        let entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path()));
        let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
        entries.sort();
        // What begins with a dot is about the fixtures, such as an index of them.
        entries.retain(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')));
        return entries.iter().try_for_each(|path| descend(path, false, files));
    }
    if named || path.extension().is_some_and(|extension| extension == "json") {
        files.push(path.to_owned());
    }
    Ok(())
}

/// What the threads take their work from.
struct Work<'a> {
    files: &'a [PathBuf],
    next: AtomicUsize,
    executor: Executor<'a>,
    arguments: &'a Arguments,
    run_file: RunFile,
}

type FileResult<'a> = (&'a Path, Result<Vec<Case>, FileError>);

impl<'a> Work<'a> {
    fn take(&self, results: &mpsc::Sender<FileResult<'a>>) {
        // Relaxed: the counter alone says whose file it is.
        while let Some(path) = self.files.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let wanted = |case: &str, fork: &str| self.wants(path, case, fork);
            let result = File::read(path).and_then(|file| (self.run_file)(&file, self.executor, &wanted));
            if results.send((path, result)).is_err() {
                return;
            }
        }
    }

    fn wants(&self, path: &Path, case: &str, fork: &str) -> bool {
        let named = self.arguments.fork.as_deref().is_none_or(|wanted| is_same(wanted, fork));
        let filter = self.arguments.filter.as_ref();
        named && filter.is_none_or(|filter| filter.is_match(&format!("{}:{case}", path.display())))
    }
}

/// Whether both names mean the same fork or chain.
fn is_same(wanted: &str, fork: &str) -> bool {
    let known = counterpoint::cli::network::fork;
    wanted.eq_ignore_ascii_case(fork) || known(wanted).is_ok_and(|wanted| Ok(wanted) == known(fork))
}

/// A running command.
struct Suite<'a> {
    output: Output,
    json: bool,
    roots: &'a [PathBuf],
    /// By fork and folder.
    table: BTreeMap<(String, String), Sums>,
    /// By reason.
    skipped: BTreeMap<String, Vec<String>>,
    sums: Sums,
    status: Status,
}

/// How many cases came out how.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
struct Sums {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Sums {
    fn add(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Failed(_) => self.failed += 1,
            Verdict::Skipped(_) => self.skipped += 1,
        }
    }
}

impl Suite<'_> {
    fn all(&mut self, work: &Work<'_>, jobs: usize) -> io::Result<()> {
        let result = thread::scope(|scope| {
            let (sender, results) = mpsc::channel();
            for _ in 0..jobs {
                let sender = sender.clone();
                thread::Builder::new()
                    .name("counterpoint-test".to_owned())
                    .stack_size(STACK)
                    .spawn_scoped(scope, move || work.take(&sender))?;
            }
            drop(sender);
            results.iter().try_for_each(|(path, result)| self.file(path, result))
        });
        self.output.finish();
        result?;
        self.finish()
    }

    fn file(&mut self, path: &Path, result: Result<Vec<Case>, FileError>) -> io::Result<()> {
        self.output.begin(path.file_name().unwrap_or_default().to_string_lossy());
        self.output.advance();
        match result {
            Ok(cases) => cases.iter().try_for_each(|case| self.case(case)),
            Err(error) => {
                self.output.complain(error);
                self.status = self.status.max(Status::BadInput);
                Ok(())
            }
        }
    }

    fn case(&mut self, case: &Case) -> io::Result<()> {
        let row = (case.fork.clone(), self.folder(&case.file));
        self.table.entry(row).or_default().add(&case.verdict);
        self.sums.add(&case.verdict);
        let place = format!("{}: {}, {}", case.file.display(), case.case, case.fork);
        match &case.verdict {
            Verdict::Passed => {}
            Verdict::Failed(difference) => {
                self.status = self.status.max(Status::Differs);
                if !self.json {
                    self.output.line(format_args!("FAILED {place}: {difference}"))?;
                }
            }
            Verdict::Skipped(reason) => self.skipped.entry(reason.clone()).or_default().push(place),
        }
        if self.json {
            self.output.line(serde_json::to_string(case).map_err(io::Error::other)?)?;
        }
        Ok(())
    }

    /// The file's folder, below what was named on the command line.
    fn folder(&self, file: &Path) -> String {
        let folder = file.parent().unwrap_or(Path::new(""));
        let below = self.roots.iter().find_map(|root| folder.strip_prefix(root).ok()).unwrap_or(folder);
        if below.as_os_str().is_empty() { ".".to_owned() } else { below.display().to_string() }
    }

    fn finish(&self) -> io::Result<()> {
        if self.json {
            return self.output.line(serde_json::to_string(&self.sums).map_err(io::Error::other)?);
        }
        self.output.line(format_args!(
            "\n{:<32} {:<48} {:>7} {:>7} {:>7}",
            "fork", "folder", "passed", "failed", "skipped"
        ))?;
        for ((fork, folder), sums) in &self.table {
            self.output.line(format_args!(
                "{fork:<32} {folder:<48} {:>7} {:>7} {:>7}",
                sums.passed, sums.failed, sums.skipped
            ))?;
        }
        for (reason, places) in &self.skipped {
            self.output.line(format_args!("\nskipped: {reason}"))?;
            places.iter().try_for_each(|place| self.output.line(format_args!("  {place}")))?;
        }
        let Sums { passed, failed, skipped } = self.sums;
        self.output.line(format_args!("\n{passed} passed, {failed} failed, {skipped} skipped"))
    }
}
