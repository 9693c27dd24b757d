//! What a cell held before the block: unknown, asked for, known, or not to be had.
//!
//! A source that answers at once is asked and its answer noted. With one that answers later, whoever finds the cell
//! unknown and wins the right to ask sends the one request for it; whoever comes then waits in the cell's list. The answer,
//! value or error, takes the list and wakes everybody in it.

use std::marker::PhantomData;

use crate::{
    source::SourceError,
    waiting::{AWAITED, OTHER, VALUE, WaitWord, Waiters, tag, tagged, untag},
};

/// The value before the block.
#[derive(Debug)]
pub struct Base<'b, V> {
    word: WaitWord<'b>,
    values: PhantomData<&'b V>,
}

/// What is known of a value before the block.
#[derive(Clone, Copy, Debug)]
pub enum Known<'b> {
    /// Nothing: the source has to be asked.
    Nothing,
    /// The source was asked.
    Asked(&'b WaitWord<'b>),
    /// The value.
    Value,
    /// The source could not answer.
    Failed(&'b Failure),
}

/// A source's error, kept where a cell can point to it.
#[derive(Debug)]
#[repr(align(8))]
pub struct Failure(pub SourceError);

impl<V> Default for Base<'_, V> {
    fn default() -> Self {
        Self { word: WaitWord::default(), values: PhantomData }
    }
}

impl<'b, V> Base<'b, V> {
    /// The value, if it is known.
    #[inline]
    pub fn get(&self) -> Option<&'b V> {
        let word = self.word.load();
        // SAFETY: a word tagged VALUE was made from a `&'b V` by `set`, and the load acquired its record.
        (tag(word) == VALUE).then(|| unsafe { &*untag(word).cast_const().cast() })
    }

    /// What is known of the value.
    pub fn known(&'b self) -> Known<'b> {
        let word = self.word.load();
        match tag(word) {
            VALUE => Known::Value,
            // SAFETY: a word tagged OTHER was made from a `&'b Failure` by `fail`, and the load acquired it.
            OTHER => Known::Failed(unsafe { &*untag(word).cast_const().cast() }),
            AWAITED => Known::Asked(&self.word),
            _ => Known::Nothing,
        }
    }

    /// Claims the right, and the duty, to ask the source. `false`: somebody else has it, or has the answer.
    #[must_use]
    pub fn ask(&self) -> bool {
        self.word.announce()
    }

    /// Notes the source's answer. Two answers to the same question are equal, so the last one may stay.
    pub fn set(&self, value: &'b V) -> Waiters<'b> {
        self.word.swap(tagged(value, VALUE))
    }

    /// Notes that the source could not answer, after [`ask`](Self::ask).
    pub fn fail(&self, error: &'b Failure) -> Waiters<'b> {
        self.word.swap(tagged(error, OTHER))
    }
}
