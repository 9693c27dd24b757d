//! An account's cells: lifecycle, code, nonce and balance, each with its own versions.

use std::sync::LazyLock;

use revm::{
    bytecode::Bytecode,
    primitives::{B256, KECCAK_EMPTY, U256},
    state::AccountInfo,
};

use crate::{
    arena::Arena,
    base::Base,
    chain::{Chain, Visible},
    readers::{Fields, Readers},
    source::as_found,
    sync::unordered::{AtomicBool, Ordering},
    version::{Version, VersionWord},
    waiting::Waiters,
};

/// A version of an account's lifecycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(8))]
pub struct Lifecycle {
    /// Whether the account exists after the transaction.
    pub exists: bool,
    /// Whether the transaction made all its storage zero: it created, destroyed or removed the account.
    pub wiped: bool,
}

/// The code of an account that has none, as revm has it at hand for a new account.
static NO_CODE: LazyLock<Bytecode> = LazyLock::new(Bytecode::default);

/// A version of an account's code.
#[derive(Clone, Debug)]
pub struct Code {
    /// Its hash.
    pub hash: B256,
    /// The code itself: no source knows it by its hash yet.
    pub bytecode: Option<Bytecode>,
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

/// The four cells of an account, with one list of readers for all of them.
#[derive(Debug, Default)]
pub struct AccountCells<'b> {
    /// Existence and wipes of the storage.
    pub lifecycle: Chain<'b, Lifecycle>,
    /// Code.
    pub code: Chain<'b, Code>,
    /// Nonce.
    pub nonce: Chain<'b, u64>,
    /// Balance in wei. The only chain with deltas: what transactions add that did not look at it, in wei, modulo 2^256.
    pub balance: Chain<'b, U256>,
    /// Who read any of the cells.
    pub readers: Readers<'b>,
    base: Base<'b, Option<AccountInfo>>,
    contended: AtomicBool,
}

/// An account as the transaction at some index finds it.
#[derive(Clone, Copy, Debug)]
pub struct AccountView<'b> {
    /// Whether it exists.
    pub exists: bool,
    /// The index of the last transaction that wiped its storage (0: none in this block).
    pub wiped: u32,
    /// Nonce.
    pub nonce: u64,
    /// Balance in wei.
    pub balance: U256,
    /// Hash of the code.
    pub code_hash: B256,
    /// The code, where it is known without asking for it by hash.
    pub code: Option<&'b Bytecode>,
    /// The lowest version that was taken into account (0: the source).
    pub floor: u32,
}

impl AccountView<'_> {
    /// Whether the two agree in these fields.
    pub fn agrees(&self, other: &AccountView<'_>, fields: Fields) -> bool {
        (!fields.contains(Fields::LIFECYCLE) || (self.exists == other.exists && self.wiped == other.wiped))
            && (!fields.contains(Fields::CODE) || self.code_hash == other.code_hash)
            && (!fields.contains(Fields::NONCE) || self.nonce == other.nonce)
            && (!fields.contains(Fields::BALANCE) || self.balance == other.balance)
    }

    /// The account as revm's databases give it, or `None` where it does not exist.
    pub fn info(&self) -> Option<AccountInfo> {
        self.exists.then(|| AccountInfo {
            balance: self.balance,
            nonce: self.nonce,
            code_hash: self.code_hash,
            account_id: None,
            code: self.code.cloned(),
        })
    }
}

/// A balance as its versions say.
struct Folded {
    balance: U256,
    /// The highest index that added to it.
    credited: Option<u32>,
    /// The lowest version that was taken into account (0: the source).
    floor: u32,
}

/// Why an account could not be read.
#[derive(Clone, Copy, Debug)]
pub enum NotReady<'b> {
    /// The source has to be asked.
    Unloaded,
    /// The version of a lower transaction is not there yet.
    Blocked(&'b VersionWord<'b>),
}

impl<'b> AccountCells<'b> {
    /// Cells that nobody has touched.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether no transaction wrote any of these fields. May be out of date at once.
    #[inline]
    pub fn is_unwritten(&self, fields: Fields) -> bool {
        self.code.is_empty()
            && (fields == Fields::CODE || self.nonce.is_empty() && self.lifecycle.is_empty())
            && (!fields.contains(Fields::BALANCE) || self.balance.is_empty())
    }

    /// Whether no transaction wrote any of these fields, or read one of the account's too early. A hint: it may be out of
    /// date at once.
    #[inline]
    pub fn is_quiet(&self, fields: Fields) -> bool {
        // Relaxed: a hint.
        self.is_unwritten(fields) && !self.contended.load(Ordering::Relaxed)
    }

    /// Notes that a transaction read one of the cells too early.
    pub fn set_contended(&self) {
        // Relaxed: a hint.
        self.contended.store(true, Ordering::Relaxed);
    }

    /// The source's answer, if it is known.
    #[inline]
    pub fn base(&self) -> Option<&'b Option<AccountInfo>> {
        self.base.get()
    }

    /// The source's answer, as far as it is known.
    pub fn source(&self) -> &Base<'b, Option<AccountInfo>> {
        &self.base
    }

    /// Notes the source's answer.
    pub fn set_base(&self, info: Option<AccountInfo>, arena: &'b Arena) -> Waiters<'b> {
        self.base.set(arena.alloc_owned(as_found(info)))
    }

    /// The account as the transaction at `index` finds it.
    ///
    /// While lower transactions still run, the fields may come from different moments; what was observed is
    /// checked again when the frontier arrives.
    #[inline]
    pub fn view(&self, index: u32) -> Result<AccountView<'b>, NotReady<'b>> {
        self.view_past(index, false)
    }

    /// As [`view`](Self::view); on demand past versions that are not there yet: a guess.
    #[inline]
    pub fn view_past(&self, index: u32, estimates: bool) -> Result<AccountView<'b>, NotReady<'b>> {
        self.view_with(index, true, estimates)
    }

    #[inline]
    fn view_with(
        &self,
        index: u32,
        with_balance: bool,
        estimates: bool,
    ) -> Result<AccountView<'b>, NotReady<'b>> {
        let base = self.base().ok_or(NotReady::Unloaded)?;
        let info = base.as_ref();
        let mut view = AccountView {
            exists: info.is_some(),
            wiped: 0,
            nonce: info.map_or(0, |info| info.nonce),
            balance: info.filter(|_| with_balance).map_or(U256::ZERO, |info| info.balance),
            code_hash: info.map_or(KECCAK_EMPTY, |info| info.code_hash),
            code: None,
            floor: u32::MAX,
        };

        // The balance first: a credit is settled to a value only after the lifecycle says that the account
        // exists, so a settled value that is seen here implies a lifecycle that is seen below.
        let credited = if !with_balance {
            None
        } else if self.balance.is_empty() {
            view.floor = 0;
            None
        } else {
            self.fold_balance(index, estimates, &mut view)?
        };

        let mut lifecycle_at = 0;
        match self.lifecycle.visible_past(index, estimates) {
            Visible::None => view.floor = 0,
            Visible::Blocked(version) => return Err(NotReady::Blocked(version)),
            Visible::Value(at, lifecycle) => {
                lifecycle_at = at;
                view.floor = view.floor.min(at);
                view.exists = lifecycle.exists;
                view.wiped = if lifecycle.wiped { at } else { self.last_wipe(at) };
            }
        }
        if credited.is_some_and(|at| at > lifecycle_at) {
            view.exists = true;
        }

        match self.nonce.visible_past(index, estimates) {
            Visible::None => view.floor = 0,
            Visible::Blocked(version) => return Err(NotReady::Blocked(version)),
            Visible::Value(at, nonce) => {
                view.floor = view.floor.min(at);
                view.nonce = *nonce;
            }
        }
        self.view_code(index, estimates, info, &mut view)?;
        Ok(view)
    }

    /// As [`view_past`](Self::view_past), for who depends on these fields alone: the others may be anything, and the balance
    /// is zero where it is not among them. Spares folding a balance that many credit and nobody looks at. Whether an account
    /// exists is seen without the credits that may have brought it into being then.
    #[inline]
    pub fn view_of(
        &self,
        index: u32,
        fields: Fields,
        estimates: bool,
    ) -> Result<AccountView<'b>, NotReady<'b>> {
        if fields != Fields::CODE {
            return self.view_with(index, fields.contains(Fields::BALANCE), estimates);
        }
        let base = self.base().ok_or(NotReady::Unloaded)?;
        let info = base.as_ref();
        let mut view = AccountView {
            exists: true,
            wiped: 0,
            nonce: 0,
            balance: U256::ZERO,
            code_hash: info.map_or(KECCAK_EMPTY, |info| info.code_hash),
            code: None,
            floor: u32::MAX,
        };
        self.view_code(index, estimates, info, &mut view)?;
        Ok(view)
    }

    fn view_code(
        &self,
        index: u32,
        estimates: bool,
        info: Option<&'b AccountInfo>,
        view: &mut AccountView<'b>,
    ) -> Result<(), NotReady<'b>> {
        match self.code.visible_past(index, estimates) {
            Visible::None => {
                view.floor = 0;
                view.code = match info {
                    Some(info) => info.code.as_ref(),
                    None => Some(&NO_CODE),
                };
            }
            Visible::Blocked(version) => return Err(NotReady::Blocked(version)),
            Visible::Value(at, code) => {
                view.floor = view.floor.min(at);
                view.code_hash = code.hash;
                view.code = code.bytecode.as_ref();
            }
        }
        Ok(())
    }

    /// The balance that the transaction at `index` finds, as far as it is known: of the source zero if that was not asked, and
    /// without what is not there yet.
    pub fn balance_so_far(&self, index: u32) -> U256 {
        let base = self.base().and_then(Option::as_ref).map_or(U256::ZERO, |info| info.balance);
        self.fold(index, true, base).map_or(base, |folded| folded.balance)
    }

    /// Folds what was added to the balance down to the nearest value, or the source's; returns the index of the highest
    /// addition.
    fn fold_balance(
        &self,
        index: u32,
        estimates: bool,
        view: &mut AccountView<'b>,
    ) -> Result<Option<u32>, NotReady<'b>> {
        let folded = self.fold(index, estimates, view.balance)?;
        view.floor = view.floor.min(folded.floor);
        view.balance = folded.balance;
        Ok(folded.credited)
    }

    fn fold(&self, index: u32, estimates: bool, base: U256) -> Result<Folded, NotReady<'b>> {
        let mut folded = Folded { balance: base, credited: None, floor: 0 };
        let mut sum = U256::ZERO;
        for entry in self.balance.below(index) {
            match entry.read() {
                Version::Absent => {}
                Version::Delta(delta) => {
                    // Overflows and what is overdrawn are not a sum's business: the frontier settles one by one.
                    sum = sum.wrapping_add(*delta);
                    folded.credited = folded.credited.or(Some(entry.common().index()));
                }
                Version::Value(value) => {
                    folded.balance = *value;
                    folded.floor = entry.common().index();
                    break;
                }
                Version::Estimate if estimates => {}
                Version::Estimate => return Err(NotReady::Blocked(entry.common())),
            }
        }
        folded.balance = folded.balance.wrapping_add(sum);
        Ok(folded)
    }

    /// Whether the source's storage still counts for the transaction at `index`, as far as no wipe says otherwise.
    ///
    /// It does not where the source knows no account; and where that account has neither nonce nor code, it does
    /// not once a transaction has touched it: from then on revm's `State` takes such an account's storage for
    /// empty. That shows when a delegation (EIP-7702) gives it code.
    #[inline]
    pub fn has_source_storage(&self, index: u32) -> bool {
        match self.base() {
            Some(Some(info)) => !info.has_no_code_and_nonce() || !self.is_written_below(index),
            _ => false,
        }
    }

    /// Whether the source's storage counts for the transaction at `index` and, if that touches the account, for none
    /// above it.
    #[inline]
    pub fn loses_source_storage(&self, index: u32) -> bool {
        matches!(self.base(), Some(Some(info)) if info.has_no_code_and_nonce())
            && self.has_source_storage(index)
    }

    /// Whether a transaction below `index` left a version in one of the cells.
    fn is_written_below(&self, index: u32) -> bool {
        fn any<V: PartialEq>(chain: &Chain<'_, V>, index: u32) -> bool {
            chain.below(index).any(|entry| !entry.common().is_absent())
        }
        any(&self.balance, index)
            || any(&self.nonce, index)
            || any(&self.code, index)
            || any(&self.lifecycle, index)
    }

    /// The last wipe at or below `index`.
    fn last_wipe(&self, index: u32) -> u32 {
        self.lifecycle
            .below(index)
            .find_map(|entry| match entry.read() {
                Version::Value(lifecycle) if lifecycle.wiped => Some(entry.common().index()),
                _ => None,
            })
            .unwrap_or(0)
    }
}
