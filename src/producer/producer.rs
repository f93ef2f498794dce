//! [`Producer`]: sends records to a topic.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::delivery::{Deliveries, Delivery};
use super::partitioner::{KeyHash, Partitioner};
use crate::error::{Error, ErrorKind, InputError, LogError, TopicError};
use crate::limits::MAX_BLOCK_DEFAULT;
use crate::log::Log;
use crate::name::TopicName;
use crate::record::{Record, RecordMetadata, SendError};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::topic::{Catalog, Topic, TopicState};

/// How many records [`Producer::send_all`] takes from its iterator before it gives them to their batches.
const RUN_RECORDS: usize = 64;

/// Sends records to a topic.
///
/// Cheap to clone, and free to be used from many threads; the clones share their partitioner. Records
/// sent to one partition by one thread are written in that order.
///
/// # Examples
///
/// ```
/// use topiclog::{EventLog, Record, RoundRobin, TopicOptions};
///
/// let log = EventLog::in_memory()?;
/// let payments = log.create_topic("payment-done", TopicOptions::new().partitions(3))?;
///
/// let producer = payments.producer();
/// producer.send(Record::new("hi there").key("user1"))?;
/// let at = producer.send(Record::new("paid 10").key("user1"))?.wait()?;
/// assert_eq!(at.offset.value(), 1); // the same key, the same partition
///
/// let even = payments.producer().partitioner(RoundRobin::new());
/// even.send(Record::new("anywhere"))?;
/// even.flush()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Producer {
    /// Keeps what the topic's logs need while there are senders.
    _catalog: Arc<Catalog>,
    topic: Arc<TopicState>,
    partitioner: Chooser,
    max_block: Duration,
    closed: Arc<AtomicBool>,
}

/// What chooses the partition of a record that names none.
#[derive(Clone, Debug)]
enum Chooser {
    /// The default, whose code the compiler puts in where it is asked.
    KeyHash(Arc<KeyHash>),
    Own(Arc<dyn Partitioner>),
}

impl Chooser {
    #[inline]
    fn partition(&self, topic: &TopicName, record: &Record<'_>, partitions: u32) -> u32 {
        match self {
            Self::KeyHash(key_hash) => key_hash.partition(topic, record, partitions),
            Self::Own(own) => own.partition(topic, record, partitions),
        }
    }
}

impl Topic {
    /// A producer for this topic, with the default partitioner [`KeyHash`]. That of an internal topic
    /// refuses every record.
    pub fn producer(&self) -> Producer {
        let seed = self.catalog.environment.random.next();
        let batch_bytes = self.state.options().batch_bytes;
        // As if it were closed, so that a send has one thing to look at.
        let closed = self.state.name.is_internal();
        Producer {
            _catalog: Arc::clone(&self.catalog),
            topic: Arc::clone(&self.state),
            partitioner: Chooser::KeyHash(Arc::new(KeyHash::for_batches(batch_bytes, seed))),
            max_block: MAX_BLOCK_DEFAULT,
            closed: Arc::new(AtomicBool::new(closed)),
        }
    }
}

impl Producer {
    /// The name of the topic that it sends to.
    pub fn topic(&self) -> &TopicName {
        &self.topic.name
    }

    /// Sets the partitioner, for records that do not name their partition.
    #[must_use]
    pub fn partitioner(mut self, partitioner: impl Partitioner) -> Self {
        self.partitioner = Chooser::Own(Arc::new(partitioner));
        self
    }

    /// Sets how long a send may wait for room when the log's buffer is full. Defaults to 60 seconds.
    /// Kafka: `max.block.ms`.
    #[must_use]
    pub fn max_block(mut self, max_block: Duration) -> Self {
        self.max_block = max_block;
        self
    }

    /// Sends a record. Returns once it has its place in a batch, which is at once unless the buffer is
    /// full or it is this thread's turn to write; ask the [`Delivery`] for more.
    ///
    /// The partition is the one that the record names, else the partitioner's.
    ///
    /// # Durability
    ///
    /// None yet: see [`Delivery::wait`] and [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// The record comes back with the error: [`RecordTooLarge`](crate::ErrorKind::RecordTooLarge);
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a record that has a negative or too distant
    /// timestamp, or goes to a partition that does not exist or to an internal topic;
    /// [`Timeout`](crate::ErrorKind::Timeout) if there was no room for `max_block`; and
    /// [`Poisoned`](crate::ErrorKind::Poisoned), [`Corrupt`](crate::ErrorKind::Corrupt),
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly), [`Closed`](crate::ErrorKind::Closed) or
    /// [`NotFound`](crate::ErrorKind::NotFound) if the partition takes no records.
    pub fn send(&self, record: Record<'_>) -> Result<Delivery, SendError> {
        match self.try_send(&record) {
            Ok(delivery) => Ok(delivery),
            Err(error) => Err(SendError::new(record, error)),
        }
    }

    #[inline]
    fn try_send(&self, record: &Record<'_>) -> Result<Delivery, Error> {
        self.check_open()?;
        let log = self.log_for(record)?;
        log.enqueue(record, Some(self.max_block)).map(Delivery)
    }

    #[inline]
    fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(self.refusal());
        }
        Ok(())
    }

    #[cold]
    fn refusal(&self) -> Error {
        let error = if self.topic.name.is_internal() {
            Error::from(TopicError::Internal)
        } else {
            LogError::ProducerClosed.into()
        };
        error.in_topic(&self.topic.name)
    }

    /// The log of the partition that a record goes to.
    #[inline]
    fn log_for(&self, record: &Record<'_>) -> Result<&Arc<Log>, Error> {
        self.log_of(self.choose(record, self.topic.partition_count()), record)
    }

    #[inline]
    fn choose(&self, record: &Record<'_>, partitions: u32) -> u32 {
        match record.partition_asked() {
            Some(partition) => partition,
            None => self
                .partitioner
                .partition(&self.topic.name, record, partitions),
        }
    }

    /// The log of the partition that was chosen for a record.
    #[inline]
    fn log_of(&self, partition: u32, record: &Record<'_>) -> Result<&Arc<Log>, Error> {
        self.topic.log(partition).ok_or_else(|| {
            let partitions = self.topic.partition_count();
            let error = if record.partition_asked().is_some() {
                InputError::Partition {
                    partition,
                    partitions,
                }
            } else {
                InputError::Partitioner {
                    partition,
                    partitions,
                }
            };
            Error::from(error).in_topic(&self.topic.name)
        })
    }

    /// Sends many records: the same as [`send`](Self::send) for each of them in order, but cheaper, since
    /// consecutive records to one partition are put into its batch together.
    ///
    /// # Examples
    ///
    /// ```
    /// use topiclog::{EventLog, Record, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("t", TopicOptions::new())?;
    /// let lines = ["one", "two", "three"];
    /// let deliveries = topic.producer().send_all(lines.map(Record::new))?;
    /// assert_eq!(deliveries.len(), 3);
    /// deliveries.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Durability
    ///
    /// None yet: see [`Deliveries::wait`].
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send), from the first record that is refused. The error tells what was
    /// sent before it, and hands that record back, with those after it that had been taken from the
    /// iterator: some 60 at most. What had not been taken is still in there, so whoever wants to go on
    /// passes the iterator by `&mut`:
    ///
    /// ```
    /// # use topiclog::{EventLog, Record, TopicOptions};
    /// # let log = EventLog::in_memory()?;
    /// # let topic = log.create_topic("t", TopicOptions::new().batch_bytes_max(512))?;
    /// # let producer = topic.producer();
    /// let large = "x".repeat(1000);
    /// let mut lines = ["one", &large, "two"].into_iter().map(Record::new);
    /// if let Err(error) = producer.send_all(&mut lines) {
    ///     let (_, unsent, why) = error.into_parts();
    ///     eprintln!("{why}");
    ///     // All but the one that was refused.
    ///     producer.send_all(unsent.into_iter().skip(1).chain(lines))?;
    /// }
    /// # topic.flush()?;
    /// # assert_eq!(topic.partition(0)?.offsets().log_end, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_all<'r>(
        &self,
        records: impl IntoIterator<Item = Record<'r>>,
    ) -> Result<Deliveries, SendAllError> {
        let mut records = records.into_iter();
        let mut deliveries = Deliveries::default();
        let mut run = Vec::new();
        loop {
            // The iterator is the caller's code: it is never called with a lock held.
            run.clear();
            run.extend(records.by_ref().take(RUN_RECORDS));
            if run.is_empty() {
                return Ok(deliveries);
            }
            if let Err((sent, error)) = self.send_run(&run, &mut deliveries) {
                let unsent = run.into_iter().skip(sent);
                let unsent = unsent.map(Record::into_owned).collect();
                return Err(SendAllError::new(deliveries, unsent, error));
            }
        }
    }

    /// Sends these; with an error comes how many were sent before it.
    fn send_run(
        &self,
        records: &[Record<'_>],
        deliveries: &mut Deliveries,
    ) -> Result<(), (usize, Error)> {
        self.check_open().map_err(|error| (0, error))?;
        let partitions = self.topic.partition_count();
        let (mut start, mut current) = (0, None);
        let mut send = |partition, start: usize, end: usize| {
            let run = records.get(start..end).unwrap_or_default();
            let Some(first) = run.first() else {
                return Ok(());
            };
            let log = self
                .log_of(partition, first)
                .map_err(|error| (start, error))?;
            let (taken, result) = log.enqueue_run(run, self.max_block, &mut deliveries.tickets);
            deliveries.count += taken;
            result.map_err(|error| (start + taken, error))
        };
        for (index, record) in records.iter().enumerate() {
            // The partitioner is the caller's code too, so it is asked before the partition is locked.
            let next = self.choose(record, partitions);
            if current != Some(next) {
                if let Some(current) = current {
                    send(current, start, index)?;
                }
                (start, current) = (index, Some(next));
            }
        }
        current.map_or(Ok(()), |current| send(current, start, records.len()))
    }

    /// Sends a record and waits for it: [`send`](Self::send), then [`Delivery::wait`].
    ///
    /// # Durability
    ///
    /// On return without an error the record has reached its topic's durability.
    ///
    /// # Errors
    ///
    /// Those of both. The record comes back from either.
    pub fn send_and_wait(&self, record: Record<'_>) -> Result<RecordMetadata, SendError> {
        match self.try_send_and_wait(&record) {
            Ok(metadata) => Ok(metadata),
            Err(error) => Err(SendError::new(record, error)),
        }
    }

    fn try_send_and_wait(&self, record: &Record<'_>) -> Result<RecordMetadata, Error> {
        self.check_open()?;
        let log = self.log_for(record)?;
        log.send_and_wait(record, self.max_block)
    }

    /// Waits until everything sent to the topic before, by any producer, is acknowledged or has failed.
    ///
    /// A success does not say that all of it was written: what failed before the call, because its linger had
    /// ended, is reported by its own [`Delivery`] only, as Kafka's flush leaves it to the callbacks. Before
    /// a commit, or wherever a lost record matters, wait for every [`Delivery`], or for the [`Deliveries`] of
    /// [`send_all`](Self::send_all).
    ///
    /// # Durability
    ///
    /// On return everything sent before that has not failed has reached the topic's durability; with
    /// [`Memory`](crate::Durability::Memory) it is written to the operating system all the same.
    ///
    /// # Errors
    ///
    /// The last failure that happens during the call. In a topic of level
    /// [`Memory`](crate::Durability::Memory) a record is acknowledged before it is written: if that failed
    /// since the last flush, this is where it is told, once.
    pub fn flush(&self) -> Result<(), Error> {
        self.topic.flush()
    }

    /// Flushes, and refuses what is sent through this producer or a clone of it from now on.
    ///
    /// # Durability
    ///
    /// That of [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// Those of [`flush`](Self::flush).
    pub fn close(&self) -> Result<(), Error> {
        self.closed.store(true, Ordering::Relaxed);
        self.flush()
    }
}

/// Records of which some were refused: what was sent, what was not, and why.
///
/// Converts into [`Error`], so `?` works in a function that returns either. Where `?` makes something else of
/// it, a `Box<dyn Error>` for instance, the [`Error`] is its [`source`](std::error::Error::source), with the
/// same text: `send_all(records).map_err(Error::from)?` hands on the [`Error`] itself, as with [`SendError`].
pub struct SendAllError(Box<Refused>);

struct Refused {
    sent: Deliveries,
    unsent: Vec<Record<'static>>,
    error: Error,
}

impl SendAllError {
    fn new(sent: Deliveries, unsent: Vec<Record<'static>>, error: Error) -> Self {
        Self(Box::new(Refused {
            sent,
            unsent,
            error,
        }))
    }

    /// The records before the one that was refused.
    pub fn sent(&self) -> &Deliveries {
        &self.0.sent
    }

    /// The one that was refused, and those after it that had been taken from the iterator.
    pub fn unsent(&self) -> &[Record<'static>] {
        &self.0.unsent
    }

    /// What to do about it: that of the [`error`](Self::error).
    pub fn kind(&self) -> ErrorKind {
        self.0.error.kind()
    }

    /// Why it was refused.
    pub fn error(&self) -> &Error {
        &self.0.error
    }

    /// All three, to be sent again or kept.
    pub fn into_parts(self) -> (Deliveries, Vec<Record<'static>>, Error) {
        let refused = *self.0;
        (refused.sent, refused.unsent, refused.error)
    }
}

/// Says how many records there are, not what is in them.
impl fmt::Debug for SendAllError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendAllError")
            .field("sent", &self.0.sent.len())
            .field("unsent", &self.0.unsent.len())
            .field("error", &self.0.error)
            .finish()
    }
}

/// Says what its source says too: whoever prints only this learns what to do.
impl fmt::Display for SendAllError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}

impl std::error::Error for SendAllError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.error())
    }
}

impl From<SendAllError> for Error {
    fn from(error: SendAllError) -> Self {
        error.0.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventLog, Offset, RoundRobin, TopicOptions};

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let log = EventLog::in_memory().unwrap();
        let topic = log.create_topic("t", TopicOptions::new()).unwrap();
        let producer = topic.producer();
        assert_eq!(producer.max_block, Duration::from_secs(60));
        let partitioner = format!("{:?}", producer.partitioner);
        assert!(partitioner.starts_with("KeyHash"), "{partitioner}");
    }

    fn values(topic: &Topic, partition: u32) -> Vec<Vec<u8>> {
        let partition = topic.partition(partition).unwrap();
        let scanned: Vec<_> = partition.scan(Offset::ZERO).map(Result::unwrap).collect();
        let records = scanned.iter().flatten();
        records
            .map(|record| record.value().unwrap().to_vec())
            .collect()
    }

    #[test]
    fn a_sender_waits_a_minute_for_room_unless_told_otherwise() {
        let log = EventLog::in_memory().unwrap();
        let topic = log.create_topic("t", TopicOptions::new()).unwrap();
        assert_eq!(topic.producer().max_block, Duration::from_secs(60));
    }

    #[test]
    fn records_sent_together_are_in_order_whatever_their_partitions() {
        let log = EventLog::in_memory().unwrap();
        let options = TopicOptions::new().partitions(3).batch_bytes(200);
        let topic = log.create_topic("t", options).unwrap();
        let producer = topic.producer().partitioner(RoundRobin::new());
        let numbers: Vec<String> = (0..300).map(|number| number.to_string()).collect();
        let deliveries = producer.send_all(numbers.iter().map(Record::new)).unwrap();
        assert_eq!(deliveries.len(), 300);
        deliveries.wait().unwrap();
        for partition in 0..3 {
            let expected: Vec<_> = numbers
                .iter()
                .skip(crate::convert::to_usize(partition))
                .step_by(3)
                .collect();
            let found = values(&topic, partition);
            assert!(found.iter().eq(expected.iter().map(|text| text.as_bytes())));
        }
        let one = log.create_topic("one", TopicOptions::new()).unwrap();
        one.producer()
            .send_all(numbers.iter().map(Record::new))
            .unwrap()
            .wait()
            .unwrap();
        assert_eq!(values(&one, 0).len(), 300);
        assert!(one.producer().send_all([]).unwrap().is_empty());
    }

    #[test]
    fn a_record_that_is_refused_comes_back_and_all_others_can_be_sent() {
        let log = EventLog::in_memory().unwrap();
        let options = TopicOptions::new().batch_bytes_max(512);
        let topic = log.create_topic("t", options).unwrap();
        let large = "x".repeat(600);
        let mut all = (0..200).map(|number| match number {
            100 => Record::new(large.as_str()),
            150 => Record::new("elsewhere").partition(7),
            _ => Record::new(number.to_string()),
        });
        let producer = topic.producer();
        let error = producer.send_all(&mut all).unwrap_err();
        assert_eq!(error.error().kind(), ErrorKind::RecordTooLarge);
        assert_eq!(error.sent().len(), 100);
        assert_eq!(error.unsent()[0].value_bytes(), Some(large.as_bytes()));
        error.sent().wait().unwrap();
        let (_, unsent, _) = error.into_parts();
        let rest = unsent.into_iter().skip(1).chain(all);
        let error = producer.send_all(rest).unwrap_err();
        assert_eq!(error.sent().len(), 49);
        assert_eq!(error.unsent()[0].partition_asked(), Some(7));
        producer.close().unwrap();
        assert_eq!(values(&topic, 0).len(), 149);
        let error = producer.send_all([Record::new("late")]).unwrap_err();
        assert_eq!(error.error().kind(), ErrorKind::Closed);
        assert_eq!(error.unsent().len(), 1);
    }
}
