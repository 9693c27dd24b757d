//! An actor's mailbox: many senders, one receiver at a time, no thread of its own.
//!
//! Whoever sends to an idle actor becomes its receiver and handles the message at once; whoever sends to a
//! busy one leaves the message and goes on. The receiver takes messages in the order in which they were sent
//! until there are none, and then the actor is idle again. Idle, busy and the list of messages are one word.

use std::{fmt, marker::PhantomData, ptr};

use counterpoint_state::sync::{AtomicPtr, Ordering, mutation};

/// A message on its way, in memory that lives as long as the mailbox.
#[derive(Debug)]
pub struct Letter<'b, M> {
    message: M,
    next: AtomicPtr<Letter<'b, M>>,
}

impl<M> Letter<'_, M> {
    /// Wraps a message.
    pub fn new(message: M) -> Self {
        Self { message, next: AtomicPtr::new(ptr::null_mut()) }
    }
}

/// The mailbox of one actor.
pub struct Mailbox<'b, M> {
    /// Null: idle. Otherwise busy, and the newest letter; the pointer to `self.busy` ends the list.
    newest: AtomicPtr<Letter<'b, M>>,
    /// Letters that the receiver took, oldest first. The receiver's alone.
    taken: AtomicPtr<Letter<'b, M>>,
    letters: PhantomData<&'b Letter<'b, M>>,
}

impl<M> Default for Mailbox<'_, M> {
    fn default() -> Self {
        Self {
            newest: AtomicPtr::new(ptr::null_mut()),
            taken: AtomicPtr::new(ptr::null_mut()),
            letters: PhantomData,
        }
    }
}

impl<'b, M: Copy> Mailbox<'b, M> {
    /// An idle actor's mailbox.
    pub fn new() -> Self {
        Self::default()
    }

    /// The end of a busy actor's list: an address that no letter has.
    fn busy() -> *mut Letter<'b, M> {
        ptr::without_provenance_mut(align_of::<Letter<'b, M>>())
    }

    /// Sends. `true`: the actor was idle, and the caller is its receiver now; the message is the caller's to
    /// handle, it is not in the box.
    #[must_use]
    pub fn send(&self, letter: &'b Letter<'b, M>) -> bool {
        // Relaxed: a first guess, which the exchange checks.
        let mut newest = self.newest.load(Ordering::Relaxed);
        loop {
            let (new, idle) = if newest.is_null() {
                (Self::busy(), true)
            } else {
                // Relaxed: the exchange publishes it.
                letter.next.store(newest, Ordering::Relaxed);
                (ptr::from_ref(letter).cast_mut(), false)
            };
            // Release: the receiver that takes the list sees the letter. Acquire, where the actor was idle:
            // what its last receiver did is visible to this one. Pairs with the exchanges in `receive`.
            let success = mutation!("send-relaxed", Ordering::Relaxed, Ordering::AcqRel);
            match self.newest.compare_exchange_weak(newest, new, success, Ordering::Relaxed) {
                Ok(_) => return idle,
                Err(now) => newest = now,
            }
        }
    }

    /// The next message, in the order of sending; `None`: there is none, and the actor is idle from here on.
    /// For the receiver only.
    pub fn receive(&self) -> Option<M> {
        // Relaxed, all of `taken` and the letters in it: the receiver's own. Where another worker becomes the
        // receiver, what made it so orders it: `send`, or the word of the transaction that it received.
        let mut oldest = self.taken.load(Ordering::Relaxed);
        if oldest.is_null() {
            loop {
                // Release: what this receiver did is visible to the next one, which acquires in `send`.
                let newest = match self.newest.compare_exchange(
                    Self::busy(),
                    ptr::null_mut(),
                    mutation!("idle-relaxed", Ordering::Relaxed, Ordering::AcqRel),
                    Ordering::Acquire,
                ) {
                    Ok(_) => return None,
                    Err(newest) => {
                        debug_assert!(!newest.is_null(), "an idle actor has no receiver");
                        newest
                    }
                };
                // Acquire: the letters are visible. Pairs with `send`.
                let taken = mutation!(
                    "take-without-looking",
                    Ok(self.newest.swap(Self::busy(), Ordering::AcqRel)),
                    self.newest.compare_exchange(newest, Self::busy(), Ordering::AcqRel, Ordering::Relaxed)
                );
                if taken.is_ok() {
                    oldest = Self::reverse(newest);
                    break;
                }
            }
        }
        // SAFETY: taken letters are `&'b Letter`s that senders published with release.
        let letter = unsafe { &*oldest };
        // Relaxed: the receiver's own, as above.
        self.taken.store(letter.next.load(Ordering::Relaxed), Ordering::Relaxed);
        Some(letter.message)
    }

    /// Turns newest-first into oldest-first, ended by null.
    fn reverse(newest: *mut Letter<'b, M>) -> *mut Letter<'b, M> {
        let mut reversed = ptr::null_mut();
        let mut current = newest;
        while current != Self::busy() {
            // SAFETY: as in `receive`; the list ends with `busy`.
            let letter = unsafe { &*current };
            // Relaxed: the list was acquired when it was taken, and is the receiver's own.
            let next = letter.next.load(Ordering::Relaxed);
            letter.next.store(reversed, Ordering::Relaxed);
            reversed = current;
            current = next;
        }
        reversed
    }
}

impl<M> fmt::Debug for Mailbox<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Relaxed: for display.
        let idle = self.newest.load(Ordering::Relaxed).is_null();
        f.debug_struct("Mailbox").field("idle", &idle).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{cell::UnsafeCell, thread};

    use super::*;

    #[test]
    fn messages_come_in_order_and_the_box_falls_idle() {
        let letters: Vec<_> = (0..5).map(Letter::new).collect();
        let mailbox = Mailbox::new();
        assert!(mailbox.send(&letters[0]), "the first sender becomes the receiver");
        assert!(!mailbox.send(&letters[1]));
        assert!(!mailbox.send(&letters[2]));
        assert_eq!(mailbox.receive(), Some(1));
        assert!(!mailbox.send(&letters[3]));
        assert_eq!(mailbox.receive(), Some(2));
        assert_eq!(mailbox.receive(), Some(3));
        assert_eq!(mailbox.receive(), None);
        assert!(mailbox.send(&letters[4]));
        assert_eq!(mailbox.receive(), None);
    }
    /// Several threads send; whoever finds the actor idle handles everything until it is idle again.
    #[test]
    fn several_senders_lose_nothing_and_one_at_a_time_receives() {
        const SENDERS: usize = 3;
        const MESSAGES: usize = if cfg!(miri) { 20 } else { 20_000 };
        let letters: Vec<Vec<_>> = (0..SENDERS)
            .map(|sender| (0..MESSAGES).map(|number| Letter::new((sender, number))).collect())
            .collect();
        let mailbox = Mailbox::new();
        // Plain memory that only a receiver touches: the role hands it on.
        let handled = Handled(UnsafeCell::new(Vec::new()));
        thread::scope(|scope| {
            for letters in &letters {
                let (mailbox, handled) = (&mailbox, &handled);
                scope.spawn(move || {
                    for letter in letters {
                        if !mailbox.send(letter) {
                            continue;
                        }
                        // SAFETY: this thread is the receiver until `receive` gives nothing.
                        unsafe { handled.add(letter.message) };
                        while let Some(message) = mailbox.receive() {
                            // SAFETY: as above.
                            unsafe { handled.add(message) };
                        }
                    }
                });
            }
        });
        let handled = handled.0.into_inner();
        assert_eq!(handled.len(), SENDERS * MESSAGES);
        for sender in 0..SENDERS {
            let numbers = handled.iter().filter(|(from, _)| *from == sender).map(|(_, number)| *number);
            assert!(numbers.eq(0..MESSAGES), "each sender's messages come in the order of sending");
        }
    }

    struct Handled(UnsafeCell<Vec<(usize, usize)>>);

    // SAFETY: see `add`.
    unsafe impl Sync for Handled {}

    impl Handled {
        /// # Safety
        ///
        /// For the mailbox's receiver only.
        unsafe fn add(&self, message: (usize, usize)) {
            // SAFETY: there is one receiver at a time, and it sees what the one before it did.
            unsafe { &mut *self.0.get() }.push(message);
        }
    }
}
