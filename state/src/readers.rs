//! Who read a cell, and what they saw: so that a later write by a lower transaction finds whom it misled.
//!
//! A reader reads, registers what it saw, and looks again; a writer publishes, touches the list's head, and
//! walks the list. Registering and touching are read-modify-writes of the same word, so one of them comes
//! first: either the writer finds the reader, or the reader's second look finds the write.

use std::{marker::PhantomData, ptr};

use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, Ordering, mutation};

/// A set of cells that share a list of readers: the fields of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields(pub u8);

impl Fields {
    /// A storage slot's only field.
    pub const SLOT: Self = Self(1);
    /// Whether the account exists, and when its storage was wiped.
    pub const LIFECYCLE: Self = Self(1);
    /// The account's code.
    pub const CODE: Self = Self(2);
    /// The account's nonce.
    pub const NONCE: Self = Self(4);
    /// The account's balance.
    pub const BALANCE: Self = Self(8);
    /// Every field of an account.
    pub const ACCOUNT: Self = Self(15);
    /// Every field of an account but its balance.
    pub const BUT_BALANCE: Self = Self(7);

    /// Whether the two sets have a field in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether `other` is contained in this set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One read of one incarnation.
#[derive(Debug)]
pub struct Reader<'b> {
    /// The reading transaction's index.
    pub index: u32,
    /// Its incarnation: a later one registers anew.
    pub incarnation: u32,
    /// The index of the lowest version that the read took into account (0: the source). Versions below it
    /// cannot change what was seen.
    pub floor: u32,
    /// Which of the cells were read.
    pub fields: Fields,
    /// The highest reader index from here to the end of the list. Written before publication.
    highest: AtomicU32,
    /// The incarnation is over: nobody has to tell it anything. Only ever set; not seeing it costs a look.
    over: AtomicBool,
    /// Written before publication.
    next: AtomicPtr<Reader<'b>>,
}

impl Reader<'_> {
    /// A read by this incarnation.
    pub fn new(index: u32, incarnation: u32, floor: u32, fields: Fields) -> Self {
        Self {
            index,
            incarnation,
            floor,
            fields,
            highest: AtomicU32::new(index),
            over: AtomicBool::new(false),
            next: AtomicPtr::new(ptr::null_mut()),
        }
    }
}

/// The readers of one cell, or of an account's four.
#[derive(Debug)]
pub struct Readers<'b> {
    head: AtomicPtr<Reader<'b>>,
    readers: PhantomData<&'b Reader<'b>>,
}

impl Default for Readers<'_> {
    fn default() -> Self {
        Self { head: AtomicPtr::new(ptr::null_mut()), readers: PhantomData }
    }
}

impl<'b> Readers<'b> {
    /// Nobody read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a read. The caller then looks at the cell again, and registers anew if it differs.
    #[inline]
    pub fn register(&self, reader: &'b Reader<'b>) {
        // Acquire: pairs with the exchange below; the node is visible whose `highest` is read.
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            // SAFETY: the list holds null or `&'b Reader`s, published with release.
            let below = unsafe { head.as_ref() }.map_or(0, |next| next.highest.load(Ordering::Relaxed));
            // Relaxed, these three: the exchange publishes them, and nobody writes them afterwards.
            reader.highest.store(reader.index.max(below), Ordering::Relaxed);
            reader.next.store(head, Ordering::Relaxed);
            // Release: a writer that walks the list sees the node. Acquire: if a writer touched the head
            // before this, its publication is visible to the second look. Pairs with `affected`.
            match self.head.compare_exchange_weak(
                head,
                ptr::from_ref(reader).cast_mut(),
                mutation!("register-release", Ordering::Release, Ordering::AcqRel),
                Ordering::Acquire,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Calls `found` for every registered read that a change at `index` of one of these fields may have
    /// misled, until it says that the reading incarnation is over. To be called after the change is published.
    #[inline]
    pub fn affected(&self, index: u32, fields: Fields, mut found: impl FnMut(&Reader<'b>) -> bool) {
        // A read-modify-write that changes nothing: it takes its place in the head's modification order.
        // Release: the publication before it is visible to whoever registers after it.
        let mut head = self.head.load(mutation!("touch-by-load", Ordering::Acquire, Ordering::Relaxed));
        while let Err(now) = mutation!(
            "touch-by-load",
            Ok(head),
            self.head.compare_exchange_weak(head, head, Ordering::AcqRel, Ordering::Relaxed)
        ) {
            head = now;
        }
        let mut next: *const Reader<'b> = head;
        // SAFETY: as in `register`; the successful exchange acquired.
        while let Some(reader) = unsafe { next.as_ref() } {
            // Relaxed: written before the node was published.
            if reader.highest.load(Ordering::Relaxed) <= index {
                break;
            }
            if reader.index > index
                && reader.floor <= index
                && reader.fields.overlaps(fields)
                // Relaxed: a hint that spares telling twice; nothing goes from over to not over.
                && !reader.over.load(Ordering::Relaxed)
                && found(reader)
            {
                // Relaxed: as above.
                reader.over.store(true, Ordering::Relaxed);
            }
            // Relaxed: written before the node was published.
            next = reader.next.load(Ordering::Relaxed);
        }
    }
}
