//! [`Partition`]: the handle on one partition.

use std::sync::Arc;

use super::catalog::Catalog;
use super::reader::{PartitionReader, ReadBuffers};
use super::records::{PartitionRecords, Records};
use super::state::TopicState;
use crate::error::{Error, InputError};
use crate::log::{Log, LogOffsets};
use crate::name::{TopicName, TopicPartition};
use crate::offset::Offset;
use crate::timestamp::Timestamp;

/// How much [`Partition::read`] and [`Partition::scan`] read at once.
const READ_BYTES: usize = 1024 * 1024;

/// One partition of a topic: an ordered log of records.
///
/// Cheap to clone. Reading here needs no group and moves nobody's position; a
/// [`Consumer`](crate::Consumer) keeps positions and waits.
///
/// # Examples
///
/// ```
/// use topiclog::{EventLog, Offset, Record, TopicOptions};
///
/// let log = EventLog::in_memory()?;
/// let topic = log.create_topic("t", TopicOptions::new())?;
/// for value in ["a", "b", "c"] {
///     topic.producer().send(Record::new(value))?;
/// }
/// topic.flush()?;
/// let partition = topic.partition(0)?;
/// assert_eq!(partition.offsets().high_watermark, 3);
/// let mut seen = 0;
/// for records in partition.scan(Offset::new(1)) {
///     seen += records?.len();
/// }
/// assert_eq!(seen, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Partition {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) topic: Arc<TopicState>,
    pub(crate) log: Arc<Log>,
}

impl Partition {
    pub(super) fn new(
        catalog: &Arc<Catalog>,
        topic: &Arc<TopicState>,
        partition: u32,
    ) -> Result<Self, Error> {
        let Some(log) = topic.log(partition) else {
            let partitions = topic.partition_count();
            let error = InputError::Partition {
                partition,
                partitions,
            };
            return Err(Error::from(error).in_topic(&topic.name));
        };
        let (catalog, topic, log) = (Arc::clone(catalog), Arc::clone(topic), Arc::clone(log));
        Ok(Self {
            catalog,
            topic,
            log,
        })
    }

    /// The name of its topic.
    pub fn topic(&self) -> &TopicName {
        self.log.partition().topic()
    }

    /// Its topic and number.
    pub fn topic_partition(&self) -> &TopicPartition {
        self.log.partition()
    }

    /// Its number in the topic, counted from 0.
    pub fn number(&self) -> u32 {
        self.log.partition().partition()
    }

    /// Where it begins and ends at this moment.
    pub fn offsets(&self) -> LogOffsets {
        self.look();
        self.log.offsets()
    }

    /// The bytes of its segments, up to their last batches. The last file may be longer by less than 1 MiB.
    pub fn size_bytes(&self) -> u64 {
        self.look();
        self.log.size_bytes()
    }

    /// The number of its segments.
    pub fn segment_count(&self) -> usize {
        self.look();
        self.log.segment_count()
    }

    /// Why it takes no records, if it does not: it is damaged, poisoned, closed or read-only.
    pub fn refusal(&self) -> Option<Error> {
        self.log.refusal()
    }

    /// Reads records from an offset on, about 1 MiB at most; none at the high watermark. Does not wait, and
    /// does not see what still lies in a batch, where a poll has it written: [flush](crate::Topic::flush)
    /// first.
    ///
    /// # Errors
    ///
    /// [`OffsetOutOfRange`](crate::ErrorKind::OffsetOutOfRange) below the log start and beyond the log
    /// end; [`Corrupt`](crate::ErrorKind::Corrupt) where the record is damaged;
    /// [`NotFound`](crate::ErrorKind::NotFound) if the topic was deleted and
    /// [`Closed`](crate::ErrorKind::Closed) if the log was closed.
    pub fn read(&self, from: Offset) -> Result<Records, Error> {
        self.check_readable()?;
        let mut records = Records::default();
        let mut reader = PartitionReader::new(Arc::clone(&self.log), from);
        if let Some(part) = self.read_next(&mut reader, &mut ReadBuffers::default())? {
            records.push(part);
        }
        Ok(records)
    }

    fn read_next(
        &self,
        reader: &mut PartitionReader,
        buffers: &mut ReadBuffers,
    ) -> Result<Option<PartitionRecords>, Error> {
        self.check_there()?;
        buffers.begin_turn(READ_BYTES);
        let read = reader.next(buffers, usize::MAX, READ_BYTES);
        read.map_err(|error| self.explain(error))
    }

    /// Reads from an offset at least to the end that the partition has at this moment, piece by piece. What
    /// still lies in a batch is not seen: [flush](crate::Topic::flush) first.
    ///
    /// An error, one of those of [`read`](Self::read), ends the iteration. Behind damage another scan can go
    /// on from the [next readable](Self::next_readable) offset.
    pub fn scan(&self, from: Offset) -> impl Iterator<Item = Result<Records, Error>> + use<> {
        let reader = PartitionReader::new(Arc::clone(&self.log), from);
        Scan {
            next: Some(self.check_readable().map(|()| reader)),
            from,
            end: self.log.high_watermark(),
            partition: self.clone(),
            buffers: ReadBuffers::default(),
        }
    }

    /// The first offset from this one on that can be read: the way on behind damage that a read, a scan or a
    /// poll has met, of which [`Error::offset`] says where it begins. Where nothing is damaged it is `from`,
    /// and where nothing can be read behind the damage the high watermark, from which on records may still
    /// come.
    ///
    /// That is the next whole batch, which readers do not find before they have asked here if it is the
    /// header of a batch that is damaged, so that nobody knows how long it is. May read the rest of the
    /// segment.
    ///
    /// # Examples
    ///
    /// Copies what can be read, and tells what cannot. Where it says `Ok`, all of it has arrived.
    ///
    /// ```
    /// use topiclog::{
    ///     Deliveries, ErrorKind, EventLog, Offset, Partition, Producer, Record, TopicOptions,
    /// };
    ///
    /// type Lost = Vec<(Offset, Offset)>;
    ///
    /// fn copy(from: &Partition, to: &Producer) -> Result<Lost, Box<dyn std::error::Error>> {
    ///     let (mut lost, mut sent) = (Vec::new(), Deliveries::default());
    ///     let mut next = from.offsets().log_start;
    ///     loop {
    ///         let mut damage = None;
    ///         for records in from.scan(next) {
    ///             match records {
    ///                 Ok(records) => {
    ///                     for record in &records {
    ///                         sent.push(to.send(record.to_record())?);
    ///                     }
    ///                 }
    ///                 Err(error) if error.kind() == ErrorKind::Corrupt => damage = error.offset(),
    ///                 Err(error) => return Err(error.into()),
    ///             }
    ///         }
    ///         let Some(begin) = damage else {
    ///             sent.wait()?; // each of them: a flush does not tell of a write that had failed before it
    ///             to.flush()?; // at level `Memory` nothing else waits for the writes
    ///             return Ok(lost);
    ///         };
    ///         next = from.next_readable(begin)?;
    ///         lost.push((begin, next));
    ///     }
    /// }
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("t", TopicOptions::new())?;
    /// topic.producer().send_and_wait(Record::new("x"))?;
    /// let anew = log.create_topic("anew", TopicOptions::new())?;
    /// assert_eq!(copy(&topic.partition(0)?, &anew.producer())?, []);
    /// assert_eq!(anew.partition(0)?.offsets().log_end, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read), but for [`Corrupt`](crate::ErrorKind::Corrupt).
    pub fn next_readable(&self, from: Offset) -> Result<Offset, Error> {
        self.check_readable()?;
        let found = self.log.next_readable(from);
        found.map_err(|error| self.explain(error))
    }

    /// The first record whose timestamp is at least `timestamp`: its offset and time; `None` if all are
    /// older. Kafka: `offsetsForTimes`.
    ///
    /// Where the log start was raised into the middle of a segment Kafka may answer none although a
    /// later record fits; this call finds it.
    ///
    /// What is younger than an hour, say, is found from [`EventLog::now`](crate::EventLog::now), which has an
    /// example.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a negative timestamp; else those of
    /// [`read`](Self::read) for what is there.
    pub fn offset_for_time(
        &self,
        timestamp: Timestamp,
    ) -> Result<Option<(Offset, Timestamp)>, Error> {
        self.check_readable()?;
        timestamp.check_not_negative()?;
        let found = self.log.offset_for_time(timestamp);
        found.map_err(|error| self.explain(error))
    }

    /// The record with the largest timestamp, the first of them if there are several: its offset and time;
    /// `None` without records. Kafka: `OffsetSpec.maxTimestamp`, KIP-734.
    ///
    /// Only records that can be read count, where Kafka may name one below the log start. While a part of
    /// the newest segment is not to be read yet, that segment is gone through.
    ///
    /// # Examples
    ///
    /// ```
    /// use topiclog::{EventLog, Record, Timestamp, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("t", TopicOptions::new())?;
    /// for millis in [1000, 3000, 2000] {
    ///     let at = Timestamp::from_millis(millis);
    ///     topic.producer().send_and_wait(Record::new("x").timestamp(at))?;
    /// }
    /// let newest = topic.partition(0)?.offset_of_max_timestamp()?;
    /// assert_eq!(newest.map(|(offset, time)| (offset.value(), time.as_millis())), Some((1, 3000)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read) for what is there.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<(Offset, Timestamp)>, Error> {
        self.check_readable()?;
        let found = self.log.offset_of_max_timestamp();
        found.map_err(|error| self.explain(error))
    }

    /// Removes all records below an offset, which becomes the log start; segments that lie wholly below
    /// it are deleted. The last one, which is written to, stays with all that was in it, up to
    /// [`segment_bytes`](crate::TopicOptions::segment_bytes), unless nothing is left of the log at all: then
    /// it goes if it has 64 KiB or more, and the disk has room for the first bytes of another, which a full
    /// one may not have. Returns the log start. Kafka: `deleteRecords`, KIP-107, which always
    /// leaves the last one.
    ///
    /// A lower offset than the present start changes nothing. What a consumer has read ahead, up to
    /// [`fetch_bytes`](crate::ConsumerOptions::fetch_bytes) of each partition, it still hands out, as Kafka's
    /// does, and what was handed out stays readable in its [`Records`].
    ///
    /// # Examples
    ///
    /// What was forwarded makes room for what comes:
    ///
    /// ```
    /// use topiclog::{ConsumerOptions, EventLog, OffsetReset, Record, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("to-forward", TopicOptions::new().retention(None))?;
    /// topic.producer().send_all((0..1000).map(|_| Record::new(vec![7; 200])))?.wait()?;
    /// let partition = topic.partition(0)?;
    /// assert!(partition.size_bytes() > 200_000);
    ///
    /// let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    /// let mut consumer = log.consumer().options(options).assign([&partition])?;
    /// for records in consumer.drain()?.collect::<Result<Vec<_>, _>>()? {
    ///     // Forwarded, and answered.
    ///     for part in records.by_partition() {
    ///         partition.delete_records(part.next_offset())?;
    ///     }
    /// }
    /// assert!(partition.size_bytes() < 1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Durability
    ///
    /// The new start is on disk on return. After an error of the storage the old or the new one may hold when
    /// the log is opened again.
    ///
    /// # Errors
    ///
    /// [`OffsetOutOfRange`](crate::ErrorKind::OffsetOutOfRange) beyond the high watermark;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for an internal topic;
    /// [`NotFound`](crate::ErrorKind::NotFound) if the topic was deleted;
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly), [`Closed`](crate::ErrorKind::Closed),
    /// [`Poisoned`](crate::ErrorKind::Poisoned), and what the storage gives.
    pub fn delete_records(&self, upto: Offset) -> Result<Offset, Error> {
        self.check_there()?;
        self.topic.check_changeable()?;
        let start = self.log.delete_records(upto);
        start.map_err(|error| self.explain(error))
    }

    /// Makes everything written so far durable, whatever the topic's level.
    ///
    /// # Errors
    ///
    /// If the sync fails the partition is [`Poisoned`](crate::ErrorKind::Poisoned) until it is reopened;
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly), [`Closed`](crate::ErrorKind::Closed).
    pub fn sync(&self) -> Result<(), Error> {
        self.check_there()?;
        self.log.sync().map_err(|error| self.explain(error))
    }

    /// Of a partition that somebody else writes to, what it holds is only known by looking. Where that
    /// fails, what was known stands.
    fn look(&self) {
        let _older_at_worst = self.catalog.follow_log(&self.topic, &self.log);
    }

    fn check_readable(&self) -> Result<(), Error> {
        self.check_there()?;
        let followed = self.catalog.follow_log(&self.topic, &self.log);
        followed.map_err(|error| self.explain(error))
    }

    /// The topic may have been deleted, and with it what was to be read.
    fn explain(&self, error: Error) -> Error {
        self.catalog.explain(&self.topic, error)
    }

    fn check_there(&self) -> Result<(), Error> {
        if self.topic.is_deleted() {
            return Err(self.topic.gone());
        }
        self.catalog.check_open()
    }
}

/// What [`Partition::scan`] gives.
struct Scan {
    partition: Partition,
    /// `None` once it is over.
    next: Option<Result<PartitionReader, Error>>,
    from: Offset,
    end: Offset,
    buffers: ReadBuffers,
}

impl Scan {
    fn piece(&mut self) -> Result<Option<Records>, Error> {
        let Some(mut reader) = self.next.take().transpose()? else {
            return Ok(None);
        };
        // One that begins beyond the end is refused by its first read.
        let at = reader.position();
        if at == self.end || at > self.end.max(self.from) {
            return Ok(None);
        }
        let read = self.partition.read_next(&mut reader, &mut self.buffers)?;
        Ok(read.map(|part| {
            self.next = Some(Ok(reader));
            let mut records = Records::default();
            records.push(part);
            records
        }))
    }
}

impl Iterator for Scan {
    type Item = Result<Records, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.piece().transpose()
    }
}
