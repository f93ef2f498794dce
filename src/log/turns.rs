//! Waiting for acknowledgements: whoever waits writes and syncs for everybody, unless somebody else is at it.
//!
//! **Invariants**
//! - Nobody sleeps while there is something to write and nobody writes or is about to.
//! - Before it sleeps, a thread that has the time lets others run for a moment.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::Log;
use super::queue::{Acknowledged, Queue, Ticket};
use super::round::Goal;
use crate::error::{Error, LogError};
use crate::options::Durability;
use crate::sync::{MutexGuard, park, park_timeout};

impl Log {
    /// The time by which waits are measured.
    pub(crate) fn monotonic(&self) -> Duration {
        self.place.clock.monotonic()
    }

    /// Waits until a batch is acknowledged, and does the work if nobody else is at it.
    pub(crate) fn wait(
        &self,
        ticket: &Ticket,
        timeout: Option<Duration>,
    ) -> Result<Acknowledged, Error> {
        let start = timeout.map(|_| self.monotonic());
        let (mut came, mut gathered, mut yielded, mut slept) = (false, false, false, false);
        loop {
            if let Some(outcome) = ticket.outcome() {
                if slept {
                    ticket.pass_on();
                }
                return outcome.clone();
            }
            let mut queue = self.queue.lock();
            if ticket.outcome().is_some() {
                continue;
            }
            if !mem::replace(&mut came, true) {
                queue.gathering.come();
            }
            if !queue.busy {
                if mem::replace(&mut gathered, true) || !self.expects_others(&queue, 0) {
                    self.drive(&mut queue, Goal::Acknowledged);
                } else {
                    let at_most = queue.gathering.wait();
                    drop(queue);
                    self.let_others_come(ticket, at_most);
                }
                continue;
            }
            if timeout.is_none() && !mem::replace(&mut yielded, true) {
                let at_most = queue.gathering.short_sync();
                drop(queue);
                self.let_others_write(ticket, at_most);
                continue;
            }
            ticket.lie_down();
            slept = true;
            drop(queue);
            self.sleep(ticket, timeout, start)?;
        }
    }

    /// Lets others run for a moment: perhaps until the batch is settled, or it is this thread's turn.
    fn let_others_write(&self, ticket: &Ticket, at_most: Duration) {
        let is_idle = || self.queue.try_lock().is_some_and(|queue| !queue.busy);
        self.let_others_run(at_most, || ticket.outcome().is_some() || is_idle());
    }

    /// Whether others will come and wait for a sync if they are given a moment.
    pub(super) fn expects_others(&self, queue: &Queue, coming: u32) -> bool {
        queue.options.durability == Durability::Disk
            && !self.place.manual_clock
            && queue
                .gathering
                .expects_others(coming, self.accumulator.last_sync())
    }

    /// Gives it to them, until they have come or one of them syncs.
    fn let_others_come(&self, ticket: &Ticket, at_most: Duration) {
        let is_over = |queue: MutexGuard<'_, Queue>| queue.busy || !self.expects_others(&queue, 0);
        let until = || ticket.outcome().is_some() || self.queue.try_lock().is_some_and(is_over);
        let waited = catch_unwind(AssertUnwindSafe(|| self.let_others_run(at_most, until)));
        if let Err(panic) = waited {
            // It was this thread's turn: those who sleep count on it, whatever a clock of the user's does.
            let mut queue = self.queue.lock();
            if !queue.busy {
                self.drive(&mut queue, Goal::Acknowledged);
            }
            drop(queue);
            resume_unwind(panic);
        }
    }

    fn let_others_run(&self, at_most: Duration, until: impl Fn() -> bool) {
        // A clock that a test holds still would not tell how long it takes.
        if !self.place.manual_clock {
            let now = || self.monotonic();
            self.accumulator.yielding.until(at_most, now, until);
        }
    }

    /// Sleeps until the batch is settled or it is this thread's turn to write.
    fn sleep(
        &self,
        ticket: &Ticket,
        timeout: Option<Duration>,
        start: Option<Duration>,
    ) -> Result<(), Error> {
        let (Some(timeout), Some(start)) = (timeout, start) else {
            loop {
                park();
                if ticket.outcome().is_some() {
                    return Ok(());
                }
                let _queue = self.queue.lock();
                if !ticket.lies() {
                    return Ok(());
                }
            }
        };
        loop {
            let passed = self.monotonic().saturating_sub(start);
            park_timeout(timeout.saturating_sub(passed));
            if ticket.outcome().is_some() {
                return Ok(());
            }
            let _queue = self.queue.lock();
            let passed = self.monotonic().saturating_sub(start);
            // A clock that a test holds still must not make this wait for ever.
            let over = passed >= timeout || self.place.manual_clock;
            // Whoever is being woken may have others to wake: that one is not to go without.
            if !ticket.lies() || over && !ticket.get_up() {
                return Ok(());
            }
            if over {
                return Err(self.in_partition(LogError::WaitTimeout { waited: timeout }.into()));
            }
        }
    }

    /// Does what [`settle_all`](Self::settle_all) does. Returns also how records failed that had been
    /// acknowledged from memory, if nobody was told yet.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        let settled = self.settle_all();
        let untold = self.queue.lock().untold.take();
        untold.map_or(settled, Err)
    }

    /// How many batches could not be written, or not be synced, since the log was opened.
    pub(crate) fn failures(&self) -> u64 {
        self.queue.lock().failures
    }

    /// Blocks until everything sent before is acknowledged or has failed. Returns the last failure
    /// meanwhile.
    pub(crate) fn settle_all(&self) -> Result<(), Error> {
        let mut queue = self.queue.lock();
        let failures = queue.failures;
        // What was sent before waits up to here, or is in the hands of whoever is writing.
        let last = queue.waiting().last().cloned();
        self.settle_upto(&mut queue, last.as_ref());
        // Some of it may have been written only, whatever became of the last.
        if let Some(last) = queue.waiting_for_sync().cloned() {
            self.settle_upto(&mut queue, Some(&last));
        }
        match &queue.last_failure {
            Some(error) if queue.failures != failures => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// The same for whoever only wants it to be over: whose record fails is told by it. In a log opened
    /// read-only there is nothing to wait for.
    pub(crate) fn settle_quietly(&self) {
        if !self.is_read_only() {
            let _told = self.settle_all();
        }
    }

    /// Blocks until this does not wait any more to be written or synced, and nobody has it in hand; without
    /// it, until what is in hand is done.
    fn settle_upto(&self, queue: &mut MutexGuard<'_, Queue>, ticket: Option<&Arc<Ticket>>) {
        loop {
            let waits = queue.has_waiting(ticket);
            match (queue.busy, waits) {
                (false, false) => return,
                (false, true) => self.drive(queue, Goal::Acknowledged),
                (true, _) => {
                    self.wait_for_round(queue);
                    if !waits && !queue.has_waiting(ticket) {
                        return;
                    }
                }
            }
        }
    }

    /// Waits until whoever is writing has done the round.
    pub(super) fn wait_for_round(&self, queue: &mut MutexGuard<'_, Queue>) {
        let round = queue.rounds;
        while queue.busy && queue.rounds == round {
            queue.watchers += 1;
            self.round_done.wait(queue);
            queue.watchers -= 1;
        }
    }
}
