//! [`Inbox`]: how a consumer sleeps and is woken.
//!
//! Every assigned partition has a [`Watch`] with a number. When there is something new the watch puts its
//! number into the inbox, once, and wakes the consumer if it sleeps. So a consumer looks only at
//! partitions that have something for it, however many it has, and a sender pays one atomic read while
//! the consumer is behind anyway.

use std::sync::Arc;
use std::time::Duration;

use crate::log::Listener;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Condvar, Mutex, comes_soon};

/// Where news for one consumer arrives.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
    /// Whether the state has something that the consumer did not take: cheaper to read than the state.
    news: AtomicBool,
    /// Whether the group may have something for the member.
    group: AtomicBool,
    interrupted: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    ready: Vec<usize>,
    sleeping: bool,
    /// Something came that is not a partition.
    rung: bool,
}

impl Inbox {
    /// Puts the number of a watch in, unless it is there. Whoever finds it there goes on at once, perhaps as
    /// the consumer itself: so what that looks at first is set first.
    fn push(&self, watch: &Watch) {
        let mut state = self.state.lock();
        self.news.store(true, Ordering::Release);
        if watch.queued.swap(true, Ordering::SeqCst) {
            return;
        }
        state.ready.push(watch.number);
        if state.sleeping {
            self.arrived.notify_one();
        }
    }

    fn ring(&self) {
        let mut state = self.state.lock();
        state.rung = true;
        self.news.store(true, Ordering::Release);
        if state.sleeping {
            self.arrived.notify_one();
        }
    }

    /// The group has something for the member.
    pub(super) fn raise_group(&self) {
        self.group.store(true, Ordering::Release);
        self.ring();
    }

    /// Whether the group has something that was not taken yet.
    pub(super) fn has_group(&self) -> bool {
        self.group.load(Ordering::Acquire)
    }

    /// Whether the group had something since the last time.
    pub(super) fn take_group(&self) -> bool {
        self.has_group() && self.group.swap(false, Ordering::AcqRel)
    }

    /// Wakes the consumer without a reason of its own: it will look around.
    pub(super) fn nudge(&self) {
        self.ring();
    }

    fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Release);
        self.ring();
    }

    /// Whether somebody asked for the consumer to be woken since the last time.
    pub(super) fn take_interrupt(&self) -> bool {
        self.interrupted.load(Ordering::Acquire) && self.interrupted.swap(false, Ordering::AcqRel)
    }

    /// Moves the numbers of the partitions that have something into `into`.
    pub(super) fn take_ready(&self, into: &mut Vec<usize>) {
        if self.news.load(Ordering::Acquire) {
            let mut state = self.state.lock();
            into.append(&mut state.ready);
            self.news.store(state.rung, Ordering::Release);
        }
    }

    /// Forgets the numbers that are not to be kept.
    pub(super) fn retain(&self, keep: impl FnMut(&usize) -> bool) {
        self.state.lock().ready.retain(keep);
    }

    /// How many numbers are in it.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.state.lock().ready.len()
    }

    /// Whether a sleep would be over at once.
    #[cfg(test)]
    pub(super) fn is_rung(&self) -> bool {
        self.state.lock().rung
    }

    /// Sleeps until something arrives, or for `at_most`.
    pub(super) fn sleep(&self, at_most: Duration) {
        comes_soon(|| self.news.load(Ordering::Acquire));
        let mut state = self.state.lock();
        if state.ready.is_empty() && !std::mem::take(&mut state.rung) {
            state.sleeping = true;
            self.arrived.wait_for(&mut state, at_most);
            state.sleeping = false;
            state.rung = false;
        }
        self.news.store(!state.ready.is_empty(), Ordering::Release);
    }
}

/// Watches one partition for one consumer.
#[derive(Debug)]
pub(super) struct Watch {
    inbox: Arc<Inbox>,
    number: usize,
    /// Whether its number is in the inbox, or being worked on.
    queued: AtomicBool,
}

impl Watch {
    pub(super) fn new(inbox: &Arc<Inbox>, number: usize) -> Self {
        Self {
            inbox: Arc::clone(inbox),
            number,
            queued: AtomicBool::new(false),
        }
    }

    /// To be called before looking at the partition: what comes from now on is told again.
    pub(super) fn rearm(&self) {
        self.queued.store(false, Ordering::SeqCst);
    }
}

impl Listener for Watch {
    #[inline]
    fn notify(&self) {
        if !self.queued.load(Ordering::SeqCst) {
            self.inbox.push(self);
        }
    }
}

/// Wakes a consumer from another thread. Kafka: `wakeup()`.
///
/// Cheap to clone. The poll that blocks, or the next one, returns
/// [`Interrupted`](crate::ErrorKind::Interrupted), once; no record is lost.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use topiclog::{ErrorKind, EventLog, TopicOptions};
///
/// let log = EventLog::in_memory()?;
/// let topic = log.create_topic("t", TopicOptions::new())?;
/// let mut consumer = log.consumer_group("g")?.subscribe([&topic])?;
/// let waker = consumer.waker();
/// std::thread::spawn(move || waker.wake());
/// let error = consumer.poll(Duration::from_secs(600)).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Interrupted);
/// # Ok::<(), topiclog::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConsumerWaker(Arc<Inbox>);

impl ConsumerWaker {
    pub(super) fn new(inbox: &Arc<Inbox>) -> Self {
        Self(Arc::clone(inbox))
    }

    /// Wakes the consumer.
    pub fn wake(&self) {
        self.0.interrupt();
    }
}
