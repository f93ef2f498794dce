//! [`Allowance`]: the bound on the memory of what waits to be written, and the line of those who wait for
//! some.
//!
//! **Invariants**
//! - Nobody takes what somebody waits for who has come before, so that whoever needs much gets it too.
//!   Kafka's `BufferPool` serves in this order.
//! - Whoever gives some back, or leaves the line, wakes those in it for whom there is enough.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex, yield_now};

/// The memory that may be taken, and who waits for some.
pub(super) struct Allowance {
    limit: u64,
    used: AtomicU64,
    /// What those in the line wait for, all together: none if there is nobody. Cheaper to read than the line.
    claimed: AtomicU64,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    claims: VecDeque<Claim>,
    /// How many have come.
    came: u64,
    /// How often something has changed for them.
    changes: u64,
}

/// What one in the line waits for.
struct Claim {
    number: u64,
    bytes: u64,
    woken: Arc<Condvar>,
}

impl Line {
    /// What those wait for who have come before.
    fn claimed_before(&self, number: u64) -> u64 {
        let before = self.claims.iter();
        let before = before.take_while(|claim| claim.number != number);
        before.map(|claim| claim.bytes).sum()
    }
}

impl Allowance {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            used: AtomicU64::new(0),
            claimed: AtomicU64::new(0),
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
        self.line.lock().claims.len()
    }

    /// Takes so many bytes, if there are as many and a rest, besides what others wait for who came before.
    pub(super) fn take(&self, bytes: u64, rest: u64, waiter: Option<&Waiter<'_>>) -> bool {
        let claimed = match waiter {
            None => self.claimed.load(Ordering::SeqCst),
            Some(waiter) => self.line.lock().claimed_before(waiter.number),
        };
        let fits = |used| self.fits(used, claimed, bytes.saturating_add(rest));
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

    /// Where nothing is used and claimed anything fits, however much.
    fn fits(&self, used: u64, claimed: u64, bytes: u64) -> bool {
        let before = used.saturating_add(claimed);
        before == 0 || before.saturating_add(bytes) <= self.limit
    }

    /// Gives back what was taken.
    pub(super) fn give_back(&self, bytes: u64) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Ordering::SeqCst);
            self.tell();
        }
    }

    /// Tells those in the line that there may be memory, or that somebody who wrote has ended and may have
    /// left something to be written.
    pub(super) fn tell(&self) {
        if self.claimed.load(Ordering::SeqCst) > 0 {
            let mut line = self.line.lock();
            line.changes += 1;
            self.wake(&line);
        }
    }

    /// Wakes those for whom there is enough, and the first in any case: it looks for more.
    fn wake(&self, line: &Line) {
        let (used, mut claimed) = (self.used(), 0);
        for claim in &line.claims {
            if claimed > 0 && !self.fits(used, claimed, claim.bytes) {
                break;
            }
            claimed += claim.bytes;
            claim.woken.notify_one();
        }
    }

    /// Tells all in the line that something is not as it was when they came.
    pub(super) fn tell_all(&self) {
        if self.claimed.load(Ordering::SeqCst) > 0 {
            let mut line = self.line.lock();
            line.changes += 1;
            for claim in &line.claims {
                claim.woken.notify_one();
            }
        }
    }

    /// Puts somebody who needs so many bytes at the end of the line.
    pub(super) fn wait_in_line(&self, bytes: u64) -> Waiter<'_> {
        let bytes = bytes.clamp(1, self.limit.max(1));
        let woken = Arc::new(Condvar::new());
        let mut line = self.line.lock();
        line.came += 1;
        let number = line.came;
        line.claims.push_back(Claim {
            number,
            bytes,
            woken: Arc::clone(&woken),
        });
        self.claimed.fetch_add(bytes, Ordering::SeqCst);
        Waiter {
            allowance: self,
            number,
            bytes,
            woken,
            served: Cell::new(false),
        }
    }
}

/// Somebody in the line, until dropped.
pub(super) struct Waiter<'a> {
    allowance: &'a Allowance,
    number: u64,
    bytes: u64,
    woken: Arc<Condvar>,
    served: Cell<bool>,
}

impl Waiter<'_> {
    /// How often something has changed for those in the line.
    pub(super) fn changes(&self) -> u64 {
        self.allowance.line.lock().changes
    }

    /// Waits, at most for so long, until something has changed since there were `seen` changes, or there is
    /// enough. Who is first in the line waits only if others are `at_work`, who may make some. Returns
    /// whether it is worth another try.
    pub(super) fn wait(&self, seen: u64, at_work: bool, at_most: Duration) -> bool {
        let allowance = self.allowance;
        let mut line = allowance.line.lock();
        let fits = |line: &Line| {
            let claimed = line.claimed_before(self.number);
            allowance.fits(allowance.used(), claimed, self.bytes)
        };
        if line.changes != seen || fits(&line) {
            return true;
        }
        if at_work || line.claimed_before(self.number) > 0 {
            // Who has come to be the first looks for itself.
            let woken = !self.woken.wait_for(&mut line, at_most).timed_out();
            return woken || line.changes != seen || fits(&line);
        }
        drop(line);
        // Somebody has taken some and not put anything into it yet, but is about to.
        yield_now();
        true
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let allowance = self.allowance;
        let mut line = allowance.line.lock();
        line.claims.retain(|claim| claim.number != self.number);
        allowance.claimed.fetch_sub(self.bytes, Ordering::SeqCst);
        // Where it has given up nothing has changed for the others, but that there may be enough for one.
        line.changes += u64::from(self.served.get());
        allowance.wake(&line);
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
        let large = allowance.wait_in_line(60);
        assert!(!allowance.take(60, 0, Some(&large)));
        let small = allowance.wait_in_line(5);
        for used in [90, 41] {
            allowance.give_back(allowance.used() - used);
            assert!(!allowance.take(60, 0, Some(&large)));
            assert!(!allowance.take(5, 0, Some(&small)), "it would be of those");
            assert!(!allowance.take(1, 0, None), "likewise");
        }
        allowance.give_back(11);
        assert!(
            allowance.take(5, 0, Some(&small)),
            "there is enough for both"
        );
        drop(small);
        assert!(allowance.take(5, 0, None));
        assert!(!allowance.take(1, 0, None));
        assert!(allowance.take(60, 0, Some(&large)));
        drop(large);
        assert_eq!(allowance.used(), 100);
        allowance.give_back(1);
        assert!(allowance.take(1, 0, None));
    }

    /// Each try that failed woke the others, and their tries woke it: processors were busy with it.
    #[test]
    fn whoever_gets_nothing_changes_nothing_for_the_others() {
        let allowance = Allowance::new(100);
        assert!(allowance.take(90, 0, None));
        let (first, second) = (allowance.wait_in_line(60), allowance.wait_in_line(10));
        let third = allowance.wait_in_line(11);
        let seen = second.changes();
        assert!(!allowance.take(60, 0, Some(&first)));
        drop(first);
        allowance.give_back(0);
        assert_eq!(second.changes(), seen);
        // There is enough for it now, and it need not wait.
        assert!(second.wait(seen, true, Duration::MAX));
        drop(second);
        assert_eq!(third.changes(), seen);
    }

    #[test]
    fn who_is_told_of_a_change_before_it_waits_does_not_wait() {
        let allowance = Allowance::new(100);
        assert!(allowance.take(90, 0, None));
        let waiter = allowance.wait_in_line(60);
        let tells: [fn(&Allowance); 2] = [Allowance::tell, Allowance::tell_all];
        for tell in tells {
            let seen = waiter.changes();
            assert!(!waiter.wait(seen, true, Duration::ZERO));
            tell(&allowance);
            assert!(waiter.wait(seen, true, Duration::ZERO));
        }
    }

    /// It may be the only one that is left to write what others have queued.
    #[test]
    fn who_is_first_in_the_line_is_woken_though_there_is_not_enough_for_it() {
        let allowance = Allowance::new(100);
        assert!(allowance.take(90, 0, None));
        // Nothing has changed before it came.
        let waits = || allowance.wait_in_line(60).wait(0, true, Duration::MAX);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(waits);
            while allowance.waiting() == 0 {
                yield_now();
            }
            // Should it not sleep by then, it is told all the same.
            (0..2000).for_each(|_| yield_now());
            allowance.tell();
            assert!(waiting.join().unwrap());
        });
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
            // Not before: the sender would write in its place, and wait for the writer.
            while !partition.log.queue.lock().busy {
                yield_now();
            }
            let producer = other.producer().max_block(Duration::MAX);
            let sender = scope.spawn(move || producer.send(Record::new([7; 1800])).map(drop));
            while partition.log.accumulator.waiting() == 0 {
                yield_now();
            }
            log.delete_topic("other").unwrap();
            let refused = sender.join().unwrap().unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::NotFound);
            drop(held);
            writing.join().unwrap().unwrap();
        });
    }
}
