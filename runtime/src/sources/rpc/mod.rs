//! State from a node, over JSON-RPC.

mod batch;
mod codes;

use std::{
    fmt,
    io,
    pin::Pin,
    // Seam: a number that the batches go by.
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use alloy_eips::BlockId;
use alloy_json_rpc::RpcError as JsonRpcError;
use alloy_primitives::{Bytes, U64};
use alloy_provider::{DynProvider, Provider, RootProvider};
use alloy_transport::{TransportError, TransportErrorKind, TransportResult};
use counterpoint_state::{Answer, DeferredSource, Key, Request, SourceError, StateSource};
use futures_util::future::join_all;
// Seam: plain locks, held for a moment and outside of the protocols within a block.
use parking_lot::Mutex;
use revm::{
    bytecode::Bytecode,
    primitives::{Address, B256, U256},
    state::AccountInfo,
};
use serde_json::Value;
use tokio::{runtime::Handle, time};

use self::{batch::Batch, codes::Codes};
use super::{AsyncSource, Batched, Limits, ReadError};

/// How a [`RpcSource`] asks.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RpcSettings {
    /// Keys in a batch, and batches at a time. A key takes up to three calls.
    pub limits: Limits,
    /// How often a key is asked for again after a failure that may pass.
    pub retries: u32,
    /// The pause before the first of these. Each next one is twice as long.
    pub backoff: Duration,
    /// How long an attempt may take.
    pub timeout: Duration,
}

impl Default for RpcSettings {
    fn default() -> Self {
        Self {
            limits: Limits::new(100, 8),
            retries: 5,
            backoff: Duration::from_millis(100),
            timeout: Duration::from_secs(10),
        }
    }
}

/// Why a node has no answer to a key; inside a [`ReadError::Failed`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RpcError {
    /// The node or the connection to it failed, after this many attempts.
    #[error("after {attempts} attempts: {cause}")]
    Node {
        /// How often it was tried.
        attempts: u32,
        /// The last failure.
        cause: TransportError,
    },
    /// Code is asked for by hash, which no node answers, before any account that has it, or 64 MiB of other code after it.
    #[error("no account with this code was read lately")]
    UnknownCode,
}

/// The state at one block, as a node tells it.
///
/// It answers later: keys go out in JSON-RPC batches, `eth_getBalance`, `eth_getTransactionCount` and `eth_getCode` for an
/// account, `eth_getStorageAt` for a slot, `eth_getBlockByNumber` for a block's hash. What fails in a way that may pass (a
/// connection that is cut, a time-out, an answer that is missing or garbled, the statuses 429 and 5xx) is asked for again
/// with growing pauses, each key for itself: the rest of its batch does not wait for it. An answer of the wrong type, or an
/// error that the node reports, is final. To a batch as a whole it may be one of its size: then half of it is tried, down to
/// a single key, and batches are no larger from then on.
///
/// An account without code, nonce and balance counts as one that does not exist, as nodes make no difference.
pub struct RpcSource(Batched<Node>);

/// The node, at one block.
struct Node {
    provider: DynProvider,
    block: BlockId,
    settings: RpcSettings,
    /// Code that came with accounts.
    codes: Mutex<Codes>,
    /// Keys in a batch, as far as the node takes them.
    most: AtomicUsize,
}

impl RpcSource {
    /// The state after `block` of the node at this URL, on a tokio runtime of the source's own. For `https` it takes the
    /// feature `rpc-tls`, or one of reqwest's for TLS in the host's own manifest.
    ///
    /// # Errors
    ///
    /// A URL that is none, or a thread that the system refuses.
    pub fn connect(url: &str, block: BlockId, settings: RpcSettings) -> io::Result<Self> {
        let url = url.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        #[cfg(feature = "rpc-tls")]
        provide_cryptography();
        let provider: RootProvider = RootProvider::new_http(url);
        let node = Node::new(provider.erased(), block, settings);
        Ok(Self(Batched::new(node, settings.limits)?))
    }

    /// The same with a provider of the host's, which may have layers of its own, on this runtime. See
    /// [`Batched::on`] for what must not wait.
    pub fn on(
        handle: Handle,
        provider: impl Provider + 'static,
        block: BlockId,
        settings: RpcSettings,
    ) -> Self {
        Self(Batched::on(handle, Node::new(provider.erased(), block, settings), settings.limits))
    }
}

/// The client has none of its own: the process's, and where it has none, ring's from here on.
#[cfg(feature = "rpc-tls")]
fn provide_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may have been faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

impl Node {
    fn new(provider: DynProvider, block: BlockId, settings: RpcSettings) -> Self {
        Self { provider, block, settings, codes: Mutex::default(), most: AtomicUsize::new(usize::MAX) }
    }

    /// One attempt: an answer for each key. A batch that the node does not take is halved.
    async fn ask(&self, keys: &[Key]) -> Vec<Result<Answer, Failure>> {
        let mut answers = Vec::with_capacity(keys.len());
        while answers.len() < keys.len() {
            // Relaxed, here and below: the node decides.
            let most = self.most.load(Ordering::Relaxed);
            let piece = &keys[answers.len()..];
            let piece = &piece[..most.min(piece.len())];
            let got = self.ask_together(piece).await;
            let is_refused = got.iter().any(|answer| matches!(answer, Err(failure) if failure.is_refusal()));
            if is_refused && piece.len() > 1 {
                self.most.fetch_min(piece.len() / 2, Ordering::Relaxed);
            } else {
                answers.extend(got);
            }
        }
        answers
    }

    /// The same of keys whose calls leave together.
    async fn ask_together(&self, keys: &[Key]) -> Vec<Result<Answer, Failure>> {
        let client = self.provider.client();
        let attempt = async {
            let mut batch = Batch::new(client);
            let calls: TransportResult<Vec<Call<'_>>> =
                keys.iter().map(|key| self.call(*key, &mut batch)).collect();
            let calls = calls?;
            batch.send().await?;
            Ok::<_, TransportError>(join_all(calls).await)
        };
        match time::timeout(self.settings.timeout, attempt).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(error)) => {
                let (last, refused) = (!may_pass(&error, true), is_refusal(&error));
                let message = error.to_string();
                let again = || TransportErrorKind::custom_str(&message);
                let failed = |cause| Failure::Node { cause, last, refused };
                let mut failures: Vec<_> = keys.iter().skip(1).map(|_| Err(failed(again()))).collect();
                failures.push(Err(failed(error)));
                failures
            }
            Err(_) => keys.iter().map(|_| Err(Failure::TimedOut)).collect(),
        }
    }

    fn call<'a>(&'a self, key: Key, batch: &mut Batch<'_>) -> TransportResult<Call<'a>> {
        Ok(match key {
            Key::Account(address) => {
                let balance = batch.add::<_, U256>("eth_getBalance", (address, self.block))?;
                let nonce = batch.add::<_, U64>("eth_getTransactionCount", (address, self.block))?;
                let code = batch.add::<_, Bytes>("eth_getCode", (address, self.block))?;
                Box::pin(async move {
                    let (balance, nonce, code) = (balance.await?, nonce.await?.to::<u64>(), code.await?);
                    let code = Bytecode::new_raw_checked(code.clone())
                        .unwrap_or_else(|_| Bytecode::new_legacy(code));
                    let info =
                        AccountInfo { balance, nonce, ..AccountInfo::default() }.with_code(code.clone());
                    if !code.is_empty() {
                        self.codes.lock().add(info.code_hash, code);
                    }
                    Ok(Answer::Account(Some(info).filter(|info| !info.is_empty())))
                })
            }
            Key::Storage(address, slot) => {
                let value = batch.add::<_, U256>("eth_getStorageAt", (address, slot, self.block))?;
                Box::pin(async move { Ok(Answer::Storage(value.await?)) })
            }
            Key::BlockHash(number) => {
                let block = batch.add::<_, Value>("eth_getBlockByNumber", (U64::from(number), false))?;
                Box::pin(async move {
                    let block = block.await?;
                    let hash = block.get("hash").and_then(Value::as_str).unwrap_or_default();
                    let hash: B256 = serde_json::from_value(Value::from(hash))
                        .map_err(|error| TransportError::deser_err(error, block.to_string()))?;
                    Ok(Answer::BlockHash(hash))
                })
            }
            Key::Code(hash) => {
                let code = self.codes.lock().get(&hash);
                Box::pin(async move { code.map(Answer::Code).ok_or(Failure::UnknownCode) })
            }
        })
    }
}

// Named for its feature: the client is alloy-provider's.
#[cfg(feature = "rpc-tls")]
use reqwest as _;

/// What becomes of a key.
type Call<'a> = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send + 'a>>;

/// Why an attempt failed for a key.
enum Failure {
    Node {
        cause: TransportError,
        /// Another attempt would not go better.
        last: bool,
        /// The batch was not taken.
        refused: bool,
    },
    TimedOut,
    UnknownCode,
}

impl From<TransportError> for Failure {
    fn from(cause: TransportError) -> Self {
        Self::Node { last: !may_pass(&cause, false), refused: false, cause }
    }
}

/// Whether another attempt may go better. `whole`: nothing of the batch was understood, so that it may have been garbled on
/// its way; a single answer that is not of its type was meant so.
fn may_pass(error: &TransportError, whole: bool) -> bool {
    match error {
        JsonRpcError::Transport(TransportErrorKind::NonRetryable(_)) => false,
        JsonRpcError::Transport(TransportErrorKind::HttpError(error)) => {
            error.status == 429 || error.status >= 500
        }
        JsonRpcError::Transport(_) | JsonRpcError::NullResp => true,
        JsonRpcError::ErrorResp(error) => error.is_retry_err(),
        JsonRpcError::DeserError { .. } => whole,
        _ => false,
    }
}

/// Whether a batch was answered as a whole, in a way that another attempt does not change: it may be too large.
fn is_refusal(error: &TransportError) -> bool {
    match error {
        JsonRpcError::Transport(TransportErrorKind::HttpError(error)) => error.status == 413,
        error @ JsonRpcError::ErrorResp(_) => !may_pass(error, true),
        _ => false,
    }
}

impl AsyncSource for Node {
    async fn serve(&self, mut requests: Vec<Request>) {
        let mut pause = self.settings.backoff;
        for attempt in 1.. {
            let keys: Vec<Key> = requests.iter().map(Request::key).collect();
            let answers = self.ask(&keys).await;
            let last = attempt > self.settings.retries;
            let mut again = Vec::new();
            for (request, answer) in requests.into_iter().zip(answers) {
                match answer {
                    Ok(answer) => request.answer(Ok(answer)),
                    Err(failure) if last || failure.is_final() => {
                        let error = failure.into_error(request.key(), attempt, self.settings.timeout);
                        request.answer(Err(SourceError::new(error)));
                    }
                    Err(_) => again.push(request),
                }
            }
            if again.is_empty() {
                return;
            }
            requests = again;
            time::sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
    }
}

impl Failure {
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Node { refused: true, .. })
    }

    fn is_final(&self) -> bool {
        matches!(self, Self::Node { last: true, .. } | Self::UnknownCode)
    }

    fn into_error(self, key: Key, attempts: u32, after: Duration) -> ReadError {
        let cause = match self {
            Self::Node { cause, .. } => RpcError::Node { attempts, cause },
            Self::TimedOut => return ReadError::TimedOut { key, after },
            Self::UnknownCode => RpcError::UnknownCode,
        };
        ReadError::Failed { key, cause: Box::new(cause) }
    }
}

/// At once: see [`Batched`].
impl StateSource for RpcSource {
    fn account(&self, address: Address) -> Result<Option<AccountInfo>, SourceError> {
        self.0.account(address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, SourceError> {
        self.0.storage(address, slot)
    }

    fn code(&self, hash: B256) -> Result<Bytecode, SourceError> {
        self.0.code(hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, SourceError> {
        self.0.block_hash(number)
    }

    fn deferred(&self) -> Option<&dyn DeferredSource> {
        self.0.deferred()
    }
}

impl fmt::Debug for RpcSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.0.source();
        f.debug_struct("RpcSource").field("block", &node.block).field("settings", &node.settings).finish()
    }
}
