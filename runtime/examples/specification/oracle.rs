//! The execution specification's transition tool, as a daemon that answers over a Unix socket.

use std::{
    cell::OnceCell,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use counterpoint::cli::t8n::Output;
use serde_json::{Value, json};

use crate::{answers::Answers, block::Block};

/// How long the daemon may take to start, and to answer.
const PATIENCE: Duration = Duration::from_secs(600);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OracleError {
    #[error("cannot start {}: {cause}", tool.display())]
    Start { tool: PathBuf, cause: io::Error },
    #[error("the specification's daemon does not answer: {cause}; see {}", log.display())]
    Silent { cause: io::Error, log: PathBuf },
    #[error("the specification's tool cannot execute {block}: {cause}; see {}", log.display())]
    Failed { block: String, cause: String, log: PathBuf },
    #[error("cannot keep an answer: {0}")]
    Keep(io::Error),
}

/// Whoever answers: the answers that were kept, and a daemon, started when there is a question that is new.
#[derive(Debug)]
pub(crate) struct Oracle<'a> {
    tool: &'a Path,
    folder: &'a Path,
    number: usize,
    answers: Option<&'a Answers>,
    daemon: OnceCell<Daemon>,
}

impl<'a> Oracle<'a> {
    pub(crate) fn new(tool: &'a Path, folder: &'a Path, number: usize, answers: Option<&'a Answers>) -> Self {
        Self { tool, folder, number, answers, daemon: OnceCell::new() }
    }

    /// What the specification makes of the block.
    pub(crate) fn transition(&self, block: &Block) -> Result<Output, OracleError> {
        let (input, options) = (block.input(), block.options());
        let question = json!({
            "input": { "alloc": input.alloc, "env": input.env, "txs": input.txs },
            "state": {
                "fork": options.fork,
                "chainid": options.chain_id,
                "reward": options.reward.to_string(),
            },
        })
        .to_string();
        if let Some(answer) = self.answers.and_then(|answers| answers.get(&question)) {
            return Ok(answer);
        }
        let daemon = match self.daemon.get() {
            Some(daemon) => daemon,
            None => {
                let daemon = Daemon::start(self.tool, self.folder, self.number)?;
                self.daemon.get_or_init(|| daemon)
            }
        };
        let answer = daemon.transition(block, &question)?;
        if let Some(answers) = self.answers {
            answers.keep(&question, &answer).map_err(OracleError::Keep)?;
        }
        Ok(answer)
    }
}

/// A running daemon; ends with the value.
#[derive(Debug)]
struct Daemon {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// Starts one and waits until it listens.
    fn start(tool: &Path, folder: &Path, number: usize) -> Result<Self, OracleError> {
        let start = |cause| OracleError::Start { tool: tool.to_owned(), cause };
        // It works in the folder, so the paths may not depend on where that is.
        let tool = fs::canonicalize(tool).map_err(start)?;
        let folder = fs::canonicalize(folder).map_err(start)?;
        let log = folder.join(format!("daemon-{number}.log"));
        let socket = std::env::temp_dir().join(format!("counterpoint-{}-{number}", std::process::id()));
        let errors = File::create(&log).map_err(start)?;
        let child = Command::new(&tool)
            .args(["daemon", "--timeout", "600", "--uds"])
            .arg(&socket)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .map_err(start)?;
        let mut daemon = Self { child, socket, log };
        let begun = Instant::now();
        loop {
            match UnixStream::connect(&daemon.socket) {
                Ok(_) => return Ok(daemon),
                Err(cause) if begun.elapsed() > PATIENCE || !matches!(daemon.child.try_wait(), Ok(None)) => {
                    return Err(OracleError::Silent { cause, log: daemon.log.clone() });
                }
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    fn transition(&self, block: &Block, question: &str) -> Result<Output, OracleError> {
        let failed = |cause: String| OracleError::Failed {
            block: format!("{} seed {}", block.fork.name, block.seed),
            cause,
            log: self.log.clone(),
        };
        let answer =
            self.post(question).map_err(|cause| OracleError::Silent { cause, log: self.log.clone() })?;
        // A crash of the tool comes as a good answer with nothing in it.
        let mut answer: Value = serde_json::from_str(&answer).map_err(|cause| {
            let start: String = answer.chars().take(200).collect();
            failed(format!("{cause} in the answer {start:?}"))
        })?;
        let mut take = |field: &str| answer.get_mut(field).map(Value::take).unwrap_or_default();
        let output = Output { alloc: take("alloc"), result: take("result"), body: take("body") };
        if let Some(exception) = output.result.get("blockException") {
            return Err(failed(format!("the block is invalid: {exception}")));
        }
        Ok(output)
    }

    /// One HTTP exchange. The daemon answers in the form of HTTP 1.0 and closes the connection.
    fn post(&self, body: &str) -> io::Result<String> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if head.split(' ').nth(1) != Some("200") {
            return Err(io::Error::other(format!("it answers {head:?}: {body}")));
        }
        Ok(body.to_owned())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Nothing is lost if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.socket);
    }
}
