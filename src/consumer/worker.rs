//! One worker: polls, handles, commits; and [`PartitionHandler`], what it calls.
//!
//! **Invariants**
//!
//! - Between two polls everything that was handled is flushed and committed, but for what the group has
//!   refused. So what a rebalance takes away has nothing left to commit.
//! - A handler is made when its partition is gained, and dropped before the partition is given up: there
//!   are never two for one partition.
//! - What a poll returned and was not handled is sought again before the next poll.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::consumer::Consumer;
use super::membership::Call;
use super::options::CommittedOffset;
use super::workers::Stop;
use crate::error::{Error, ErrorKind, GroupError};
use crate::name::{Id, TopicPartition};
use crate::offset::Offset;
use crate::record::RecordRef;
use crate::sync::Mutex;
use crate::topic::Records;

/// Handles the records of one partition, in the order of their offsets.
///
/// Made when the partition is assigned and dropped before it is given up, always in the thread of the
/// worker that has the partition: so it may keep what belongs to the partition without a lock, and need
/// not be `Send`. A closure is one too; what it takes has to be annotated, as in `|record: RecordRef<'_>|`.
/// So is a `Box<dyn PartitionHandler>`, where the partition decides which handler it gets.
///
/// # Examples
///
/// Receipts for payments: sent one by one, waited for once per commit.
///
/// ```
/// use std::error::Error;
/// use topiclog::{
///     ConsumerOptions, Deliveries, EventLog, OffsetReset, PartitionHandler, Producer, Record, RecordRef,
///     TopicOptions,
/// };
///
/// struct Receipts {
///     producer: Producer,
///     number: u64,
///     sent: Deliveries,
/// }
///
/// impl PartitionHandler for Receipts {
///     fn handle(&mut self, payment: RecordRef<'_>) -> Result<(), Box<dyn Error + Send + Sync>> {
///         self.number += 1;
///         let text = format!("receipt {} of {}", self.number, payment.topic_partition());
///         self.sent.push(self.producer.send(Record::new(text))?);
///         Ok(())
///     }
///
///     // Each of them: `Producer::flush` does not tell of a write that had failed before it was called.
///     fn flush(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
///         Ok(std::mem::take(&mut self.sent).wait()?)
///     }
/// }
///
/// let log = EventLog::in_memory()?;
/// let payments = log.create_topic("payment-done", TopicOptions::new().partitions(3))?;
/// let receipts = log.create_topic("receipt-sent", TopicOptions::new())?;
/// payments.producer().send(Record::new("paid 10").key("user1"))?;
///
/// let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
/// let group = log.consumer_group("receipts")?.options(options);
/// let workers = group.workers(3).subscribe([&payments])?.until_drained();
/// workers.run_by_partition(|_| {
///     Ok(Receipts { producer: receipts.producer(), number: 0, sent: Deliveries::default() })
/// })?;
/// assert_eq!(receipts.partition(0)?.offsets().log_end, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait PartitionHandler {
    /// Handles one record. After an error the record is not committed, and all workers stop.
    ///
    /// # Errors
    ///
    /// Whatever the run shall end with.
    fn handle(
        &mut self,
        record: RecordRef<'_>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;

    /// Makes durable what was handled: the offsets of these records are committed next. Does nothing unless
    /// told otherwise.
    ///
    /// Called after the records of a poll, within them once per
    /// [`auto_commit`](super::ConsumerOptions::auto_commit), before the partition is given up, and, if a
    /// record failed or the handler panicked, for those before it.
    ///
    /// # Errors
    ///
    /// Whatever the run shall end with. Nothing is committed that was handled since the last commit.
    fn flush(&mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

impl<F> PartitionHandler for F
where
    F: FnMut(RecordRef<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>>,
{
    fn handle(
        &mut self,
        record: RecordRef<'_>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self(record)
    }
}

/// So that which one it is can be decided at run time, by the partition.
impl PartitionHandler for Box<dyn PartitionHandler + '_> {
    fn handle(
        &mut self,
        record: RecordRef<'_>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        (**self).handle(record)
    }

    fn flush(&mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        (**self).flush()
    }
}

/// What the workers of one run share.
#[derive(Debug)]
pub(super) struct WorkersRun {
    stop: Arc<Stop>,
    /// Whether it ends when everything is handled.
    drains: bool,
    /// How long records may be handled before those that are get committed.
    commit_interval: Option<Duration>,
    /// Where a partition of a topic is done, of a run that drains: its end when a worker first came to it.
    ends: Mutex<HashMap<(Id, u32), Offset>>,
    /// How many workers of a run that drains have nothing to do.
    resting: Mutex<usize>,
    /// What came first counts.
    failure: Mutex<Option<Error>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl WorkersRun {
    pub(super) fn new(stop: Arc<Stop>, drains: bool, commit_interval: Option<Duration>) -> Self {
        Self {
            stop,
            drains,
            commit_interval,
            ends: Mutex::default(),
            resting: Mutex::default(),
            failure: Mutex::default(),
            panic: Mutex::default(),
        }
    }

    /// Keeps a failure, and has all workers stop.
    pub(super) fn fail(&self, error: Error) {
        self.failure.lock().get_or_insert(error);
        self.stop.ask();
    }

    /// Does something of a worker's whose failure or panic ends the run.
    fn attempt(&self, act: impl FnOnce() -> Result<(), Error>) {
        match catch_unwind(AssertUnwindSafe(act)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.fail(error),
            Err(payload) => {
                self.panic.lock().get_or_insert(payload);
                self.stop.ask();
            }
        }
    }

    /// Lets a worker rest that has nothing to do, until there is news; ends the run if all of them rest.
    fn rest(&self, consumer: &mut Consumer) {
        {
            let mut resting = self.resting.lock();
            *resting += 1;
            // A partition that moves between two of them: the one has been told before the other rests.
            if *resting == self.stop.count() && !self.stop.has_group() {
                self.stop.ask();
            }
        }
        consumer.sleep(Duration::MAX, consumer.groups.now());
        *self.resting.lock() -= 1;
    }

    /// What the run came to: the panic of a handler goes on in the caller's thread.
    pub(super) fn finish(self) -> Result<(), Error> {
        if let Some(payload) = self.panic.into_inner() {
            std::panic::resume_unwind(payload);
        }
        self.failure.into_inner().map_or(Ok(()), Err)
    }
}

/// One worker's life: it works until it is to stop, commits what it has handled, and leaves.
pub(super) fn work<H: PartitionHandler>(
    run: &WorkersRun,
    make: &impl Fn(&TopicPartition) -> Result<H, Box<dyn std::error::Error + Send + Sync>>,
    mut consumer: Consumer,
) {
    let mut worker = Worker {
        run,
        make,
        handlers: BTreeMap::new(),
        handled: BTreeMap::new(),
        flushed: BTreeMap::new(),
    };
    run.attempt(|| worker.work(&mut consumer));
    run.attempt(|| worker.commit(&mut consumer));
    run.attempt(|| {
        drop(worker);
        consumer.close()
    });
}

struct Worker<'r, F, H> {
    run: &'r WorkersRun,
    make: &'r F,
    handlers: BTreeMap<TopicPartition, H>,
    /// Where the next record to handle is, of partitions whose handlers have something to flush.
    handled: BTreeMap<TopicPartition, Offset>,
    /// The same, of partitions that are flushed and not yet committed.
    flushed: BTreeMap<TopicPartition, CommittedOffset>,
}

impl<F, H> Worker<'_, F, H>
where
    F: Fn(&TopicPartition) -> Result<H, Box<dyn std::error::Error + Send + Sync>>,
    H: PartitionHandler,
{
    fn work(&mut self, consumer: &mut Consumer) -> Result<(), Error> {
        while !self.run.stop.is_asked() {
            let told = &mut |call, consumer: &mut Consumer, places: &[TopicPartition]| {
                self.hear(call, consumer, places)
            };
            let polled = consumer.poll_telling(Duration::ZERO, told);
            for (place, offset) in consumer.slots.take_resets() {
                // Perhaps nothing comes to be handled from there on, or the poll has failed at another
                // partition: the next run begins there all the same.
                self.flushed.insert(place, offset.into());
            }
            let records = match polled {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            };
            if self.run.stop.is_asked() {
                // The poll may have brought the very partition that another worker has just failed at.
                break;
            }
            let handled = self.handle(consumer, &records);
            let committed = self.commit(consumer);
            handled.and(committed)?;
            let renewals = consumer.take_renewals()?;
            if !renewals.is_empty() {
                self.flushed.extend(renewals);
                self.commit(consumer)?;
            }
            if self.run.drains && !consumer.is_gathering() {
                if self.is_through(consumer, records.is_empty())? {
                    self.run.rest(consumer);
                }
            } else if records.is_empty() {
                consumer.sleep(consumer.until_renewal(), consumer.groups.now());
            }
        }
        Ok(())
    }

    /// Is told, inside the poll, that partitions come or go.
    fn hear(
        &mut self,
        call: Call,
        consumer: &mut Consumer,
        places: &[TopicPartition],
    ) -> Result<(), Error> {
        let committed = match call {
            Call::Assigned => return self.gain(consumer, places),
            Call::Revoked => self.commit(consumer),
            Call::Lost => Ok(()),
        };
        for place in places {
            self.handled.remove(place);
            self.flushed.remove(place);
        }
        // All of them are out before the first is dropped: one that panics then takes the others along.
        let given_up = places
            .iter()
            .filter_map(|place| self.handlers.remove(place));
        drop(given_up.collect::<Vec<_>>());
        committed
    }

    fn gain(&mut self, consumer: &mut Consumer, places: &[TopicPartition]) -> Result<(), Error> {
        self.keep_beginnings(consumer, places)?;
        for place in places {
            if self.run.drains
                && let Some(key) = key(consumer, place)
                && !self.run.ends.lock().contains_key(&key)
            {
                let end = consumer.end(place)?;
                self.run.ends.lock().entry(key).or_insert(end);
            }
            let made = (self.make)(place);
            let handler = made.map_err(|error| Error::handler(error).in_partition(place))?;
            self.handlers.insert(place.clone(), handler);
        }
        Ok(())
    }

    /// Commits where partitions begin for which something else is committed, or nothing, before anything can
    /// fail or take long. A reset policy would have whoever comes next begin somewhere else, and pass over
    /// what came in between. So it would once what is committed has expired: what is old is renewed, since
    /// this worker may not live as long as it takes to the next renewal.
    fn keep_beginnings(
        &mut self,
        consumer: &mut Consumer,
        places: &[TopicPartition],
    ) -> Result<(), Error> {
        for place in places {
            let position = consumer.position(place)?;
            match consumer.kept(place)? {
                Some(kept) if kept.offset == position => {
                    if consumer.groups.is_to_be_renewed(&kept) {
                        self.flushed.insert(place.clone(), kept.into());
                    }
                }
                _ => drop(self.flushed.insert(place.clone(), position.into())),
            }
        }
        self.commit(consumer)
    }

    /// Hands what was polled to the handlers, partition by partition, and commits when it is time to. Stops
    /// early, after a record, if the run is to end or the group has something for this member.
    fn handle(&mut self, consumer: &mut Consumer, records: &Records) -> Result<(), Error> {
        let run = self.run;
        let interval = run.commit_interval.unwrap_or(Duration::MAX);
        let mut commit_at = consumer.groups.now().saturating_add(interval);
        let mut parts = records.by_partition();
        while let Some(part) = parts.next() {
            let place = part.topic_partition();
            let first = part.first_offset();
            let first = first.unwrap_or_else(|| part.next_offset());
            let (mut handler, mut next) = self.at(place, first)?;
            for record in &part {
                let offset = record.offset();
                let outcome = handler.handle(record);
                outcome
                    .map_err(|error| Error::handler(error).in_partition(place).at_offset(offset))?;
                *next = offset.next();
                let now = consumer.groups.now();
                consumer.say_alive(now);
                if run.stop.is_asked() || consumer.inbox.has_group() {
                    consumer.seek(place, *next)?;
                    for later in parts {
                        if let Some(first) = later.first_offset() {
                            consumer.seek(later.topic_partition(), first)?;
                        }
                    }
                    return Ok(());
                }
                if now >= commit_at {
                    self.commit(consumer)?;
                    commit_at = consumer.groups.now().saturating_add(interval);
                    (handler, next) = self.at(place, offset.next())?;
                }
            }
            *next = part.next_offset();
        }
        Ok(())
    }

    /// The handler of a partition, and where its next record is, which begins at `from`.
    fn at(&mut self, place: &TopicPartition, from: Offset) -> Result<(&mut H, &mut Offset), Error> {
        let handler = self.handlers.get_mut(place);
        let handler =
            handler.ok_or_else(|| Error::from(GroupError::NotAssigned).in_partition(place))?;
        let next = self.handled.entry(place.clone()).or_insert(from);
        Ok((handler, next))
    }

    /// Flushes and commits what was handled. That the group refuses it is no error: the next poll tells
    /// what was lost, and somebody else handles it once more.
    fn commit(&mut self, consumer: &mut Consumer) -> Result<(), Error> {
        let mut failure = None;
        while let Some((place, next)) = self.handled.pop_first() {
            let flushed = self.handlers.get_mut(&place).map_or(Ok(()), H::flush);
            match flushed {
                Ok(()) => drop(self.flushed.insert(place, next.into())),
                Err(error) => {
                    failure.get_or_insert_with(|| Error::handler(error).in_partition(&place));
                }
            }
        }
        if !self.flushed.is_empty() {
            // Those of a deleted topic, which the next poll tells to be lost, would have all of it refused.
            self.flushed.retain(|place, _| !consumer.is_gone(place));
            let offsets = self.flushed.iter();
            let offsets = offsets.map(|(place, next)| (place, next.clone()));
            match consumer.commit_offsets(offsets) {
                Ok(()) => self.flushed.clear(),
                Err(error) if error.kind() == ErrorKind::Fenced => {}
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Whether a run that drains has nothing more to do here. What is done is paused, so that what is
    /// sent meanwhile does not keep it going.
    fn is_through(&self, consumer: &mut Consumer, found_nothing: bool) -> Result<bool, Error> {
        let mut open = false;
        for place in consumer.assignment() {
            let key = key(consumer, &place);
            let end = key.and_then(|key| self.run.ends.lock().get(&key).copied());
            if consumer.is_past(&place, end.unwrap_or_default())? {
                consumer.pause([&place])?;
            } else {
                open = true;
            }
        }
        // Only a partition that goes back to where it was could bring nothing for ever.
        Ok(!open || (found_nothing && !consumer.has_ready()))
    }
}

/// What tells an assigned partition from that of another topic of the name.
fn key(consumer: &Consumer, place: &TopicPartition) -> Option<(Id, u32)> {
    let topic = consumer.topic_of(place)?;
    Some((topic.id, place.partition()))
}
