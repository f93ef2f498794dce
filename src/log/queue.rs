//! [`Queue`]: records accepted but not yet acknowledged, and [`Ticket`], what a sender waits on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::Log;
use super::appender::Round;
use crate::error::Error;
use crate::format::BatchBuilder;
use crate::offset::Offset;
use crate::options::TopicOptions;
use crate::sync::Condvar;
use crate::timestamp::Timestamp;

/// Where a batch went, once it is acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Acknowledged {
    pub(crate) base_offset: Offset,
    pub(crate) append_time: Option<Timestamp>,
}

/// What all senders of one batch share: its outcome, and a place to wait for it.
#[derive(Debug)]
pub(crate) struct Ticket {
    log: Arc<Log>,
    outcome: OnceLock<Result<Acknowledged, Error>>,
    /// Counted under the queue's lock, so that nobody is woken for nothing.
    pub(super) sleepers: AtomicU32,
    /// Waits with the queue's lock.
    pub(super) done: Condvar,
}

impl Ticket {
    pub(super) fn new(log: Arc<Log>) -> Self {
        Self {
            log,
            outcome: OnceLock::new(),
            sleepers: AtomicU32::new(0),
            done: Condvar::new(),
        }
    }

    pub(crate) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// What became of the batch, if that is known.
    pub(crate) fn outcome(&self) -> Option<&Result<Acknowledged, Error>> {
        self.outcome.get()
    }

    /// Settles the batch; the first settlement counts. To be called with the queue locked.
    pub(super) fn settle(&self, outcome: Result<Acknowledged, Error>) {
        if self.outcome.set(outcome).is_ok() && self.sleepers.load(Ordering::Relaxed) > 0 {
            self.done.notify_all();
        }
    }
}

/// A batch on its way to the file; its bytes are in its [`Run`].
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) builder: BatchBuilder,
    pub(super) ticket: Arc<Ticket>,
    /// Bytes taken from the accumulator's allowance.
    pub(super) reserved: u64,
    /// Stamped on records that have no time of their own.
    pub(super) opened: Timestamp,
    /// Given already when the batch was opened, if its topic acknowledges from memory.
    pub(super) promised: Option<Offset>,
    /// Given by the writer.
    pub(super) stamped: Option<Acknowledged>,
}

/// About how many bytes of batches are written at once when nobody waits for them: beyond this a larger
/// write is no cheaper by the byte.
pub(super) const RUN_BYTES: usize = 256 * 1024;

/// Batches one behind the other in one buffer, so that one write takes them all.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) bytes: Vec<u8>,
    pub(super) batches: VecDeque<Pending>,
}

/// What is waiting, in the order in which it was sent.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) options: Arc<TopicOptions>,
    /// Takes more batches.
    pub(super) filling: Run,
    /// Whether the last batch of `filling` takes more records.
    pub(super) open: bool,
    /// Take no more, and are not being written yet.
    pub(super) full: VecDeque<Run>,
    /// Written, and waiting for a sync.
    pub(super) unsynced: VecDeque<(Arc<Ticket>, Acknowledged)>,
    /// Whether somebody is writing or syncing for everybody.
    pub(super) busy: bool,
    /// Where the next batch will begin if nothing fails.
    pub(super) next_offset: Offset,
    /// Why no record is accepted any more.
    pub(super) refusal: Option<Error>,
    /// How many batches have failed, and how the last one did.
    pub(super) failures: u64,
    pub(super) last_failure: Option<Error>,
    /// Whether the accumulator has this log on its list.
    pub(super) listed: bool,
    /// What the last tick saw, and when.
    pub(super) seen: Option<(Arc<Ticket>, Duration)>,
    pub(super) idle_ticks: u32,
    pub(super) spare_round: Option<Round>,
}

impl Queue {
    pub(super) fn new(options: Arc<TopicOptions>, next_offset: Offset) -> Self {
        Self {
            options,
            filling: Run::default(),
            open: false,
            full: VecDeque::new(),
            unsynced: VecDeque::new(),
            busy: false,
            next_offset,
            refusal: None,
            failures: 0,
            last_failure: None,
            listed: false,
            seen: None,
            idle_ticks: 0,
            spare_round: None,
        }
    }

    /// Whether records wait for somebody to write them.
    pub(super) fn has_unwritten(&self) -> bool {
        !self.filling.batches.is_empty() || !self.full.is_empty()
    }

    /// Whether records wait for somebody to write or sync them.
    pub(super) fn has_work(&self) -> bool {
        self.has_unwritten() || !self.unsynced.is_empty()
    }

    /// The batches that are not being written yet, in order.
    pub(super) fn unwritten(&self) -> impl Iterator<Item = &Pending> {
        let runs = self.full.iter().chain([&self.filling]);
        runs.flat_map(|run| &run.batches)
    }

    /// What waits for somebody to write or sync it, in order.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Arc<Ticket>> {
        let unsynced = self.unsynced.iter().map(|(ticket, _)| ticket);
        unsynced.chain(self.unwritten().map(|batch| &batch.ticket))
    }

    /// Takes no more batches into the run that is being filled; another one begins with `next`.
    pub(super) fn close_run(&mut self, next: Run) {
        self.open = false;
        let run = std::mem::replace(&mut self.filling, next);
        if !run.batches.is_empty() {
            self.full.push_back(run);
        }
    }

    pub(super) fn note_failure(&mut self, error: &Error) {
        self.failures += 1;
        self.last_failure = Some(error.clone());
    }

    /// Wakes one sender who waits for what is still to be done, to do it for all.
    pub(super) fn wake_successor(&self) {
        for ticket in self.waiting() {
            if ticket.sleepers.load(Ordering::Relaxed) > 0 {
                ticket.done.notify_one();
                return;
            }
        }
    }
}
