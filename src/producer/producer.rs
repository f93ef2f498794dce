//! [`Producer`]: sends records to a topic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::delivery::Delivery;
use super::partitioner::{KeyHash, Partitioner};
use crate::error::{Error, InputError, LogError};
use crate::limits::MAX_BLOCK_DEFAULT;
use crate::record::{Record, RecordMetadata, SendError};
use crate::topic::{Catalog, Topic, TopicState};

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
    partitioner: Arc<dyn Partitioner>,
    max_block: Duration,
    closed: Arc<AtomicBool>,
}

impl Topic {
    /// A producer for this topic, with the default partitioner [`KeyHash`].
    pub fn producer(&self) -> Producer {
        let seed = self.catalog.environment.random.next();
        Producer {
            _catalog: Arc::clone(&self.catalog),
            topic: Arc::clone(&self.state),
            partitioner: Arc::new(KeyHash::with_seed(seed)),
            max_block: MAX_BLOCK_DEFAULT,
            closed: Arc::default(),
        }
    }
}

impl Producer {
    /// Sets the partitioner, for records that do not name their partition.
    #[must_use]
    pub fn partitioner(mut self, partitioner: impl Partitioner) -> Self {
        self.partitioner = Arc::new(partitioner);
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
    /// The record comes back with the error: [`InvalidInput`](crate::ErrorKind::InvalidInput) for a
    /// record that is too large, has a negative or too distant timestamp, or goes to a partition that
    /// does not exist; [`Timeout`](crate::ErrorKind::Timeout) if there was no room for `max_block`; and
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
        if self.closed.load(Ordering::Relaxed) {
            return Err(Error::from(LogError::Closed).in_topic(&self.topic.name));
        }
        let partitions = self.topic.partition_count();
        let partition = match record.partition_asked() {
            Some(partition) => partition,
            None => self
                .partitioner
                .partition(&self.topic.name, record, partitions),
        };
        let Some(log) = self.topic.log(partition) else {
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
            return Err(Error::from(error).in_topic(&self.topic.name));
        };
        log.enqueue(record, self.max_block).map(Delivery::new)
    }

    /// Sends a record and waits for it: [`send`](Self::send), then [`Delivery::wait`].
    ///
    /// # Errors
    ///
    /// Those of both. The record comes back from either.
    pub fn send_and_wait(&self, record: Record<'_>) -> Result<RecordMetadata, SendError> {
        match self.try_send(&record).and_then(|delivery| delivery.wait()) {
            Ok(metadata) => Ok(metadata),
            Err(error) => Err(SendError::new(record, error)),
        }
    }

    /// Waits until everything sent to the topic before, by any producer, is acknowledged or has failed.
    ///
    /// # Errors
    ///
    /// The last failure among it; each [`Delivery`] tells its own.
    pub fn flush(&self) -> Result<(), Error> {
        let mut failure = None;
        for log in self.topic.logs() {
            failure = log.flush().err().or(failure);
        }
        failure.map_or(Ok(()), Err)
    }

    /// Flushes, and refuses what is sent through this producer or a clone of it from now on.
    ///
    /// # Errors
    ///
    /// Those of [`flush`](Self::flush).
    pub fn close(&self) -> Result<(), Error> {
        self.closed.store(true, Ordering::Relaxed);
        self.flush()
    }
}
