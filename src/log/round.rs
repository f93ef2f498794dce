//! [`Round`]: one writes, and syncs, for everyone queued, while the others fill the next run.
//!
//! **Invariants**
//! - One thread at a time is `busy`; it hands on to one who waits for what was queued meanwhile.
//! - Senders are told in the order of their records, and only once these are at the topic's durability.
//! - After a write or sync that leaves doubt about what the disk holds, nothing more is accepted.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::queue::{Acknowledged, Queue, Run};
use super::writer::Writer;
use super::{Log, Refusal};
use crate::error::{Error, LogError};
use crate::options::{Durability, TopicOptions};
use crate::sync::atomic::Ordering;
use crate::sync::{MutexGuard, Thread};

/// Written but unsynced bytes that a `Disk` topic may gather before a sender that fills a batch syncs
/// them, when nobody waits.
const UNSYNCED_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How much one who writes for others does before letting somebody else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Goal {
    /// Write the full runs.
    Full,
    /// Write everything, the open batch too.
    Written,
    /// Write everything and bring it to the topic's durability.
    Acknowledged,
}

/// What one round of writing has to do, and did. Kept for the next round, so that one allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Round {
    runs: VecDeque<Run>,
    sync: bool,
    synced: Option<Synced>,
    poisoned: bool,
    /// Where in the active segment the next batch goes.
    position: u64,
    /// Those whose records were acknowledged or have failed.
    woken: Vec<Thread>,
}

/// How a sync went.
#[derive(Debug)]
struct Synced {
    outcome: Result<(), Error>,
    took: Duration,
}

impl Log {
    /// Writes, and syncs if it comes to that, for everyone queued. Called by whoever needs it first. What
    /// others queue meanwhile is left to them: nobody is kept for longer than one round.
    pub(super) fn drive(&self, queue: &mut MutexGuard<'_, Queue>, goal: Goal) {
        queue.watched.written_at_once |= goal == Goal::Acknowledged;
        let mut round = begin_round(queue, goal);
        let options = Arc::clone(&queue.options);
        let performed = work_unlocked(queue, || self.perform(&mut round, &options));
        round.poisoned |= performed.is_err();
        self.complete(queue, &mut round, &options);
        self.hand_on(queue, &mut round.woken);
        queue.spare_round = Some(round);
        performed.unwrap_or_else(|panic| resume_unwind(panic));
    }

    /// Writes one record for its only sender.
    ///
    /// From here down to the system call all is inlined: behind one the processor predicts no return where
    /// the kernel guards it against that, and a record that is waited for would pay for each.
    #[inline]
    pub(super) fn write_alone(
        &self,
        queue: &mut MutexGuard<'_, Queue>,
        run: &mut Run,
    ) -> Result<Acknowledged, Error> {
        queue.watched.written_at_once = true;
        let options = Arc::clone(&queue.options);
        let durable = options.durability == Durability::Disk;
        queue.gathering.come();
        queue.gathering.begin();
        let performed = work_unlocked(queue, || {
            let mut writer = self.writer.lock();
            self.write_run(&mut writer, run, &options);
            let sync = durable && run.failure.is_none();
            let synced = self.acknowledge(&mut writer, &options, sync);
            let poisoned = writer.is_poisoned();
            drop(writer);
            self.listeners.notify();
            (synced, poisoned)
        });
        let (synced, poisoned, panic) = match performed {
            Ok((synced, poisoned)) => (synced, poisoned, None),
            Err(panic) => (None, true, Some(panic)),
        };
        let failure = run.failure.take();
        if let Some(error) = &failure {
            queue.note_failure(error);
        }
        let mut woken = Vec::new();
        let unsynced = self.settle_sync(queue, synced, poisoned, &mut woken);
        let failure = failure.or(unsynced);
        queue.next_offset = queue.next_offset.max(self.marks.log_end());
        self.hand_on(queue, &mut woken);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        match (failure, run.batches.first().and_then(|batch| batch.stamped)) {
            (None, Some(stamped)) => Ok(stamped),
            (failure, _) => {
                Err(failure.unwrap_or_else(|| self.in_partition(LogError::Poisoned.into())))
            }
        }
    }

    /// Wakes those whose records are settled, and one of those who wait for theirs, to do it for all.
    fn hand_on(&self, queue: &mut MutexGuard<'_, Queue>, woken: &mut Vec<Thread>) {
        queue.rounds += 1;
        if queue.watchers > 0 {
            self.round_done.notify_all();
        }
        queue.busy = false;
        self.accumulator.tell_waiting();
        let mut successor = None;
        if queue.has_work() {
            successor = queue.successor();
            if successor.is_none() {
                // A reader that came to the end meanwhile left the writing to whoever was busy.
                self.listeners.notify();
            }
        }
        if successor.is_some() || !woken.is_empty() {
            MutexGuard::unlocked(queue, || {
                for thread in successor.into_iter().chain(woken.drain(..)) {
                    thread.unpark();
                }
            });
        }
    }

    /// The part that takes time: writing and syncing.
    fn perform(&self, round: &mut Round, options: &TopicOptions) {
        let mut writer = self.writer.lock();
        let mut failed: Option<Error> = None;
        for run in &mut round.runs {
            match &failed {
                // Those behind a failed batch fail too, so that what is in the log is in order.
                Some(error) => run.failure = Some(error.clone()),
                None => self.write_run(&mut writer, run, options),
            }
            if run.failure.is_some() {
                writer.give_up(run);
            }
            round.poisoned = writer.is_poisoned();
            if round.poisoned {
                break;
            }
            if options.durability != Durability::Memory {
                failed.clone_from(&run.failure);
            }
        }
        round.position = writer.position();
        let many =
            options.durability == Durability::Disk && writer.unsynced_bytes() > UNSYNCED_BYTES_MAX;
        let sync = !round.poisoned && (round.sync || many);
        round.synced = self.acknowledge(&mut writer, options, sync);
        drop(writer);
        self.listeners.notify();
    }

    /// Writes a run until its end, or until it fails.
    #[inline]
    fn write_run(&self, writer: &mut Writer, run: &mut Run, options: &TopicOptions) {
        while run.written < run.batches.len() {
            let log_end = self.marks.log_end();
            let durable_upto = self.marks.recovery_point();
            let end = writer.append(&self.place, options, run, log_end, durable_upto);
            // Also if the write failed: the next batch goes into this segment.
            if let Some(segment) = writer.take_begun() {
                self.add_segment(segment);
            }
            match end {
                Ok(end) => self.marks.raise_log_end(end),
                Err(error) => {
                    let error = self.in_partition(error);
                    run.failure = Some(if writer.is_poisoned() {
                        error.with_unknown_outcome()
                    } else {
                        error
                    });
                    return;
                }
            }
        }
    }

    /// Syncs if asked to, and moves the marks.
    fn acknowledge(
        &self,
        writer: &mut Writer,
        options: &TopicOptions,
        sync: bool,
    ) -> Option<Synced> {
        let end = self.marks.log_end();
        if !sync {
            if options.durability != Durability::Disk {
                self.marks.raise_high_watermark(end);
            }
            return None;
        }
        let clock = &*self.place.clock;
        let before = clock.monotonic();
        let outcome = writer.sync(&self.place);
        let took = clock.monotonic().saturating_sub(before);
        if outcome.is_ok() {
            self.marks.raise_recovery_point(end);
            self.marks.raise_high_watermark(end);
            if writer.wants_checkpoint() {
                self.write_checkpoint(writer, end);
            }
        }
        Some(Synced { outcome, took })
    }

    /// Tells the senders, with the queue locked again.
    fn complete(&self, queue: &mut Queue, round: &mut Round, options: &TopicOptions) {
        let durable = options.durability == Durability::Disk;
        for mut run in round.runs.drain(..) {
            let failure = run.failure.take();
            let (batches, written) = (run.batches.iter(), run.written);
            for ((index, ticket), batch) in run.tickets.drain(..).enumerate().zip(batches) {
                match batch.stamped.filter(|_| index < written) {
                    Some(_) if durable && self.let_go.load(Ordering::Relaxed) => {
                        let error = self.in_partition(LogError::Closed.into());
                        queue.fail(&ticket, &error, &mut round.woken);
                    }
                    Some(acknowledged) if durable => {
                        queue.unsynced.push_back((ticket, acknowledged));
                    }
                    Some(acknowledged) => ticket.settle(Ok(acknowledged), &mut round.woken),
                    None => {
                        let error = failure.clone();
                        let error =
                            error.unwrap_or_else(|| self.in_partition(LogError::Poisoned.into()));
                        queue.fail(&ticket, &error, &mut round.woken);
                    }
                }
            }
            self.accumulator.recycle(run);
        }
        let _told = self.settle_sync(queue, round.synced.take(), round.poisoned, &mut round.woken);
        queue.next_offset = queue.next_offset.max(self.marks.log_end());
        queue.note_position(round.position);
    }

    /// Tells those who wait for a sync how it went. Returns why nothing more is accepted, if that is so.
    fn settle_sync(
        &self,
        queue: &mut Queue,
        synced: Option<Synced>,
        poisoned: bool,
        woken: &mut Vec<Thread>,
    ) -> Option<Error> {
        let mut failure = None;
        let outcome = synced.map(|synced| {
            let number = self.accumulator.count_sync();
            queue.gathering.end(synced.took, number);
            synced.outcome
        });
        match outcome {
            Some(Ok(())) => {
                for (ticket, acknowledged) in queue.unsynced.drain(..) {
                    ticket.settle(Ok(acknowledged), woken);
                }
            }
            Some(Err(error)) => {
                let error = self.in_partition(error).with_unknown_outcome();
                self.poison(queue, &error, woken);
                failure = Some(error);
            }
            None => {}
        }
        if poisoned {
            let error = self.in_partition(LogError::Poisoned.into());
            self.poison(queue, &error, woken);
            failure = failure.or(Some(error));
        }
        failure
    }

    /// A write or sync has failed so that nobody knows what the disk holds: nothing more is accepted,
    /// and everybody who waits is told. Readers go on up to what was durable before.
    fn poison(&self, queue: &mut Queue, error: &Error, woken: &mut Vec<Thread>) {
        self.fail_waiting(queue, error, woken);
        let poisoned = self.in_partition(LogError::Poisoned.into());
        self.refuse(queue, poisoned, Refusal::Poisoned);
    }

    /// Tells everybody whose records are not acknowledged yet that they will not be.
    pub(super) fn fail_waiting(&self, queue: &mut Queue, error: &Error, woken: &mut Vec<Thread>) {
        queue.close_run();
        let mut tickets: Vec<_> = queue.unsynced.drain(..).map(|(ticket, _)| ticket).collect();
        for mut run in queue.full.drain(..) {
            tickets.append(&mut run.tickets);
            self.accumulator.recycle(run);
        }
        for ticket in tickets {
            queue.fail(&ticket, error, woken);
        }
    }
}

/// Does the part that takes time, with the queue open to senders. If a storage or a clock of the user's
/// panics in it, nobody knows what the disk holds, and those who wait are to learn of it.
fn work_unlocked<T>(
    queue: &mut MutexGuard<'_, Queue>,
    work: impl FnOnce() -> T,
) -> Result<T, Box<dyn Any + Send>> {
    queue.busy = true;
    MutexGuard::unlocked(queue, || catch_unwind(AssertUnwindSafe(work)))
}

fn begin_round(queue: &mut Queue, goal: Goal) -> Round {
    if goal != Goal::Full {
        queue.close_run();
    }
    let mut round = queue.spare_round.take().unwrap_or_default();
    std::mem::swap(&mut round.runs, &mut queue.full);
    // What was written under `Disk` waits for its sync, whatever the level is now.
    round.sync = goal == Goal::Acknowledged
        && (queue.options.durability == Durability::Disk || !queue.unsynced.is_empty());
    round.poisoned = false;
    if round.sync {
        queue.gathering.begin();
    }
    round
}
