//! [`Allowance`]: the bound on the memory of what waits to be written, and the line of those who wait for
//! some.
//!
//! **Invariants**
//! - Nobody takes any while somebody else has waited longer, so that whoever needs much gets it too. Kafka's
//!   `BufferPool` serves in this order.
//! - Whoever gives some back, or leaves the line, wakes who is first in it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex};

/// The memory that may be taken, and who waits for some.
pub(super) struct Allowance {
    limit: u64,
    used: AtomicU64,
    /// How many are in the line: cheaper to read than that.
    waiting: AtomicUsize,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    /// The number of each, and what wakes it.
    waiters: VecDeque<(u64, Arc<Condvar>)>,
    /// How many have come.
    came: u64,
    /// How often something has changed for them.
    changes: u64,
}

impl Line {
    fn is_first(&self, number: u64) -> bool {
        self.waiters
            .front()
            .is_some_and(|(first, _)| *first == number)
    }

    fn wake_first(&self) {
        if let Some((_, woken)) = self.waiters.front() {
            woken.notify_one();
        }
    }
}

impl Allowance {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            used: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            line: Mutex::default(),
        }
    }

    /// The bytes that may be taken.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// The bytes that are taken.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::SeqCst)
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Takes so many bytes, if there are as many and a rest, and it is nobody else's turn.
    pub(super) fn take(&self, bytes: u64, rest: u64, waiter: Option<&Waiter<'_>>) -> bool {
        if !self.is_turn_of(waiter) {
            return false;
        }
        let fits = |used| self.fits(used, bytes.saturating_add(rest));
        let more = |used: u64| fits(used).then(|| used.saturating_add(bytes));
        let taken = self
            .used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .is_ok();
        if let Some(waiter) = waiter.filter(|_| taken) {
            waiter.served.set(true);
        }
        taken
    }

    /// Takes so many bytes even if there are not as many, and others wait.
    pub(super) fn exceed(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::SeqCst);
    }

    fn is_turn_of(&self, waiter: Option<&Waiter<'_>>) -> bool {
        self.waiting.load(Ordering::SeqCst) == 0
            || waiter.is_some_and(|waiter| self.line.lock().is_first(waiter.number))
    }

    /// Where nothing is used anything fits, however much.
    fn fits(&self, used: u64, bytes: u64) -> bool {
        used == 0 || used.saturating_add(bytes) <= self.limit
    }

    /// Gives back what was taken.
    pub(super) fn give_back(&self, bytes: u64) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Ordering::SeqCst);
            self.tell_first();
        }
    }

    /// Tells who is first in the line that there may be memory, or that somebody who wrote has ended and may
    /// have left something to be written.
    pub(super) fn tell_first(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            let mut line = self.line.lock();
            line.changes += 1;
            line.wake_first();
        }
    }

    /// Tells all of them that something is not as it was when they came.
    pub(super) fn tell_all(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            let mut line = self.line.lock();
            line.changes += 1;
            for (_, woken) in &line.waiters {
                woken.notify_one();
            }
        }
    }

    /// Puts somebody at the end of the line.
    pub(super) fn wait_in_line(&self) -> Waiter<'_> {
        let woken = Arc::new(Condvar::new());
        let mut line = self.line.lock();
        line.came += 1;
        let number = line.came;
        line.waiters.push_back((number, Arc::clone(&woken)));
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiter {
            allowance: self,
            number,
            woken,
            served: Cell::new(false),
        }
    }
}

/// Somebody in the line, until dropped.
pub(super) struct Waiter<'a> {
    allowance: &'a Allowance,
    number: u64,
    woken: Arc<Condvar>,
    served: Cell<bool>,
}

impl Waiter<'_> {
    /// How often something has changed for those in the line.
    pub(super) fn changes(&self) -> u64 {
        self.allowance.line.lock().changes
    }

    /// Waits, at most for so long, until something has changed since there were `seen` changes, or it is its
    /// turn and there is room for so many bytes. If it is its turn already it waits only if others are
    /// `at_work`, who may make some. Returns whether it may have found what it waits for.
    pub(super) fn wait(&self, seen: u64, bytes: u64, at_work: bool, at_most: Duration) -> bool {
        let allowance = self.allowance;
        let mut line = allowance.line.lock();
        let fits =
            |line: &Line| line.is_first(self.number) && allowance.fits(allowance.used(), bytes);
        let may_change = at_work || !line.is_first(self.number);
        if line.changes == seen && may_change && !fits(&line) {
            self.woken.wait_for(&mut line, at_most);
        }
        line.changes != seen || fits(&line)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut line = self.allowance.line.lock();
        line.waiters.retain(|(number, _)| *number != self.number);
        self.allowance.waiting.fetch_sub(1, Ordering::SeqCst);
        // Where it has given up nothing has changed for the others, but that it may be the turn of one.
        line.changes += u64::from(self.served.get());
        line.wake_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, EventLog, Record, TopicOptions};

    /// Senders of small records took what one of a large record waited for, for as long as they came.
    #[test]
    fn who_needs_much_is_not_passed_over_for_those_who_need_little() {
        let allowance = Allowance::new(100);
        assert!(allowance.take(90, 0, None));
        let large = allowance.wait_in_line();
        assert!(!allowance.take(60, 0, Some(&large)));
        let small = allowance.wait_in_line();
        assert!(!allowance.take(1, 0, None), "somebody who has just come");
        assert!(!allowance.take(1, 0, Some(&small)));
        allowance.give_back(50);
        assert!(!allowance.take(1, 0, Some(&small)));
        assert!(allowance.take(60, 0, Some(&large)));
        drop(large);
        assert!(!allowance.take(1, 0, Some(&small)), "there is none");
        allowance.give_back(60);
        assert!(allowance.take(1, 0, Some(&small)));
        drop(small);
        assert!(allowance.take(1, 0, None));
    }

    /// Each try that failed woke the others, and their tries woke it: processors were busy with it.
    #[test]
    fn whoever_gets_nothing_changes_nothing_for_the_others() {
        let allowance = Allowance::new(100);
        assert!(allowance.take(90, 0, None));
        let (first, second) = (allowance.wait_in_line(), allowance.wait_in_line());
        let seen = second.changes();
        assert!(!allowance.take(60, 0, Some(&first)));
        drop(first);
        assert_eq!(second.changes(), seen);
        // It is its turn now, and there is as much.
        assert!(second.wait(seen, 10, true, Duration::MAX));
        assert!(!second.wait(seen, 11, false, Duration::MAX));
    }

    /// It waited for `max_block`.
    #[test]
    fn who_waits_for_memory_learns_that_the_topic_is_deleted() {
        let log = EventLog::builder().in_memory().buffer_bytes(2000).open();
        let log = log.unwrap();
        let topics = ["slow", "other"];
        let [slow, other] = topics.map(|name| log.create_topic(name, TopicOptions::new()).unwrap());
        let partition = slow.partition(0).unwrap();
        let held = partition.log.writer.lock();
        std::thread::scope(|scope| {
            let sent = slow.producer().send(Record::new([7; 1800])).unwrap();
            let writing = scope.spawn(move || sent.wait().map(drop));
            let producer = other.producer().max_block(Duration::MAX);
            let sender = scope.spawn(move || producer.send(Record::new([7; 1800])).map(drop));
            let in_line = || partition.log.accumulator.waiting();
            while in_line() == 0 || !partition.log.queue.lock().busy {
                std::thread::yield_now();
            }
            log.delete_topic("other").unwrap();
            let refused = sender.join().unwrap().unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::NotFound);
            drop(held);
            writing.join().unwrap().unwrap();
        });
    }
}
