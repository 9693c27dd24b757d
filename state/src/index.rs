//! From keys to cells: a hash trie that only grows while the block lives.
//!
//! Insertion is one compare-and-swap of a link that was empty, or of a leaf that has to share its place; links
//! never go back. So a look-up is a few loads, takes no guard, and finds what was inserted before. Nothing has
//! to be resized, and everything lies in the block's arenas.

use std::{fmt, marker::PhantomData, ptr};

use crate::{
    arena::Arena,
    sync::{AtomicPtr, Ordering, mutation},
};

/// Bits of the hash that choose a link of the root, at least and at most.
#[cfg(not(loom))]
const ROOT_BITS: (u32, u32) = (8, 18);
#[cfg(loom)]
const ROOT_BITS: (u32, u32) = (1, 1);
#[cfg(not(loom))]
const BRANCH_BITS: u32 = 4;
#[cfg(loom)]
const BRANCH_BITS: u32 = 1;

const BRANCH_TAG: usize = 1;

type Link<'b, T> = AtomicPtr<Leaf<'b, T>>;

/// A map from keys to values of type `T`, which know their keys.
pub struct Index<'b, T> {
    root: Box<[Link<'b, T>]>,
    root_bits: u32,
    leaves: PhantomData<&'b Leaf<'b, T>>,
}

/// A value, and the next one with the very same hash.
#[repr(align(8))]
struct Leaf<'b, T> {
    hash: u64,
    value: T,
    next: Link<'b, T>,
}

/// Where hashes that agree so far part.
#[repr(align(8))]
struct Branch<'b, T> {
    links: [Link<'b, T>; 1 << BRANCH_BITS],
}

impl<T> Default for Index<'_, T> {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

fn empty<'b, T>() -> Link<'b, T> {
    AtomicPtr::new(ptr::null_mut())
}

impl<'b, T> Index<'b, T> {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty index that is at its best with about so many values.
    pub fn with_capacity(values: usize) -> Self {
        let root_bits = usize::BITS - values.leading_zeros();
        let root_bits = root_bits.clamp(ROOT_BITS.0, ROOT_BITS.1);
        Self { root: (0..1 << root_bits).map(|_| empty()).collect(), root_bits, leaves: PhantomData }
    }

    /// The value with this hash for which `is` holds, inserted if there is none. The hash should be keyed, as
    /// keys may be an adversary's; equal hashes only cost time.
    #[inline]
    pub fn get_or_insert(
        &self,
        hash: u64,
        arena: &'b Arena,
        is: impl Fn(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> &'b T {
        let mut link = &self.root[(hash as usize) & ((1 << self.root_bits) - 1)];
        let mut used = self.root_bits;
        let mut make = Some(make);
        let mut new: Option<&'b Leaf<'b, T>> = None;
        loop {
            // Acquire: pairs with the insertions below.
            let current = link.load(Ordering::Acquire);
            if current.addr() & BRANCH_TAG != 0 {
                // SAFETY: a tagged link holds a `&'b Branch`.
                let branch: &'b Branch<'b, T> =
                    unsafe { &*current.map_addr(|address| address & !BRANCH_TAG).cast() };
                link = &branch.links[position(hash, used)];
                used += BRANCH_BITS;
                continue;
            }
            // SAFETY: an untagged link holds null or a `&'b Leaf`.
            let leaf = unsafe { current.as_ref::<'b>() };
            match leaf {
                Some(leaf) if leaf.hash == hash => {
                    if is(&leaf.value) {
                        return &leaf.value;
                    }
                    link = &leaf.next;
                }
                Some(leaf) => {
                    let branch = arena.alloc(Branch { links: std::array::from_fn(|_| empty()) });
                    // Relaxed: nobody else has the branch yet.
                    branch.links[position(leaf.hash, used)].store(current, Ordering::Relaxed);
                    let tagged = ptr::from_ref(branch)
                        .cast_mut()
                        .cast::<Leaf<'b, T>>()
                        .map_addr(|address| address | BRANCH_TAG);
                    // Release: the branch is visible with its leaf. If somebody was faster, look again.
                    let _ = mutation!(
                        "branch-by-swap",
                        Ok(link.swap(tagged, Ordering::AcqRel)),
                        link.compare_exchange(current, tagged, Ordering::Release, Ordering::Relaxed)
                    );
                }
                None => {
                    let leaf = *new.get_or_insert_with(|| {
                        let value = make.take().expect("a leaf is made once")();
                        arena.alloc(Leaf { hash, value, next: empty() })
                    });
                    // Release: who finds the leaf sees its value. If somebody was faster, look again.
                    let inserted = link.compare_exchange(
                        ptr::null_mut(),
                        ptr::from_ref(leaf).cast_mut(),
                        mutation!("leaf-relaxed", Ordering::Relaxed, Ordering::Release),
                        Ordering::Relaxed,
                    );
                    if inserted.is_ok() {
                        return &leaf.value;
                    }
                }
            }
        }
    }
}

/// The place in a branch after this many bits of the hash were used. Two different hashes part before they run
/// out of bits.
fn position(hash: u64, used: u32) -> usize {
    (hash.checked_shr(used).unwrap_or(0)) as usize & ((1 << BRANCH_BITS) - 1)
}

impl<T> fmt::Debug for Index<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_inserted_even_where_hashes_agree() {
        let arena = Arena::new();
        let index = Index::<u64>::new();
        // All but the highest bits agree, and every hash has two keys.
        let hash = |key: u64| 0x3ff | ((key % 50) << 58);
        for key in 0..100 {
            assert_eq!(*index.get_or_insert(hash(key), &arena, |value| *value == key, || key), key);
        }
        for key in 0..100 {
            let found =
                index.get_or_insert(hash(key), &arena, |value| *value == key, || panic!("it is there"));
            assert_eq!(*found, key);
        }
    }

    #[test]
    fn one_value_per_key_from_many_threads() {
        let arenas: Vec<_> = (0..4).map(|_| Arena::new()).collect();
        let index = Index::<u64>::new();
        let found: Vec<Vec<usize>> = std::thread::scope(|scope| {
            let threads: Vec<_> = arenas
                .into_iter()
                .map(|arena| {
                    let index = &index;
                    scope.spawn(move || {
                        let arena: &Arena = Box::leak(Box::new(arena));
                        (0..20_000_u64)
                            .map(|key| {
                                let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7;
                                let value = index.get_or_insert(hash, arena, |value| *value == key, || key);
                                ptr::from_ref(value).addr()
                            })
                            .collect()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
        });
        assert!(found.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
