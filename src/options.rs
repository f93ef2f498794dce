//! Settings: plain data with defaults, checked when something is made with them.
//!
//! Components (a storage, a clock, a partitioner) are not settings; they go on builders.

use std::fmt;
use std::time::Duration;

use crate::convert::to_usize;
use crate::error::Error;
use crate::limits::{
    BATCH_BYTES_DEFAULT, BATCH_BYTES_LEAST, BATCH_BYTES_LIMIT, BATCH_BYTES_MAX_DEFAULT,
    INDEX_INTERVAL_BYTES_DEFAULT, LINGER_DEFAULT, PARTITIONS_MAX, RETENTION_DEFAULT,
    SEGMENT_AGE_DEFAULT, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
    TIMESTAMP_AFTER_MAX_DEFAULT,
};
use crate::timestamp::TimestampType;

/// What an acknowledged record survives, and when consumers see it. Set per topic.
///
/// A consumer is handed a record only once it has reached its topic's level, so nobody acts on a record
/// that the fault named here could still take away.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Durability {
    /// Acknowledged once it lies in this process's memory. Survives nothing: not the end of the process,
    /// not a full disk. It is written when 1 MiB of batches is full or its linger ends; if that fails,
    /// the next [`flush`](crate::Producer::flush) says so.
    Memory,
    /// Acknowledged once written to the operating system. Survives the death of this process, not a
    /// power cut or a crash of the system. This is what Kafka's single node does.
    Os,
    /// Acknowledged once `fdatasync` has returned. Survives a power cut, on a disk that keeps what it
    /// has said it kept. The default.
    #[default]
    Disk,
}

/// `memory`, `os` or `disk`.
impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Memory => "memory",
            Self::Os => "os",
            Self::Disk => "disk",
        })
    }
}

/// The settings of a topic: partitions, durability, limits, retention.
///
/// Everything but the number of partitions may be changed later
/// ([`Topic::alter`](crate::Topic::alter)), and takes effect at once. What a topic has is in its
/// [description](crate::Topic::describe), where each option can be read.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use topiclog::{Durability, TopicOptions};
///
/// let options = TopicOptions::new()
///     .partitions(3)
///     .durability(Durability::Os)
///     .retention(Some(Duration::from_secs(3600)));
/// # assert_eq!(options.partition_count(), 3);
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[must_use = "options do nothing until something is made with them"]
pub struct TopicOptions {
    pub(crate) partitions: u32,
    pub(crate) durability: Durability,
    pub(crate) timestamp_type: TimestampType,
    pub(crate) timestamp_before_max: Option<Duration>,
    pub(crate) timestamp_after_max: Option<Duration>,
    pub(crate) segment_bytes: u32,
    pub(crate) segment_age: Duration,
    pub(crate) index_interval_bytes: u32,
    pub(crate) batch_bytes: u32,
    pub(crate) batch_bytes_max: u32,
    pub(crate) linger: Duration,
    pub(crate) retention: Option<Duration>,
    pub(crate) retention_bytes: Option<u64>,
}

impl Default for TopicOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl TopicOptions {
    /// One partition, durable on disk, kept for seven days.
    pub const fn new() -> Self {
        Self {
            partitions: 1,
            durability: Durability::Disk,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max: None,
            timestamp_after_max: Some(TIMESTAMP_AFTER_MAX_DEFAULT),
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            segment_age: SEGMENT_AGE_DEFAULT,
            index_interval_bytes: INDEX_INTERVAL_BYTES_DEFAULT,
            batch_bytes: BATCH_BYTES_DEFAULT,
            batch_bytes_max: BATCH_BYTES_MAX_DEFAULT,
            linger: LINGER_DEFAULT,
            retention: Some(RETENTION_DEFAULT),
            retention_bytes: None,
        }
    }

    /// How many partitions: the unit of order and of parallel work. Defaults to 1, at most 100,000.
    ///
    /// More can be added later, never fewer.
    pub const fn partitions(mut self, count: u32) -> Self {
        self.partitions = count;
        self
    }

    /// What an acknowledged record survives. Defaults to [`Durability::Disk`].
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Whose clock stamps the records. Defaults to the sender's. Kafka: `message.timestamp.type`.
    pub const fn timestamp_type(mut self, timestamp_type: TimestampType) -> Self {
        self.timestamp_type = timestamp_type;
        self
    }

    /// How far behind the clock a record's create time may lie; `None`, the default, is any distance.
    /// Kafka: `message.timestamp.before.max.ms`. Not looked at with log append time.
    pub const fn timestamp_before_max(mut self, limit: Option<Duration>) -> Self {
        self.timestamp_before_max = limit;
        self
    }

    /// How far ahead of the clock a record's create time may lie. Defaults to one hour, as in Kafka
    /// since 4.0 (`message.timestamp.after.max.ms`): a record from the future would keep all segments
    /// behind it from being deleted by age. Not looked at with log append time.
    pub const fn timestamp_after_max(mut self, limit: Option<Duration>) -> Self {
        self.timestamp_after_max = limit;
        self
    }

    /// The size at which a segment is closed and the next begun. Defaults to 1 GiB. Kafka:
    /// `segment.bytes`. Retention removes whole segments, so smaller ones free room sooner and cost
    /// more files.
    pub const fn segment_bytes(mut self, bytes: u32) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// A segment is also rolled when a record's timestamp is this much later than the latest in the segment's
    /// first batch. Defaults to seven days. Kafka: `segment.ms`, counted by the records' own time.
    pub const fn segment_age(mut self, age: Duration) -> Self {
        self.segment_age = age;
        self
    }

    /// The bytes between two entries of the sparse index. Defaults to 4096. Kafka:
    /// `index.interval.bytes`. More makes seeking slower and the index smaller. An index that has to be made
    /// anew, after a crash for instance, has one for each 4096 bytes.
    pub const fn index_interval_bytes(mut self, bytes: u32) -> Self {
        self.index_interval_bytes = bytes;
        self
    }

    /// The size at which a gathered batch is full and the next begins. Defaults to 16 KiB. Kafka:
    /// `batch.size`, which sits with the producer there; here the senders to a partition share its
    /// batch. A larger record gets a batch of its own. Batches that nobody waits for are written
    /// together, 1 MiB at once, or when their linger ends.
    pub const fn batch_bytes(mut self, bytes: u32) -> Self {
        self.batch_bytes = bytes;
        self
    }

    /// The largest batch, and so the largest record, that the topic accepts. Defaults to 1 MiB and 12
    /// bytes. Kafka: `max.message.bytes`.
    pub const fn batch_bytes_max(mut self, bytes: u32) -> Self {
        self.batch_bytes_max = bytes;
        self
    }

    /// How long a record may lie in its batch when nobody waits for it and no consumer is at the end of
    /// its partition. Defaults to 5 ms. Kafka: `linger.ms`.
    ///
    /// It counts from when the batch was opened, and is a goal, not a promise: the record is written at the
    /// first look of the housekeeping after that, which looks every 2.5 ms. As long as waiting senders or
    /// consumers at the end write what is sent, the housekeeping looks less often, and what nobody needs may
    /// lie for 25 ms longer. To be sure, wait for the record. A log without a housekeeping thread, as one in
    /// memory, looks only when it is [told to](crate::EventLog::run_housekeeping).
    pub const fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// How long records are kept; `None` is for ever. Defaults to seven days. Kafka: `retention.ms`:
    /// a segment goes once its youngest record is older than this.
    pub const fn retention(mut self, age: Option<Duration>) -> Self {
        self.retention = age;
        self
    }

    /// How many bytes each partition keeps at least, once it has them; `None`, the default, is all.
    /// Kafka: `retention.bytes`: the oldest segment goes while the rest still has that much.
    ///
    /// It is applied every five minutes, and a partition may grow without bound in between. On a small disk
    /// lower [`retention_check_interval`](crate::EventLogBuilder::retention_check_interval), or call
    /// [`run_housekeeping`](crate::EventLog::run_housekeeping) when it gets tight. Only whole segments go,
    /// so lower [`segment_bytes`](Self::segment_bytes) too.
    pub const fn retention_bytes(mut self, bytes: Option<u64>) -> Self {
        self.retention_bytes = bytes;
        self
    }

    /// The number of partitions: what [`partitions`](Self::partitions) set.
    pub const fn partition_count(&self) -> u32 {
        self.partitions
    }

    /// The durability: what [`durability`](Self::durability) set.
    pub const fn durability_level(&self) -> Durability {
        self.durability
    }

    /// Whose clock stamps the records: what [`timestamp_type`](Self::timestamp_type) set.
    pub const fn timestamp_source(&self) -> TimestampType {
        self.timestamp_type
    }

    /// What [`timestamp_before_max`](Self::timestamp_before_max) set.
    pub const fn timestamp_before_limit(&self) -> Option<Duration> {
        self.timestamp_before_max
    }

    /// What [`timestamp_after_max`](Self::timestamp_after_max) set.
    pub const fn timestamp_after_limit(&self) -> Option<Duration> {
        self.timestamp_after_max
    }

    /// In bytes: what [`segment_bytes`](Self::segment_bytes) set.
    pub const fn segment_size(&self) -> u32 {
        self.segment_bytes
    }

    /// What [`segment_age`](Self::segment_age) set.
    pub const fn segment_time(&self) -> Duration {
        self.segment_age
    }

    /// In bytes: what [`index_interval_bytes`](Self::index_interval_bytes) set.
    pub const fn index_interval_size(&self) -> u32 {
        self.index_interval_bytes
    }

    /// In bytes: what [`batch_bytes`](Self::batch_bytes) set.
    pub const fn batch_size(&self) -> u32 {
        self.batch_bytes
    }

    /// In bytes: what [`batch_bytes_max`](Self::batch_bytes_max) set.
    pub const fn batch_size_limit(&self) -> u32 {
        self.batch_bytes_max
    }

    /// What [`linger`](Self::linger) set.
    pub const fn linger_time(&self) -> Duration {
        self.linger
    }

    /// What [`retention`](Self::retention) set.
    pub const fn retention_time(&self) -> Option<Duration> {
        self.retention
    }

    /// In bytes: what [`retention_bytes`](Self::retention_bytes) set.
    pub const fn retention_size(&self) -> Option<u64> {
        self.retention_bytes
    }

    /// Checks every field against its limits.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse =
            |option, problem: String, value: u32| Err(Error::bad_option(option, problem, value));
        if self.partitions == 0 || self.partitions > PARTITIONS_MAX {
            let problem = format!("must be from 1 to {PARTITIONS_MAX}");
            return refuse("partitions", problem, self.partitions);
        }
        if self.segment_bytes < SEGMENT_BYTES_MIN || self.segment_bytes > SEGMENT_BYTES_MAX {
            let problem = format!("must be from {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}");
            return refuse("segment_bytes", problem, self.segment_bytes);
        }
        if self.index_interval_bytes == 0 {
            return refuse("index_interval_bytes", "must not be 0".to_owned(), 0);
        }
        if self.batch_bytes_max < BATCH_BYTES_LEAST
            || to_usize(self.batch_bytes_max) > BATCH_BYTES_LIMIT
        {
            let problem = format!("must be from {BATCH_BYTES_LEAST} to {BATCH_BYTES_LIMIT}");
            return refuse("batch_bytes_max", problem, self.batch_bytes_max);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
        let options = TopicOptions::new();
        assert_eq!(options, TopicOptions::default());
        assert_eq!(options.partition_count(), 1);
        assert_eq!(options.durability_level(), Durability::Disk);
        assert_eq!(options.timestamp_source(), TimestampType::CreateTime);
        assert_eq!(options.timestamp_before_limit(), None);
        let hour = Duration::from_secs(3600);
        assert_eq!(options.timestamp_after_limit(), Some(hour));
        assert_eq!(options.segment_size(), 1 << 30);
        assert_eq!(options.segment_time(), WEEK);
        assert_eq!(options.index_interval_size(), 4096);
        assert_eq!(options.batch_size(), 16_384);
        assert_eq!(options.batch_size_limit(), 1_048_588);
        assert_eq!(options.linger_time(), Duration::from_millis(5));
        assert_eq!(options.retention_time(), Some(WEEK));
        assert_eq!(options.retention_size(), None);
    }

    #[test]
    fn each_option_is_read_as_it_was_set() {
        let second = Duration::from_secs(1);
        let options = TopicOptions::new()
            .partitions(2)
            .durability(Durability::Os)
            .timestamp_type(TimestampType::LogAppendTime)
            .timestamp_before_max(Some(second))
            .timestamp_after_max(Some(2 * second))
            .segment_bytes(3000)
            .segment_age(4 * second)
            .index_interval_bytes(5)
            .batch_bytes(6)
            .batch_bytes_max(7)
            .linger(8 * second)
            .retention(Some(9 * second))
            .retention_bytes(Some(10));
        assert_eq!(options.partition_count(), 2);
        assert_eq!(options.durability_level(), Durability::Os);
        assert_eq!(options.timestamp_source(), TimestampType::LogAppendTime);
        assert_eq!(options.timestamp_before_limit(), Some(second));
        assert_eq!(options.timestamp_after_limit(), Some(2 * second));
        assert_eq!(options.segment_size(), 3000);
        assert_eq!(options.segment_time(), 4 * second);
        assert_eq!(options.index_interval_size(), 5);
        assert_eq!(options.batch_size(), 6);
        assert_eq!(options.batch_size_limit(), 7);
        assert_eq!(options.linger_time(), 8 * second);
        assert_eq!(options.retention_time(), Some(9 * second));
        assert_eq!(options.retention_size(), Some(10));
    }

    #[test]
    fn an_option_out_of_its_range_is_named() {
        let option = TopicOptions::new;
        let segment = "segment_bytes must be from 1024 to 2147483647";
        let batch = "batch_bytes_max must be from 512 to 536870912";
        for (options, told) in [
            (
                option().partitions(0),
                "partitions must be from 1 to 100000",
            ),
            (
                option().partitions(100_001),
                "partitions must be from 1 to 100000",
            ),
            (option().segment_bytes(1023), segment),
            (option().segment_bytes(2_147_483_648), segment),
            (
                option().index_interval_bytes(0),
                "index_interval_bytes must not be 0",
            ),
            (option().batch_bytes_max(511), batch),
            (option().batch_bytes_max(536_870_913), batch),
        ] {
            let error = options.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(told), "{error}");
        }
        let least = TopicOptions::new().segment_bytes(1024).batch_bytes_max(512);
        let most = TopicOptions::new()
            .partitions(100_000)
            .segment_bytes(2_147_483_647)
            .batch_bytes_max(536_870_912);
        for options in [TopicOptions::new(), least, most] {
            options.check().unwrap();
        }
    }
}
